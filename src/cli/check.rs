//! `tidegate check`: are these rule files good?

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tidegate::rules::{self, Options, Problem, Rejected, SourceFile};
use tidegate::settings::Settings;
use tidegate::sources::files::{self, FileSource};

/// What to check.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Rule files, and directories of them. All together are one set, as a server reads it.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Files of one domain add up, as with MERGE_DOMAIN_CONFIG=true.
    #[arg(long)]
    merge_domains: bool,
}

/// Prints every error and warning; fails if there is an error.
pub(crate) fn run(check: &Check) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    for path in &check.paths {
        files.extend(read(path)?);
    }
    Ok(judge(&files, Options { merge_domains: check.merge_domains, ..Options::default() }))
}

/// Prints every error and warning about `files`, which are one set.
pub(crate) fn judge(files: &[SourceFile], options: Options) -> ExitCode {
    match rules::load(files, options) {
        Ok(loaded) => {
            warn(&loaded.warnings);
            let ruleset = loaded.ruleset;
            println!(
                "good: {}, {}, {}",
                count(files.len(), "file"),
                count(ruleset.domain_count(), "domain"),
                count(ruleset.rules().len(), "limit")
            );
            ExitCode::SUCCESS
        }
        Err(Rejected { errors, warnings }) => {
            warn(&warnings);
            for error in &errors {
                eprintln!("error: {error}");
            }
            eprintln!("bad: {} in {}", count(errors.len(), "error"), count(files.len(), "file"));
            ExitCode::FAILURE
        }
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn warn(warnings: &[Problem]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// One file, or all files below a directory as a server would read them.
fn read(path: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let metadata = path.metadata().with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.is_file() {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        return Ok(vec![SourceFile { name: path.display().to_string(), bytes }]);
    }
    anyhow::ensure!(metadata.is_dir(), "{} is neither a file nor a directory", path.display());
    let defaults = Settings::from_lookup(&|_| None, &[])?.rules.files;
    let options = files::Options {
        root: path.to_owned(),
        subdirectory: String::new(),
        app_directory: String::new(),
        ignore_dot_files: true,
        watch_root: false,
        ..defaults
    };
    let set = FileSource::new(options).read()?;
    for warning in &set.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(set.files)
}

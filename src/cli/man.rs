//! `tidegate man`: the manual, from what the program itself says.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::roff::{Roff, bold, roman};
use tidegate::settings::Settings;

const SIGNALS: [(&str, &str); 3] = [
    ("SIGTERM", "Drains: health checks fail at once, requests are answered while probes notice."),
    ("SIGINT", "Drains without that delay. The second of either ends the process at once."),
    ("SIGHUP", "Reads the rules again."),
];

const EXIT: [(&str, &str); 3] = [
    ("0", "What was asked for is done; a server has drained."),
    ("1", "It could not be done: settings, rules or an address are wrong. The message says which."),
    ("2", "The command line is wrong."),
];

/// Where the manual goes.
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// A directory for one page of the program and one of each command. Without it, the
    /// program's page is printed.
    directory: Option<PathBuf>,
}

/// Prints the page of `program`, or writes all pages.
pub(crate) fn run(man: &Man, program: Command) -> anyhow::Result<ExitCode> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let Some(directory) = &man.directory else {
        std::io::stdout().write_all(&page(&program)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
        let page = clap_mangen::Man::new(command.clone());
        page.generate_to(directory)
            .with_context(|| format!("cannot write to {}", directory.display()))?;
    }
    let path = directory.join(clap_mangen::Man::new(program.clone()).get_filename());
    File::create(&path)
        .and_then(|mut file| file.write_all(&page(&program)?))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The page of the program: its commands, and all that it heeds beside them.
fn page(program: &Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(program.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    environment().to_writer(&mut page)?;
    section("SIGNALS", &SIGNALS).to_writer(&mut page)?;
    section("EXIT STATUS", &EXIT).to_writer(&mut page)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

/// Every setting with its default, by group.
fn environment() -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["ENVIRONMENT"]);
    let mut group = "";
    for setting in &Settings::reference() {
        if setting.group != group {
            group = setting.group;
            roff.control("SS", [group]);
        }
        roff.control("TP", []);
        let default = match setting.default.as_str() {
            "" => String::new(),
            default => format!(" [{default}]"),
        };
        roff.text([bold(setting.name), roman(default)]);
        roff.text([roman(setting.help)]);
    }
    roff
}

fn section(title: &str, items: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", [title]);
    for (term, text) in items {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*text)]);
    }
    roff
}

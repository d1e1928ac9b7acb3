//! `tidegate completions`: what a shell offers after `tidegate`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

/// For which shell.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell that is to read them.
    shell: Shell,
}

/// Prints the script that tells the shell about `program`.
pub(crate) fn run(completions: &Completions, mut program: Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    generate(completions.shell, &mut program, "tidegate", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

//! The command line: serve, check rule files, ask a server, print what tools read; or what
//! another name asks for.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cli {
    pub(crate) mod check;
    pub(crate) mod compat;
    pub(crate) mod completions;
    pub(crate) mod dial;
    pub(crate) mod health;
    pub(crate) mod help;
    pub(crate) mod hit;
    pub(crate) mod load;
    pub(crate) mod man;
    pub(crate) mod schema;
    pub(crate) mod serve;
}

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use cli::compat::Companion;
use cli::{check, completions, health, help, hit, load, man, schema, serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Decides for Envoy whether a request may pass.
///
/// Without a command it serves: rules from RUNTIME_ROOT, counters in REDIS_URL or in
/// memory. It is configured by environment variables only; they are listed below.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads rule files and says everything that is wrong with them.
    Check(check::Check),
    /// Asks a running server whether it serves; the exit code says it, too.
    Health(health::Health),
    /// Asks a running server for one decision.
    Hit(hit::Hit),
    /// Puts a server under load and says how it bears it.
    Load(load::Load),
    /// Prints the JSON Schema of rule files, for editors.
    Schema,
    /// Prints the manual, or writes its pages.
    Man(man::Man),
    /// Prints what a shell completes.
    Completions(completions::Completions),
}

fn main() -> ExitCode {
    let program = std::env::args_os().next().unwrap_or_default();
    let result = match Companion::named(&program) {
        Some(companion) => companion.run(std::env::args_os()),
        None => run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("tidegate: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let command = Arguments::command().after_help(help::settings());
    let arguments = command.try_get_matches().and_then(|m| Arguments::from_arg_matches(&m));
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    match arguments.command {
        None => serve::run(),
        Some(Command::Check(check)) => check::run(&check),
        Some(Command::Health(health)) => health::run(health),
        Some(Command::Hit(hit)) => hit::run(hit),
        Some(Command::Load(load)) => load::run(load),
        Some(Command::Schema) => schema::run(),
        Some(Command::Man(man)) => man::run(&man, Arguments::command()),
        Some(Command::Completions(shell)) => completions::run(&shell, Arguments::command()),
    }
}

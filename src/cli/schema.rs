//! `tidegate schema`: what editors know of rule files.

use std::io::Write as _;
use std::process::ExitCode;

use tidegate::rules;

/// Prints the JSON Schema of rule files.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let mut text = serde_json::to_string_pretty(&rules::schema())?;
    text.push('\n');
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

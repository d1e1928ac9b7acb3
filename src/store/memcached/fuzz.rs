//! What servers say, read as the store reads it, for those who make servers say anything
//! (`tests/it/fuzz`).
//!
//! Pure. Nothing here is used by the process, and nothing here is promised to stay.

use super::command::{Reply, Verb, read};

/// What a line says to a change of a number: the number, or `None` where it says that there
/// is none or why nothing was done.
pub fn change(line: &[u8]) -> Result<Option<u64>, String> {
    match read(Verb::Change, line).map_err(|error| error.to_string())? {
        Reply::Number(number) => Ok(Some(number)),
        _ => Ok(None),
    }
}

/// Whether a line says that a value was written.
pub fn write(line: &[u8]) -> Result<bool, String> {
    let reply = read(Verb::Write, line).map_err(|error| error.to_string())?;
    Ok(reply == Reply::Stored)
}

/// Whether a line is a sign of life.
pub fn version(line: &[u8]) -> Result<bool, String> {
    let reply = read(Verb::Version, line).map_err(|error| error.to_string())?;
    Ok(reply == Reply::Version)
}

//! What is wrong with rules, and where.

use std::fmt::{self, Write as _};

/// One mistake, located.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The name of the file or resource.
    pub file: String,
    /// Line, from 1; 0 when the problem has no place, as in a resource.
    pub line: usize,
    /// Column in characters, from 1; 0 when the problem has no place.
    pub column: usize,
    /// Domain and composite keys down to the place, joined by dots; may be empty.
    pub path: String,
    /// What was found.
    pub found: String,
    /// What is allowed there instead; may be empty.
    pub allowed: String,
}

/// One line: what would end it or steer a terminal is escaped.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(&self.file, f)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        for (separator, text) in [(": ", &self.path), (": ", &self.found), ("; ", &self.allowed)] {
            if !text.is_empty() {
                f.write_str(separator)?;
                escape(text, f)?;
            }
        }
        Ok(())
    }
}

fn escape(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.chars().try_for_each(|c| match c.is_control() {
        true => write!(f, "{}", c.escape_default()),
        false => f.write_char(c),
    })
}

/// A set of files or resources with at least one error: nothing of it is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", join(.errors))]
pub struct Rejected {
    /// All errors, by file and line.
    pub errors: Vec<Problem>,
    /// Likely mistakes beside them.
    pub warnings: Vec<Problem>,
}

/// How many errors the text of [`Rejected`] holds: it goes into logs.
const SHOWN: usize = 100;

fn join(errors: &[Problem]) -> String {
    let mut lines: Vec<String> = errors.iter().take(SHOWN).map(ToString::to_string).collect();
    if errors.len() > SHOWN {
        lines.push(format!("and {} more", errors.len() - SHOWN));
    }
    lines.join("\n")
}

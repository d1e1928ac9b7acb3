//! Which decisions are written: kinds, and how many of each. Pure.

use std::fmt;
use std::str::FromStr;

/// A kind of decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The request was refused.
    Refused,
    /// It would have been, but for shadow mode.
    Shadow,
    /// It was not decided.
    Error,
    /// A policy stood in for the store, whatever the answer was.
    Fallback,
    /// It passed.
    Passed,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 5] =
        [Self::Refused, Self::Shadow, Self::Error, Self::Fallback, Self::Passed];

    /// How lines and settings write it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Shadow => "shadow",
            Self::Error => "error",
            Self::Fallback => "fallback",
            Self::Passed => "passed",
        }
    }

    /// Its bit in a set of kinds.
    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Which decisions are written: of each kind a part, 0 to 1. By default none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Choice([f64; Kind::ALL.len()]);

/// A text that is no choice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}; allowed: {allowed}", allowed = Choice::ALLOWED)]
pub struct ChoiceError(String);

impl Choice {
    /// What a text must look like.
    pub const ALLOWED: &'static str = "off, all, or a list of refused, shadow, error, fallback \
        and passed, each with a part from 0 to 1 if not all of them: refused,passed:0.01";

    /// Of each kind the part that `part` says.
    pub(super) fn of(part: impl Fn(Kind) -> f64) -> Self {
        Self(Kind::ALL.map(part))
    }

    /// How many of a kind are written.
    pub(super) fn part(&self, kind: Kind) -> f64 {
        self.0[kind as usize]
    }
}

impl FromStr for Choice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let wrong = || ChoiceError(text.chars().take(100).collect());
        let mut choice = Self::default();
        if text.trim() == "off" {
            return Ok(choice);
        }
        for item in text.split(',').map(str::trim) {
            let (name, part) = item.split_once(':').unwrap_or((item, "1"));
            let part = part.parse().ok().filter(|part| (0.0..=1.0).contains(part));
            let part: f64 = part.ok_or_else(wrong)?;
            let mut named = Kind::ALL.into_iter().filter(|k| name == "all" || k.name() == name);
            let first = named.next().ok_or_else(wrong)?;
            for kind in std::iter::once(first).chain(named) {
                choice.0[kind as usize] = part;
            }
        }
        Ok(choice)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for kind in Kind::ALL {
            let part = self.part(kind);
            if part > 0.0 {
                write!(f, "{separator}{}", kind.name())?;
                separator = ",";
            }
            if part > 0.0 && part < 1.0 {
                write!(f, ":{part}")?;
            }
        }
        f.write_str(if separator.is_empty() { "off" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_and_written() {
        let check = |text: &str, expected: Option<&str>| {
            let read = Choice::from_str(text).ok().map(|choice| choice.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
            if let Some(expected) = expected {
                let again = Choice::from_str(expected).map(|choice| choice.to_string());
                assert_eq!(again.as_deref(), Ok(expected));
            }
        };
        check("off", Some("off"));
        check("all", Some("refused,shadow,error,fallback,passed"));
        check("refused", Some("refused"));
        check("refused, error:0.5", Some("refused,error:0.5"));
        check("all,passed:0.001", Some("refused,shadow,error,fallback,passed:0.001"));
        check("refused:0", Some("off"));
        for wrong in ["", "on", "refused,", "refused:2", "refused:-1", "refused:NaN", "off,error"] {
            check(wrong, None);
        }
    }
}

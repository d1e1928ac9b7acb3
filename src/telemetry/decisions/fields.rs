//! What of a decision is written. Pure.

use std::fmt;
use std::str::FromStr;

/// A part of a line. Its outcome is always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// The request's domain.
    Domain,
    /// The path of the rule.
    Rule,
    /// The entries of the descriptor, and how many are over limit if several are.
    Descriptors,
    /// The limit: its number, unit, algorithm.
    Limit,
    /// The hits asked for.
    Hits,
    /// What was left.
    Remaining,
    /// When to come again.
    Reset,
    /// Who counted; with the policies that stood in for the store.
    DecidedBy,
    /// How long it took.
    Duration,
    /// The request's name.
    RequestId,
}

impl Field {
    /// All of them.
    const ALL: [Self; 10] = [
        Self::Domain,
        Self::Rule,
        Self::Descriptors,
        Self::Limit,
        Self::Hits,
        Self::Remaining,
        Self::Reset,
        Self::DecidedBy,
        Self::Duration,
        Self::RequestId,
    ];

    /// How settings write it.
    const fn name(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Rule => "rule",
            Self::Descriptors => "descriptors",
            Self::Limit => "limit",
            Self::Hits => "hits",
            Self::Remaining => "remaining",
            Self::Reset => "reset",
            Self::DecidedBy => "decided_by",
            Self::Duration => "duration",
            Self::RequestId => "request_id",
        }
    }
}

/// A set of parts; by default all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields(u16);

/// A text that is no set of parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}; allowed: {allowed}", allowed = Fields::ALLOWED)]
pub struct FieldError(String);

impl Fields {
    /// What a text must look like.
    pub const ALLOWED: &'static str = "all, or a list of domain, rule, descriptors, limit, hits, \
        remaining, reset, decided_by, duration and request_id";

    /// Whether a part is written.
    pub(super) fn has(self, field: Field) -> bool {
        self.0 & (1 << field as u16) != 0
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self(u16::MAX)
    }
}

impl FromStr for Fields {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        if text.trim() == "all" {
            return Ok(Self::default());
        }
        let mut fields = Self(0);
        for name in text.split(',').map(str::trim) {
            let field = Field::ALL.into_iter().find(|field| field.name() == name);
            let field = field.ok_or_else(|| FieldError(text.chars().take(100).collect()))?;
            fields.0 |= 1 << field as u16;
        }
        Ok(fields)
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("all");
        }
        let names = Field::ALL.into_iter().filter(|field| self.has(*field)).map(Field::name);
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_written() {
        let check = |text: &str, expected: Option<&str>| {
            let read = Fields::from_str(text).ok().map(|fields| fields.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        };
        check("all", Some("all"));
        check("rule, domain", Some("domain,rule"));
        check("request_id", Some("request_id"));
        for wrong in ["", "rules", "rule,", "all,rule"] {
            check(wrong, None);
        }
    }
}

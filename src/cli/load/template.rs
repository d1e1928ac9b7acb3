//! A descriptor with blanks: `user=%k,path=/checkout`.
//!
//! Pure. Written as for `tidegate hit`: a comma or backslash in a value has a backslash
//! before it. `%k` stands for the key of the call, `%i` for the number of the descriptor within
//! the request, `%%` for a percent sign.

use std::str::{Chars, FromStr};

use tidegate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::wire::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;

/// A descriptor as written on the command line, split at its blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<(Text, Text)>);

/// Text with blanks.
type Text = Vec<Piece>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Key,
    Index,
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        let mut chars = text.chars();
        while let Some(entry) = entry(&mut chars) {
            match entry? {
                (name, Some(value)) if !name.is_empty() => entries.push((name, value)),
                _ => return Err(format!("{text:?} is not key=value,key=value,..")),
            }
        }
        match entries.is_empty() {
            true => Err(format!("{text:?} is not key=value,key=value,..")),
            false => Ok(Self(entries)),
        }
    }
}

/// An entry as it is being read: the value is none until `=` has come.
type Half = (Text, Option<Text>);

/// Reads one entry and the comma behind it; nothing, if there is no more.
fn entry(chars: &mut Chars<'_>) -> Option<Result<Half, String>> {
    if chars.as_str().is_empty() {
        return None;
    }
    let (mut name, mut value) = (Text::new(), None);
    while let Some(c) = chars.next() {
        let piece = match c {
            ',' if chars.as_str().is_empty() => return Some(Err("ends with a comma".to_owned())),
            ',' => break,
            '=' if value.is_none() => {
                value = Some(Text::new());
                continue;
            }
            '\\' => Piece::Literal(chars.next().unwrap_or('\\').to_string()),
            '%' => match chars.next() {
                Some('k') => Piece::Key,
                Some('i') => Piece::Index,
                Some('%') => Piece::Literal('%'.to_string()),
                _ => return Some(Err("after % comes k, i or another %".to_owned())),
            },
            c => Piece::Literal(c.to_string()),
        };
        value.as_mut().unwrap_or(&mut name).push(piece);
    }
    Some(Ok((name, value)))
}

impl Template {
    /// The descriptor number `index` of a call for `key`.
    pub(super) fn fill(&self, key: u64, index: usize) -> RateLimitDescriptor {
        let entry = |(name, value): &(Text, Text)| Entry {
            key: fill(name, key, index),
            value: fill(value, key, index),
        };
        RateLimitDescriptor { entries: self.0.iter().map(entry).collect(), ..Default::default() }
    }
}

fn fill(text: &Text, key: u64, index: usize) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Literal(text) => text.clone(),
        Piece::Key => key.to_string(),
        Piece::Index => index.to_string(),
    };
    text.iter().map(piece).collect()
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_filled() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let filled = text.parse::<Template>().map(|template| template.fill(17, 3));
            let filled = filled.unwrap_or_else(|error| panic!("{text}: {error}"));
            let pairs: Vec<_> =
                filled.entries.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
            assert_eq!(pairs, expected, "{text}");
        };
        check("user=%k,path=/checkout", &[("user", "17"), ("path", "/checkout")]);
        check("d%i=u-%k-x", &[("d3", "u-17-x")]);
        check("share=50%%,k=%%k", &[("share", "50%"), ("k", "%k")]);
        check(r"q=a=b\,c\\d", &[("q", r"a=b,c\d")]);
        check("user=", &[("user", "")]);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<Template>().expect_err(text);
            assert!(error.contains(expected), "{error}");
        };
        check("user=%q", "after % comes");
        check("user=5%", "after % comes");
        check("user", "is not key=value");
        check("", "is not key=value");
        check("=5", "is not key=value");
        check("a=1,,b=2", "is not key=value");
        check("a=1,", "ends with a comma");
    }
}

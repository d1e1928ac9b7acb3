//! How values of requests are shown: as hashes, in the clear, or not at all.
//!
//! A value may be a person's name or address. A hash by a key tells one value from another,
//! and nothing about it to whoever does not have the key. Keys of descriptors are the
//! vocabulary of the rules and are shown, cut short.

use std::fmt::Write as _;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};

use crate::rules::Entry;

/// How values are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// Each as a hash.
    #[default]
    Hash,
    /// As they are.
    Clear,
    /// Not at all.
    None,
}

/// The bytes of a key, and of a value in the clear, that are shown.
const MAX_WORD: usize = 128;

/// The bytes of a descriptor after which no other entry is shown.
const MAX_DESCRIPTOR: usize = 512;

/// Shows values.
#[derive(Debug)]
pub struct Values {
    shown: Shown,
    key: Key,
}

impl Values {
    /// Shows values so. Hashes are HMAC-SHA-256 by `key`, or by one of this process alone.
    pub fn new(shown: Shown, key: Option<&str>) -> Self {
        let mut random = [0; 32];
        let drawn = aws_lc_rs::rand::fill(&mut random);
        let shown = match (shown, key, drawn) {
            // A hash by a key that everybody knows would hide nothing.
            (Shown::Hash, None, Err(_)) => Shown::None,
            _ => shown,
        };
        let key = Key::new(HMAC_SHA256, key.map_or(&random[..], str::as_bytes));
        Self { shown, key }
    }

    /// Adds a descriptor to `text`: `user=#0f3a5c7e9b1d2f40,path=#...`, the first 64 bits of the
    /// hashes. What is too long is cut.
    pub(super) fn describe(&self, entries: &[Entry<'_>], text: &mut String) {
        let start = text.len();
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            if text.len() - start > MAX_DESCRIPTOR {
                text.push('…');
                return;
            }
            word(entry.key, text);
            self.value(entry.value, text);
        }
    }

    fn value(&self, value: &str, text: &mut String) {
        match self.shown {
            _ if value.is_empty() => {}
            Shown::None => {}
            Shown::Clear => {
                text.push('=');
                word(value, text);
            }
            Shown::Hash => {
                text.push_str("=#");
                for byte in sign(&self.key, value.as_bytes()).as_ref().iter().take(8) {
                    let _ = write!(text, "{byte:02x}");
                }
            }
        }
    }
}

impl Default for Values {
    /// Hashes by a key of this process alone.
    fn default() -> Self {
        Self::new(Shown::Hash, None)
    }
}

/// Adds a word: control characters escaped, so that it stays on its line; cut where it is long.
pub(super) fn word(word: &str, text: &mut String) {
    let end = text.len() + MAX_WORD;
    for char in word.chars() {
        if text.len() >= end {
            text.push('…');
            return;
        }
        match char.is_control() {
            true => text.extend(char.escape_default()),
            false => text.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(values: &Values, entries: &[(&str, &str)]) -> String {
        let entries: Vec<_> = entries.iter().map(|&(key, value)| Entry { key, value }).collect();
        let mut text = String::new();
        values.describe(&entries, &mut text);
        text
    }

    #[test]
    fn values_are_shown_as_is_said() {
        let check = |shown, expected: &str| {
            let values = Values::new(shown, Some("key"));
            let entries = [("user", "alice"), ("only", ""), ("path", "/a\nb")];
            assert_eq!(described(&values, &entries), expected);
        };
        check(Shown::Clear, "user=alice,only,path=/a\\nb");
        check(Shown::None, "user,only,path");
        // printf alice | openssl dgst -sha256 -hmac key
        check(Shown::Hash, HASHED);
    }

    const HASHED: &str = "user=#76fb55e929c06b97,only,path=#a5c1f75c04bfea61";

    #[test]
    fn hashes_agree_where_the_key_does() {
        let hash = |key| described(&Values::new(Shown::Hash, key), &[("user", "alice")]);
        assert_eq!(hash(Some("one")), hash(Some("one")));
        assert_ne!(hash(Some("one")), hash(Some("two")));
        assert_ne!(hash(None), hash(None), "each process has its own");
    }

    #[test]
    fn a_text_is_bounded_whatever_is_in_it() {
        let long = "\u{1}ä".repeat(100_000);
        for shown in [Shown::Hash, Shown::Clear, Shown::None] {
            let values = Values::new(shown, None);
            let one = described(&values, &[(&long, &long)]);
            let many = described(&values, &vec![(&*long, &*long); 100]);
            assert!(one.len() <= many.len() && many.len() <= 2 * MAX_DESCRIPTOR, "{}", many.len());
            assert!(!many.contains('\u{1}'));
        }
    }
}

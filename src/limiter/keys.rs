//! Counter keys: the bytes under which a store holds a counter, without its window.
//!
//! The Redis store appends the start of the window, so every key ends in a separator.

use smallvec::SmallVec;

use super::Window;
use crate::rules::{Algorithm, Entry, How, Limit, Step};

/// How counters are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Stands before every key.
    pub prefix: Box<str>,
    /// The layout after it.
    pub format: KeyFormat,
}

/// The layout of counter keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyFormat {
    /// `tg1:{domain:key=value,key=value}:f60:` with `%`, `:`, `=`, `,`, `{` and `}`
    /// escaped in the parts: version, domain, entries, algorithm (`f`, `s` or `b`) and
    /// window. Where all values of a `match` share a counter, the value is its text after
    /// `%m`, which no escaped value begins with. No two counters share a key. The braces
    /// keep all counters of a descriptor in one slot of a Redis Cluster.
    #[default]
    Tidegate,
    /// `domain_key_value_key_value_`, as envoyproxy/ratelimit writes, so that both can
    /// count together. Different entries may share a key, as they do there. Limits that
    /// it does not know add their algorithm and window: `s60_`.
    Envoyproxy,
}

type Buffer = SmallVec<[u8; 256]>;

impl Keys {
    /// Appends the key of the counter for `entries` in `domain`. `steps` are the matches
    /// of the entries, empty where no rule was asked; an entry that a shared wildcard
    /// or `match` matched gives its pattern instead of its value.
    pub(super) fn write(
        &self,
        (domain, kind): (&str, Kind),
        entries: &[Entry<'_>],
        steps: &[Step<'_>],
        to: &mut Buffer,
    ) {
        to.extend_from_slice(self.prefix.as_bytes());
        let pairs = entries.iter().enumerate().map(|(i, entry)| match steps.get(i) {
            Some(step) if step.is_shared() => {
                (entry.key, step.pattern(entry.key), step.how == How::Matched)
            }
            _ => (entry.key, entry.value, false),
        });
        match self.format {
            KeyFormat::Tidegate => {
                to.extend_from_slice(b"tg1:{");
                escape(domain, to);
                to.push(b':');
                for (i, (key, value, stands_for_many)) in pairs.enumerate() {
                    if i > 0 {
                        to.push(b',');
                    }
                    escape(key, to);
                    to.push(b'=');
                    if stands_for_many {
                        to.extend_from_slice(b"%m");
                    }
                    escape(value, to);
                }
                to.extend_from_slice(b"}:");
                kind.write(to);
                to.push(b':');
            }
            KeyFormat::Envoyproxy => {
                to.extend_from_slice(domain.as_bytes());
                to.push(b'_');
                for (key, value, _) in pairs {
                    for part in [key, value] {
                        to.extend_from_slice(part.as_bytes());
                        to.push(b'_');
                    }
                }
                if kind.is_ours {
                    kind.write(to);
                    to.push(b'_');
                }
            }
        }
    }
}

/// What tells the counters of one descriptor apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    algorithm: u8,
    window: Window,
    /// envoyproxy/ratelimit has no such limit.
    is_ours: bool,
}

impl Kind {
    /// The kind of the limit at `index` of its rule.
    pub(super) fn of(limit: &Limit, index: usize) -> Self {
        let algorithm = match limit.algorithm {
            Algorithm::FixedWindow => b'f',
            Algorithm::SlidingWindow => b's',
            Algorithm::TokenBucket { .. } => b'b',
        };
        let is_ours = algorithm != b'f' || limit.multiplier != 1 || index > 0;
        Self { algorithm, window: Window::of(limit), is_ours }
    }

    fn write(self, to: &mut Buffer) {
        to.push(self.algorithm);
        decimal(self.window.as_secs(), to);
    }
}

/// Appends `text` with the separators of the key layout escaped like in a URL.
fn escape(text: &str, to: &mut Buffer) {
    for &byte in text.as_bytes() {
        match byte {
            b'%' => to.extend_from_slice(b"%25"),
            b':' => to.extend_from_slice(b"%3A"),
            b'=' => to.extend_from_slice(b"%3D"),
            b',' => to.extend_from_slice(b"%2C"),
            b'{' => to.extend_from_slice(b"%7B"),
            b'}' => to.extend_from_slice(b"%7D"),
            _ => to.push(byte),
        }
    }
}

/// Appends the decimal digits of `number`.
fn decimal(number: u64, to: &mut Buffer) {
    let start = to.len();
    let mut rest = number;
    loop {
        to.push(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    to[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Unit;

    fn key(format: KeyFormat, domain: &str, entries: &[(&str, &str)]) -> String {
        let keys = Keys { prefix: "pre:".into(), format };
        let entries: Vec<_> = entries.iter().map(|&(key, value)| Entry { key, value }).collect();
        let mut to = Buffer::new();
        let kind = Kind::of(&Limit::fixed(1, Unit::Minute), 0);
        keys.write((domain, kind), &entries, &[], &mut to);
        String::from_utf8_lossy(&to).into_owned()
    }

    #[test]
    fn the_envoyproxy_layout_is_the_reference_s() {
        let check = |entries: &[_], expected: &str| {
            assert_eq!(key(KeyFormat::Envoyproxy, "shop", entries), expected);
        };
        check(&[("tier", "gold"), ("op", "write")], "pre:shop_tier_gold_op_write_");
        check(&[("op", "")], "pre:shop_op__");
        check(&[], "pre:shop_");
    }

    #[test]
    fn different_entries_never_share_a_key() {
        let questions: [(&str, &[(&str, &str)]); 10] = [
            ("d", &[("a", "}:f60:")]),
            ("d", &[("a", "b_c")]),
            ("d", &[("a_b", "c")]),
            ("d", &[("a", "1"), ("b", "2")]),
            ("d", &[("a", "1,b=2")]),
            ("d", &[("a", "1%2Cb%3D2")]),
            ("d", &[("a=1,b", "2")]),
            ("d:a=1", &[]),
            ("d", &[]),
            ("d", &[("", "")]),
        ];
        let mut keys: Vec<_> =
            questions.iter().map(|(d, e)| key(KeyFormat::Tidegate, d, e)).collect();
        assert_eq!(keys[0], "pre:tg1:{d:a=%7D%3Af60%3A}:f60:");
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), questions.len());
    }
}

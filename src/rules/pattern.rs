//! Wildcard patterns: text in which each `*` stands for any run of bytes.

use memchr::memmem::Finder;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    prefix: Box<[u8]>,
    suffix: Box<[u8]>,
    /// What stands between two `*`, in order.
    middle: Box<[Finder<'static>]>,
    shortest: usize,
}

impl Pattern {
    /// Compiles `text`, which holds at least one `*`.
    pub(super) fn new(text: &str) -> Self {
        let mut pieces: Vec<&str> = text.split('*').collect();
        let suffix = if pieces.len() > 1 { pieces.pop().unwrap_or_default() } else { "" };
        let middle = pieces.drain(1..).filter(|piece| !piece.is_empty());
        let middle = middle.map(|piece| Finder::new(piece).into_owned()).collect();
        Self {
            prefix: pieces.concat().as_bytes().into(),
            suffix: suffix.as_bytes().into(),
            middle,
            shortest: text.len() - text.matches('*').count(),
        }
    }

    /// Whether `text` matches as a whole. Takes the leftmost place for each piece,
    /// which finds a match whenever there is one.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        if text.len() < self.shortest
            || !text.starts_with(&self.prefix)
            || !text.ends_with(&self.suffix)
        {
            return false;
        }
        let mut rest = &text[self.prefix.len()..text.len() - self.suffix.len()];
        self.middle.iter().all(|piece| match piece.find(rest) {
            Some(at) => {
                rest = &rest[at + piece.needle().len()..];
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    /// What a pattern means, said as simply as possible.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
            Some((byte, rest)) => text.first() == Some(byte) && naive(rest, &text[1..]),
        }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_naive_matcher(pattern in "[ab*]{0,6}[*][ab*]{0,3}", text in "[ab]{0,10}") {
            let found = Pattern::new(&pattern).matches(text.as_bytes());
            assert_eq!(found, naive(pattern.as_bytes(), text.as_bytes()), "{pattern} on {text}");
        }
    }

    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(Pattern::new(pattern).matches(text.as_bytes()), expected, "{pattern} on {text}");
    }

    #[test]
    fn a_star_matches_any_run_of_bytes() {
        check("k_*", "k_", true);
        check("k_*", "k_a/b.c_d", true);
        check("k_*", "k", false);
        check("*", "", true);
        check("k_/api/*/action", "k_/api/1/2/action", true);
        check("k_/api/*/action", "k_/api/action", false);
        check("k_a*b*c", "k_a--b--c", true);
        check("k_a*b*c", "k_a--c--b", false);
        check("k_ab*ba", "k_aba", false);
        check("k_a**c", "k_ac", true);
        check("k_*x*x", "k_x", false);
    }
}

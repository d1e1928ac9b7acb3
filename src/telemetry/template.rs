//! Texts with `$1` in them, filled from what a pattern captured.

/// A text in which `$n` and, where a mapping file wrote it, `${n}` stand for capture `n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(String);

impl Template {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text with `captures` in place; a number that has none stays as it is written.
    pub(super) fn fill(&self, captures: &[&str]) -> String {
        let (mut out, mut rest) = (String::new(), &*self.0);
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let (written, number) = reference(rest);
            match number.and_then(|number| captures.get(number)) {
                Some(capture) => out.push_str(capture),
                None => out.push_str(written),
            }
            rest = &rest[written.len()..];
        }
        out + rest
    }
}

/// What of `text`, which begins with `$`, is a reference, and its number; else the sign.
fn reference(text: &str) -> (&str, Option<usize>) {
    let braced = text.starts_with("${");
    let start = if braced { 2 } else { 1 };
    let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
    let end = start + digits;
    let closed = !braced || text[end..].starts_with('}');
    if digits == 0 || !closed {
        return (&text[..1], None);
    }
    (&text[..end + usize::from(braced)], text[start..end].parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_filled_and_others_stay() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Template::new(text).fill(&["all", "one", ""]), expected, "{text}");
        };
        check("plain", "plain");
        check("$1.$0", "one.all");
        check("a${1}b$2c", "aonebc");
        check("$3 $12 ${4}", "$3 $12 ${4}");
        check("$ $x ${1 $$1 é$1", "$ $x ${1 $one éone");
        check("$99999999999999999999999", "$99999999999999999999999");
    }
}

//! What a YAML scalar means: YAML 1.1, as the parser of envoyproxy/ratelimit reads it.
//!
//! Rule files depend on its habits: `yes` is a boolean, `017` is fifteen, `08` is a
//! float, and a date is text.

use std::borrow::Cow;

use super::yaml::Scalar;

const CORE: &str = "tag:yaml.org,2002:";

/// A resolved scalar.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'t> {
    Null,
    Bool(bool),
    Int(i64),
    /// Fits `u64` but not `i64`.
    Large(u64),
    Float(f64),
    Text(&'t str),
    /// What `!!binary` encodes.
    Binary(Vec<u8>),
}

/// A tag that the text does not bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongTag(pub(super) &'static str);

/// What `scalar` means by its text, quotes and tag.
pub(super) fn resolve<'t>(scalar: &'t Scalar<'_>) -> Result<Value<'t>, WrongTag> {
    let text: &str = &scalar.text;
    let Some(tag) = &scalar.tag else {
        return Ok(if scalar.plain { plain(text) } else { Value::Text(text) });
    };
    match (tag.strip_prefix(CORE), plain(text)) {
        (Some("null"), Value::Null) => Ok(Value::Null),
        (Some("null"), _) => Err(WrongTag("!!null")),
        (Some("bool"), Value::Bool(value)) => Ok(Value::Bool(value)),
        (Some("bool"), _) => Err(WrongTag("!!bool")),
        (Some("int"), value @ (Value::Int(_) | Value::Large(_))) => Ok(value),
        (Some("int"), _) => Err(WrongTag("!!int")),
        (Some("float"), Value::Float(value)) => Ok(Value::Float(value)),
        (Some("float"), Value::Int(value)) => Ok(Value::Float(value as f64)),
        (Some("float"), _) => Err(WrongTag("!!float")),
        (Some("binary"), _) => base64(text).map(Value::Binary).ok_or(WrongTag("!!binary")),
        _ => Ok(Value::Text(text)),
    }
}

/// What unquoted text without a tag means.
fn plain(text: &str) -> Value<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Value::Float(f64::NEG_INFINITY),
        _ => number(text).unwrap_or(Value::Text(text)),
    }
}

fn number(text: &str) -> Option<Value<'static>> {
    match text.as_bytes().first()? {
        // No underscores here: a quirk of the original.
        b'.' => float(text),
        b'+' | b'-' | b'0'..=b'9' => {
            let digits = if text.contains('_') {
                Cow::Owned(text.replace('_', ""))
            } else {
                Cow::Borrowed(text)
            };
            int(&digits).or_else(|| float(&digits))
        }
        _ => None,
    }
}

fn int(text: &str) -> Option<Value<'static>> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", text.get(1..)?),
        b'+' => ("+", text.get(1..)?),
        _ => ("", text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    if let Ok(value) = i64::from_str_radix(&format!("{sign}{digits}"), radix) {
        return Some(Value::Int(value));
    }
    let unsigned = u64::from_str_radix(digits, radix).ok().filter(|_| sign.is_empty());
    unsigned.map(Value::Large)
}

/// A decimal float; one too large for `f64` is text.
fn float(text: &str) -> Option<Value<'static>> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.strip_prefix('.').unwrap_or(unsigned);
    let decimal = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || !unsigned.chars().all(decimal) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float)
}

/// Decodes base64 with padding; line breaks may stand anywhere.
fn base64(text: &str) -> Option<Vec<u8>> {
    let symbols: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')).collect();
    let mut bytes = Vec::with_capacity(symbols.len() / 4 * 3);
    let last = symbols.len().checked_sub(4);
    for (index, group) in symbols.chunks(4).enumerate() {
        let padding = group.iter().rev().take_while(|b| **b == b'=').count();
        if group.len() < 4 || padding > 2 || (padding > 0 && Some(index * 4) != last) {
            return None;
        }
        let digits = group.iter().take(4 - padding).map(|b| base64_digit(*b));
        let bits = digits.rev().try_fold((0, padding), |(bits, at), digit| {
            digit.map(|digit| (bits | digit << (6 * at), at + 1))
        });
        let [_, decoded @ ..] = bits?.0.to_be_bytes();
        bytes.extend(decoded.iter().take(3 - padding));
    }
    Some(bytes)
}

fn base64_digit(symbol: u8) -> Option<u32> {
    let digit = match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(digit.into())
}

#[cfg(test)]
mod tests {
    use super::{Scalar, Value, WrongTag, resolve};

    fn scalar(text: &str, plain: bool, tag: Option<&str>) -> Scalar<'static> {
        Scalar { text: text.to_owned().into(), plain, tag: tag.map(Into::into) }
    }

    fn check(texts: &[&str], expected: &Value<'_>) {
        for text in texts {
            assert_eq!(resolve(&scalar(text, true, None)).as_ref(), Ok(expected), "{text}");
        }
    }

    fn check_text(texts: &[&str]) {
        texts.iter().for_each(|text| check(&[text], &Value::Text(text)));
    }

    fn check_tag(tag: &str, text: &str, expected: &Result<Value<'_>, WrongTag>) {
        let scalar = scalar(text, false, Some(&format!("tag:yaml.org,2002:{tag}")));
        assert_eq!(&resolve(&scalar), expected, "!!{tag} {text}");
    }

    #[test]
    fn null_and_booleans_have_many_names() {
        check(&["", "~", "null", "Null", "NULL"], &Value::Null);
        check(&["y", "Y", "yes", "YES", "true", "True", "on", "ON"], &Value::Bool(true));
        check(&["n", "N", "no", "No", "false", "FALSE", "off", "Off"], &Value::Bool(false));
        check_text(&["yEs", "tRUE", "nULL", "oN"]);
    }

    #[test]
    fn integers_come_in_four_bases() {
        check(&["10", "+10", "1_0", "0xA", "0Xa", "0b1010", "0o12", "012"], &Value::Int(10));
        check(&["-10", "-0xA", "-012", "-1_0"], &Value::Int(-10));
        check(&["0", "00", "-0", "0x0"], &Value::Int(0));
        check(&["9223372036854775807"], &Value::Int(i64::MAX));
        check(&["9223372036854775808"], &Value::Large(1 << 63));
        check(&["0xffffffffffffffff"], &Value::Large(u64::MAX));
        check_text(&["0x", "0b2", "0xg", "1a", "+", "-", "--1", "0x-1", "1 0"]);
    }

    #[test]
    fn other_numbers_are_floats() {
        check(&["08", "8.", "8.0", "+8.0", "8e0", "0.8e1", "80E-1", "0_8"], &Value::Float(8.0));
        check(&[".5", "0.5", "5e-1"], &Value::Float(0.5));
        check(&["1e3", "1_000.0"], &Value::Float(1000.0));
        check(&["18446744073709551616"], &Value::Float(18_446_744_073_709_551_616.0));
        check(&[".inf", "+.Inf"], &Value::Float(f64::INFINITY));
        check(&["-.INF"], &Value::Float(f64::NEG_INFINITY));
        check_text(&["1e999", ".", ".e1", "1.2.3", "1e", "inf", "nan", ".5_0", "1.5s", "-.nan"]);
    }

    #[test]
    fn dates_and_versions_are_text() {
        check_text(&["2026-01-02", "2026-01-02T03:04:05Z", "12:30", "10.0.0.1", "v1", "<<x"]);
    }

    #[test]
    fn quotes_make_text() {
        assert_eq!(resolve(&scalar("5", false, None)), Ok(Value::Text("5")));
        assert_eq!(resolve(&scalar("", false, None)), Ok(Value::Text("")));
    }

    #[test]
    fn tags_decide_over_quotes() {
        check_tag("str", "5", &Ok(Value::Text("5")));
        check_tag("int", "5", &Ok(Value::Int(5)));
        check_tag("int", "x", &Err(WrongTag("!!int")));
        check_tag("float", "5", &Ok(Value::Float(5.0)));
        check_tag("bool", "yes", &Ok(Value::Bool(true)));
        check_tag("bool", "1", &Err(WrongTag("!!bool")));
        check_tag("null", "", &Ok(Value::Null));
        check_tag("null", "x", &Err(WrongTag("!!null")));
        check_tag("timestamp", "2026-01-02", &Ok(Value::Text("2026-01-02")));
        assert_eq!(resolve(&scalar("5", true, Some("!"))), Ok(Value::Text("5")));
        assert_eq!(resolve(&scalar("5", true, Some("!mine"))), Ok(Value::Text("5")));
    }

    #[test]
    fn binary_is_base64() {
        let decoded = |bytes: &[u8]| Ok(Value::Binary(bytes.to_vec()));
        check_tag("binary", "", &decoded(b""));
        check_tag("binary", "aGk=", &decoded(b"hi"));
        check_tag("binary", "aGVs\nbG8=\n", &decoded(b"hello"));
        check_tag("binary", "/w==", &decoded(&[0xff]));
        for wrong in ["a", "aGk", "====", "aG=k", "a===", "aGk=aGk=", "a k="] {
            check_tag("binary", wrong, &Err(WrongTag("!!binary")));
        }
    }
}

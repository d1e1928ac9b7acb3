//! Durations in Go's notation, as the reference reads them: `300ms`, `1.5h`, `2h45m`.
//!
//! Only lengths of time: a sign is read, but nothing below zero is a duration here.

use std::time::Duration;

/// The units, longest first; the micro sign exists twice in Unicode.
const UNITS: [(&str, u64); 8] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ns", 1),
];

/// Digits of a fraction that can matter: more would be less than a nanosecond of an hour.
const FRACTION_DIGITS: usize = 18;

/// Reads a duration; nothing when the text is none, is negative or exceeds what Go holds
/// (2^63 - 1 nanoseconds, 292 years). A number needs a unit unless the whole text is `0`.
pub fn parse(text: &str) -> Option<Duration> {
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (nanos, after) = term(rest)?;
        total = total.checked_add(nanos)?;
        rest = after;
    }
    let fits = i64::try_from(total).is_ok() && (total == 0 || !negative);
    fits.then(|| Duration::from_nanos(total))
}

/// Writes a duration so that [`parse`] reads the same again: `24h`, `1h30m`, `1s500ms`, `0`.
pub fn format(duration: Duration) -> String {
    let mut nanos = duration.as_nanos();
    if nanos == 0 {
        return "0".to_owned();
    }
    let mut text = String::new();
    for (unit, length) in UNITS.iter().filter(|(unit, _)| unit.is_ascii()) {
        let count = nanos / u128::from(*length);
        nanos %= u128::from(*length);
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    text
}

/// One number with its unit, in nanoseconds rounded down, and what follows it.
fn term(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos = whole.checked_mul(*length)?.checked_add(part(fraction, *length)?)?;
    Some((nanos, rest))
}

/// The fraction's share of `length`, by whole numbers: floating point would be off by one.
fn part(fraction: &str, length: u64) -> Option<u64> {
    let (mut value, mut scale) = (0_u128, 1_u128);
    for digit in fraction.bytes().take(FRACTION_DIGITS) {
        value = value * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    u64::try_from(value * u128::from(length) / scale).ok()
}

/// The leading digits, and what follows them.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

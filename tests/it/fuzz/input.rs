//! Inputs without end: each is made of its number, of nothing else but the corpus.
//!
//! Most are real inputs that were spoilt a little; some are bytes without sense, and some
//! real ones that stand in themselves a thousand times.

use fastrand::Rng;

/// The usual length at most, and that of one in a hundred.
const SHORT: usize = 4 << 10;
const LONG: usize = 64 << 10;

/// Numbers where something ends.
const NUMBERS: [&str; 22] = [
    "0",
    "-0",
    "1",
    "-1",
    "00",
    "0x7f",
    "0777",
    "1e9",
    "1.5",
    "-1e400",
    ".inf",
    ".nan",
    "255",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999999999",
];

/// What opens and closes in the languages that are read.
const PAIRS: [(&str, &str); 9] = [
    ("[", "]"),
    ("{", "}"),
    ("{a: ", "}"),
    ("- ", ""),
    ("? ", ""),
    ("(", ")"),
    ("{\"a\":", "}"),
    ("*1\r\n", ""),
    ("\n", "\n"),
];

/// Words that mean something somewhere.
const WORDS: [&str; 36] = [
    "\0",
    "\u{feff}",
    "\u{2028}",
    "\r",
    "\r\n",
    "\u{1e}",
    "\u{7f}",
    "'",
    "\"",
    "\\",
    "|\n",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "!!int ",
    "---\n",
    "...\n",
    "# ",
    ": ",
    ", ",
    "@",
    "://",
    "%00",
    "$1",
    "${0}",
    "null",
    "~",
    "true",
    "-ERR x\r\n",
    "$-1\r\n",
    "*-1\r\n",
    ":-1\r\n",
    "domain",
    "\u{10ffff}",
    "=",
];

/// The input of that number.
pub(super) fn input(number: u64, corpus: &[Vec<u8>]) -> Vec<u8> {
    // Numbers that follow each other shall have nothing in common.
    let mut rng = Rng::with_seed(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let longest = if rng.u8(..100) == 0 { LONG } else { SHORT };
    if rng.u8(..16) == 0 {
        let length = rng.usize(..300);
        return (0..length).map(|_| rng.u8(..)).collect();
    }
    let mut bytes = rng.choice(corpus).cloned().unwrap_or_default();
    // Two of a hundred stay as they are, half of them are spoilt once.
    let times = if rng.u8(..50) == 0 { 0 } else { 1 + rng.u8(..).trailing_zeros() };
    for _ in 0..times {
        spoil(&mut bytes, &mut rng, corpus, longest);
        bytes.truncate(longest);
    }
    bytes
}

/// Spoils bytes in one way.
fn spoil(bytes: &mut Vec<u8>, rng: &mut Rng, corpus: &[Vec<u8>], longest: usize) {
    let at = rng.usize(..=bytes.len());
    let most = 1 + rng.usize(..64);
    let end = (at + 1 + rng.usize(..most)).min(bytes.len());
    match rng.u8(..13) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.u8(..8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.u8(..);
            }
        }
        2 => drop(bytes.splice(at..at, (0..rng.u8(1..9)).map(|_| rng.u8(..)).collect::<Vec<_>>())),
        3 => drop(bytes.drain(at..end)),
        4 => bytes.truncate(at),
        5 => {
            let part = bytes[at..end].to_vec();
            let most = (longest / part.len().max(1)).min(1 << rng.u8(..11));
            drop(bytes.splice(at..at, part.repeat(rng.usize(..=most))));
        }
        6 => {
            let part = bytes[at..end].to_vec();
            let to = rng.usize(..=bytes.len());
            drop(bytes.splice(to..to, part));
        }
        7 | 8 => swap_number(bytes, at, rng),
        9 => {
            let wide = rng.choice([0_u64, 1, 0x7f, 0xffff, u64::MAX, 1 << 63, 1 << 31]);
            let wide = wide.unwrap_or_default().to_le_bytes();
            let width = rng.usize(1..=8);
            let end = (at + width).min(bytes.len());
            drop(bytes.splice(at..end, wide[..width].iter().copied()));
        }
        10 => {
            let other = rng.choice(corpus).map_or(&[][..], Vec::as_slice);
            let from = rng.usize(..=other.len());
            let to = (from + rng.usize(..512)).min(other.len());
            drop(bytes.splice(at..end, other[from..to].iter().copied()));
        }
        11 => {
            let (open, close) = rng.choice(PAIRS).unwrap_or_default();
            let most = 1 << rng.u8(1..12);
            let depth = rng.usize(..most);
            drop(bytes.splice(end..end, close.repeat(depth).into_bytes()));
            drop(bytes.splice(at..at, open.repeat(depth).into_bytes()));
        }
        _ => {
            let word = rng.choice(WORDS).unwrap_or_default();
            drop(bytes.splice(at..at, word.bytes()));
        }
    }
}

/// Puts another number in the place of the next one.
fn swap_number(bytes: &mut Vec<u8>, at: usize, rng: &mut Rng) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit) else { return };
    let start = at + start;
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = rng.choice(NUMBERS).unwrap_or_default();
    drop(bytes.splice(start..start + digits, number.bytes()));
}

mod tests {
    use super::*;

    #[test]
    fn a_number_is_always_the_same_input_and_another_is_another() {
        let corpus = [b"domain: shop".to_vec(), b"1 2 3".to_vec()];
        let inputs: Vec<_> = (0..1000).map(|number| input(number, &corpus)).collect();
        assert_eq!(inputs, (0..1000).map(|number| input(number, &corpus)).collect::<Vec<_>>());
        let distinct: std::collections::HashSet<_> = inputs.iter().collect();
        assert!(distinct.len() > 700, "{}", distinct.len());
        assert!(inputs.iter().all(|input| input.len() <= LONG));
    }
}

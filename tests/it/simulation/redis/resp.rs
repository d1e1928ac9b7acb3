//! The protocol of Redis, as far as the store speaks it.

use memchr::memchr;

/// Takes the first command off the bytes, if it is there as a whole.
pub(super) fn command(bytes: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut rest = &bytes[..];
    let words = length(&mut rest, b'*')?;
    let mut command = Vec::with_capacity(words);
    for _ in 0..words {
        let size = length(&mut rest, b'$')?;
        command.push(rest.get(..size)?.to_vec());
        rest = rest.get(size + 2..)?;
    }
    let used = bytes.len() - rest.len();
    bytes.drain(..used);
    Some(command)
}

fn length(rest: &mut &[u8], sign: u8) -> Option<usize> {
    let end = memchr(b'\n', rest)?;
    let line = rest[..end].strip_suffix(b"\r").and_then(|line| line.strip_prefix(&[sign]));
    let line = line.and_then(|digits| std::str::from_utf8(digits).ok());
    *rest = &rest[end + 1..];
    Some(line.and_then(|digits| digits.parse().ok()).expect("the store writes the protocol"))
}

fn line(sign: char, content: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{sign}{content}\r\n").as_bytes());
}

pub(super) fn number(number: i64, out: &mut Vec<u8>) {
    line(':', &number.to_string(), out);
}

pub(super) fn text(text: &[u8], out: &mut Vec<u8>) {
    line('$', &text.len().to_string(), out);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn word(word: &str, out: &mut Vec<u8>) {
    line('+', word, out);
}

/// Its first word is its kind.
pub(super) fn error(text: &str, out: &mut Vec<u8>) {
    line('-', text, out);
}

pub(super) fn nothing(out: &mut Vec<u8>) {
    line('$', "-1", out);
}

/// That many elements follow.
pub(super) fn list(elements: usize, out: &mut Vec<u8>) {
    line('*', &elements.to_string(), out);
}

/// A message between replies: those texts.
pub(super) fn push(texts: &[&[u8]], out: &mut Vec<u8>) {
    line('>', &texts.len().to_string(), out);
    texts.iter().for_each(|part| text(part, out));
}

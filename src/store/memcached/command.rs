//! The words of memcached: the few commands that counting takes, and their replies.
//!
//! Every reply is one line, so replies find their commands by their order alone. What a
//! reply may say depends on its command; anything else means that the two are out of step.

use std::io::Write as _;

/// The longest reply that is read, in bytes. Errors carry a sentence at most.
pub(super) const MAX_LINE: u64 = 1024;

/// A command, written.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) verb: Verb,
    pub(super) bytes: Vec<u8>,
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Adds to or takes from a number that exists; the answer is the number after.
    Change,
    /// Writes a value.
    Write,
    /// Tells who it is.
    Version,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The number after a change.
    Number(u64),
    /// There is no such key.
    NotFound,
    /// It is written.
    Stored,
    /// It is not, as the key exists.
    NotStored,
    /// A sign of life.
    Version,
    /// The command did nothing, for this reason.
    Refused(String),
}

/// A reply that does not belong to its command: nothing later can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer that does not fit: {0}")]
pub(super) struct OutOfStep(String);

impl Command {
    /// Adds to the number at `key`.
    pub(super) fn incr(key: &[u8], amount: u64) -> Self {
        Self::change(b"incr", key, amount)
    }

    /// Takes from it, down to zero.
    pub(super) fn decr(key: &[u8], amount: u64) -> Self {
        Self::change(b"decr", key, amount)
    }

    /// Writes `number` at `key` if there is nothing. What memcached makes of `expires` is
    /// told in `counter`.
    pub(super) fn add(key: &[u8], number: u64, expires: u32) -> Self {
        Self::write(b"add", (key, number), expires)
    }

    /// Writes `number` at `key` in any case.
    pub(super) fn set(key: &[u8], number: u64, expires: u32) -> Self {
        Self::write(b"set", (key, number), expires)
    }

    /// Asks for a sign of life.
    pub(super) fn version() -> Self {
        Self { verb: Verb::Version, bytes: b"version\r\n".to_vec() }
    }

    fn change(word: &[u8], key: &[u8], amount: u64) -> Self {
        let mut bytes = start(word, key);
        // Writing to a vector cannot fail.
        let _ = write!(bytes, "{amount}\r\n");
        Self { verb: Verb::Change, bytes }
    }

    fn write(word: &[u8], (key, number): (&[u8], u64), expires: u32) -> Self {
        let mut bytes = start(word, key);
        let number = number.to_string();
        let _ = write!(bytes, "0 {expires} {}\r\n{number}\r\n", number.len());
        Self { verb: Verb::Write, bytes }
    }
}

fn start(word: &[u8], key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len() + key.len() + 48);
    for part in [word, key] {
        bytes.extend_from_slice(part);
        bytes.push(b' ');
    }
    bytes
}

/// Reads the reply to a command of that kind from a line, which includes its end.
pub(super) fn read(verb: Verb, line: &[u8]) -> Result<Reply, OutOfStep> {
    let out_of_step = || OutOfStep(shown(line));
    let line = line.strip_suffix(b"\r\n").ok_or_else(out_of_step)?;
    let reply = match (verb, line) {
        (Verb::Change, b"NOT_FOUND") => Reply::NotFound,
        (Verb::Change, digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            Reply::Number(number.ok_or_else(out_of_step)?)
        }
        (Verb::Write, b"STORED") => Reply::Stored,
        (Verb::Write, b"NOT_STORED") => Reply::NotStored,
        (Verb::Version, text) if text.starts_with(b"VERSION ") => Reply::Version,
        (_, text) if text.starts_with(b"SERVER_ERROR ") => Reply::Refused(shown(text)),
        // After a write that it does not understand a server may take the value for a
        // command of its own, which gets an answer of its own.
        (Verb::Change, text) if text.starts_with(b"CLIENT_ERROR ") => Reply::Refused(shown(text)),
        _ => return Err(out_of_step()),
    };
    Ok(reply)
}

/// A line for a message: printable and not endless.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end().chars().take(200).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_memcached_reads_them() {
        let check = |command: Command, expected: &str| {
            assert_eq!(String::from_utf8_lossy(&command.bytes), expected);
        };
        check(Command::incr(b"k", u64::MAX), "incr k 18446744073709551615\r\n");
        check(Command::decr(b"k", 0), "decr k 0\r\n");
        check(Command::add(b"k", 120, 61), "add k 0 61 3\r\n120\r\n");
        check(Command::set(b"k", 0, 0), "set k 0 0 1\r\n0\r\n");
        check(Command::version(), "version\r\n");
    }

    fn check(verb: Verb, line: &str, expected: Option<Reply>) {
        assert_eq!(read(verb, line.as_bytes()).ok(), expected, "{verb:?}: {line:?}");
    }

    #[test]
    fn replies_belong_to_their_commands() {
        use Verb::{Change, Version, Write};
        check(Change, "18446744073709551615\r\n", Some(Reply::Number(u64::MAX)));
        check(Change, "0\r\n", Some(Reply::Number(0)));
        check(Change, "NOT_FOUND\r\n", Some(Reply::NotFound));
        let busy = "SERVER_ERROR out of memory";
        check(Write, &format!("{busy}\r\n"), Some(Reply::Refused(busy.to_owned())));
        let text = "CLIENT_ERROR cannot increment or decrement non-numeric value";
        check(Change, &format!("{text}\r\n"), Some(Reply::Refused(text.to_owned())));
        check(Write, "STORED\r\n", Some(Reply::Stored));
        check(Write, "NOT_STORED\r\n", Some(Reply::NotStored));
        check(Version, "VERSION 1.6.18\r\n", Some(Reply::Version));
    }

    #[test]
    fn anything_else_is_out_of_step() {
        use Verb::{Change, Version, Write};
        for line in ["", "7", "7\n", "\r\n", "+7\r\n", "-7\r\n", "7 \r\n", " 7\r\n", "7x\r\n"] {
            check(Change, line, None);
        }
        check(Change, "18446744073709551616\r\n", None);
        check(Change, "STORED\r\n", None);
        check(Change, "ERROR\r\n", None);
        check(Write, "7\r\n", None);
        check(Write, "NOT_FOUND\r\n", None);
        check(Write, "CLIENT_ERROR bad data chunk\r\n", None);
        check(Version, "VERSION\r\n", None);
        check(Version, "HTTP/1.1 400 Bad Request\r\n", None);
    }

    #[test]
    fn what_is_shown_of_a_strange_answer_is_short_and_printable() {
        let error = read(Verb::Change, &[0x1b; 1000]).map_err(|error| error.to_string());
        assert!(error.as_ref().is_err_and(|text| text.len() < 2_000), "{error:?}");
        assert!(error.is_err_and(|text| text.contains("\\u{1b}")));
    }
}

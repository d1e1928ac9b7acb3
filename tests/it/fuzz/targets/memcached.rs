//! Bytes as a line of memcached.

use tidegate::store::memcached::fuzz;

use super::Outcome;

/// Reads the line as the answer to each kind of command.
pub(crate) fn run(bytes: &[u8]) -> Outcome {
    let results = [
        fuzz::change(bytes).map(|number| {
            let digits = number.map(|number| format!("{number}\r\n"));
            let is_same = |digits: &String| bytes.ends_with(digits.as_bytes());
            assert!(digits.as_ref().is_none_or(is_same), "{number:?}");
        }),
        fuzz::write(bytes).map(|stored| assert!(!stored || bytes == b"STORED\r\n")),
        fuzz::version(bytes).map(|alive| assert!(!alive || bytes.starts_with(b"VERSION "))),
    ];
    for result in &results {
        if let Err(reason) = result {
            assert!(reason.len() < 3000 && !reason.contains('\n'), "{reason:?}");
        }
    }
    match results.iter().any(Result::is_ok) {
        true => Outcome::Taken,
        false => Outcome::Refused,
    }
}

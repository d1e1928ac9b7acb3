//! The key of a counter in memcached, and the server that holds it.
//!
//! As envoyproxy/ratelimit has them: counter key and start of the window; CRC-32 of that,
//! modulo the number of servers. Where memcached cannot hold the key, a digest of it
//! stands in.

use std::io::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use crate::limiter::{Batch, Operation};

/// The longest key that memcached holds.
const MAX_KEY: usize = 250;

/// What a digest begins with. Other keys hold a `:` or a `_`, which digests do not, so no
/// two counters share a key.
const DIGEST: &[u8] = b"sha256-";

/// The key of an operation of `batch`.
pub(super) fn of(batch: &Batch, operation: &Operation) -> Vec<u8> {
    let counter = batch.key(operation);
    let mut key = Vec::with_capacity(counter.len() + 20);
    key.extend_from_slice(counter);
    // Writing to a vector cannot fail.
    let _ = write!(key, "{}", operation.meter.window.start(batch.now));
    if is_legal(&key) { key } else { digested(&key) }
}

/// Which of `servers` servers holds a key. There must be one at least.
pub(super) fn place(key: &[u8], servers: usize) -> usize {
    match servers {
        0 | 1 => 0,
        // The digest has 32 bits, and there are fewer servers than that.
        _ => crc32fast::hash(key) as usize % servers,
    }
}

/// White space and control bytes end a key or a command.
fn is_legal(key: &[u8]) -> bool {
    key.len() <= MAX_KEY && key.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

fn digested(key: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hex = |byte: &u8| [byte >> 4, byte & 15].map(|digit| DIGITS[digit as usize]);
    let digest = digest(&SHA256, key);
    DIGEST.iter().copied().chain(digest.as_ref().iter().flat_map(hex)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::limiter::{Action, Meter, NewOperation, Refused, Window};
    use crate::rules::Algorithm;

    fn key(counter: &[u8]) -> String {
        let window = Window::from_secs(60);
        let meter =
            Meter { algorithm: Algorithm::FixedWindow, rate: 1, window, refused: Refused::Spend };
        let mut batch = Batch::new(Timestamp::from_secs(1_700_000_000));
        let operation = NewOperation::alone(meter, Action::Spend(1), 0);
        batch.push(operation, |out| out.extend_from_slice(counter));
        String::from_utf8_lossy(&of(&batch, &batch.operations()[0])).into_owned()
    }

    #[test]
    fn a_key_that_memcached_can_hold_is_left_as_it_is() {
        assert_eq!(key(b"shop_tier_gold_"), "shop_tier_gold_1699999980");
        assert_eq!(key("shop_name_Ä_".as_bytes()), "shop_name_Ä_1699999980");
        assert_eq!(key(&[b'x'; 240]).len(), 250);
    }

    #[test]
    fn any_other_becomes_its_digest() {
        // echo -n 'shop_name_a b_1699999980' | sha256sum
        assert_eq!(key(b"shop_name_a b_"), EXPECTED);
        for counter in [&[b'x'; 241][..], b"\0_", b"\r\nflush_all\r\n_", b"\x7f_", b"a\tb_"] {
            let key = key(counter);
            assert!(key.starts_with("sha256-") && key.len() == 71, "{key}");
        }
    }

    const EXPECTED: &str =
        "sha256-69ce65781bd62f3cafea6ed73f81240da0675e58c985dcd2f9a2e3037cf6fdab";

    #[test]
    fn keys_are_where_the_reference_looks_for_them() {
        // CRC-32 as of zlib: 0xcbf43926 for this one.
        assert_eq!(place(b"123456789", 1), 0);
        assert_eq!(place(b"123456789", 2), 0);
        assert_eq!(place(b"123456789", 7), 0xcbf4_3926 % 7);
    }
}

//! When a certificate ends.
//!
//! Reads just enough of X.509 to find it; whether a certificate is good is not judged here.

use std::time::UNIX_EPOCH;

use crate::clock::Timestamp;

const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The last moment of a certificate in DER, where it can be read.
pub(super) fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    if let Some((VERSION, _, after)) = element(rest) {
        rest = after;
    }
    // Serial number, algorithm and issuer stand before the validity.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, rest) = element(validity)?;
    let (kind, text, _) = element(rest)?;
    moment(kind, std::str::from_utf8(text).ok()?)
}

/// The first element: its tag, what it holds, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // The length of the length.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ`, of this century before 50, or `YYYYMMDDHHMMSSZ`.
fn moment(kind: u8, text: &str) -> Option<Timestamp> {
    let text = match (kind, text.get(..2)?.parse().ok()?) {
        (UTC_TIME, 0..50) => format!("20{text}"),
        (UTC_TIME, _) => format!("19{text}"),
        (GENERALIZED_TIME, _) => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, length: usize| text.get(from..from + length);
    let (year, month, day) = (part(0, 4)?, part(4, 2)?, part(6, 2)?);
    let (hour, minute, second) = (part(8, 2)?, part(10, 2)?, part(12, 2)?);
    let standard = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    let since = humantime::parse_rfc3339(&standard).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(since.as_secs()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_is_found_in_both_forms() {
        let check = |year, month, day, expected| {
            let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, month, day);
            let key = KeyPair::generate().unwrap();
            let der = params.self_signed(&key).unwrap().der().to_vec();
            assert_eq!(not_after(&der), Some(Timestamp::from_secs(expected)), "{year}");
            for length in 0..der.len() {
                assert_eq!(not_after(&der[..length]), None, "cut at {length}");
            }
        };
        check(2031, 2, 3, 1_927_843_200);
        check(2049, 12, 31, 2_524_521_600);
        check(2051, 1, 1, 2_556_144_000);
    }

    #[test]
    fn noise_has_no_end() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let noise: Vec<u8> = (0..random.usize(..64)).map(|_| random.u8(..)).collect();
            let _ = not_after(&noise);
        }
        assert_eq!(not_after(b""), None);
        assert_eq!(moment(UTC_TIME, "€€€"), None);
    }
}

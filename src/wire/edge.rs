//! What stands beside messages, in headers: how long a caller waits, and who decided.

use std::time::Duration;

use crate::service::StoodIn;

/// The header that tells who decided, where that was not the store alone.
pub const DECIDED_BY: &str = "x-tidegate-decided-by";

/// The header that says how long the caller waits.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

/// How long the caller waits: up to eight digits and a unit, as gRPC writes it. Anything
/// else says nothing.
pub fn patience(header: &[u8]) -> Option<Duration> {
    let (unit, digits) = header.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Who decided, as [`DECIDED_BY`] tells it: `fallback; policy=local`. `None` where the store
/// answered for everything.
pub fn decided_by(stood_in: &StoodIn) -> Option<String> {
    let names: Vec<&str> = stood_in.iter().map(|policy| policy.name()).collect();
    (!names.is_empty()).then(|| format!("fallback; policy={}", names.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_read_as_grpc_writes_it() {
        let check = |text: &str, expected: Option<Duration>| {
            assert_eq!(patience(text.as_bytes()), expected, "{text:?}");
        };
        check("20m", Some(Duration::from_millis(20)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("1M", Some(Duration::from_secs(60)));
        check("3S", Some(Duration::from_secs(3)));
        check("0u", Some(Duration::ZERO));
        check("7n", Some(Duration::from_nanos(7)));
        for wrong in ["", "m", "20", "20 m", "-1m", "1.5S", "123456789m", "20ms", "20s"] {
            check(wrong, None);
        }
    }

    #[test]
    fn who_decided_is_told_where_it_was_not_the_store() {
        use crate::rules::OnStoreError::{Allow, Local};
        assert_eq!(decided_by(&StoodIn::new()), None);
        let told = decided_by(&StoodIn::from_slice(&[Local, Allow]));
        assert_eq!(told.as_deref(), Some("fallback; policy=local,allow"));
    }
}

//! Durations in Go's notation.

use std::time::Duration;

use proptest::prelude::*;
use tidegate::settings::duration::{format, parse};

fn check(text: &str, nanos: impl Into<Option<u64>>) {
    assert_eq!(parse(text), nanos.into().map(Duration::from_nanos), "{text:?}");
}

#[test]
fn what_is_a_duration() {
    check("0", 0);
    check("+0", 0);
    check("-0", 0);
    check("0s", 0);
    check("-0s", 0);
    check("300ms", 300_000_000);
    check("+5s", 5_000_000_000);
    check("1.5h", 5_400_000_000_000);
    check("2h45m", 9_900_000_000_000);
    check("1h1h", 7_200_000_000_000);
    check("1s1h", 3_601_000_000_000);
    check("150us", 150_000);
    check("150\u{b5}s", 150_000);
    check("150\u{3bc}s", 150_000);
    check("7ns", 7);
    check(".5s", 500_000_000);
    check("5.s", 5_000_000_000);
    check("0.9ns", 0);
    check("0.100000000000000000000000000000001s", 100_000_000);
    check("0.3333333333333333333h", 1_199_999_999_999);
    check("1m.5s", 60_500_000_000);
    check("9223372036854775807ns", i64::MAX as u64);
    check("2562047h47m16.854775807s", i64::MAX as u64);
}

#[test]
fn what_is_none() {
    for text in [
        "", "+", "-", "1", "10", "00", "+5", ".", ".s", "s", "h", "1 s", " 1s", "1s ", "1d", "1S",
        "1sec", "1.2.3s", "1e3s", "--1s", "+-1s", "1s+1s", "1_000s", "-1s", "-1ns", "٣s",
    ] {
        check(text, None);
    }
}

#[test]
fn what_is_too_long() {
    for text in [
        "9223372036854775808ns",
        "18446744073709551616ns",
        "2562047h47m16.854775808s",
        "2562048h",
        "9999999999999999999999h",
        "2562047h2562047h",
        "106751d",
    ] {
        check(text, None);
    }
}

#[test]
fn how_they_are_written() {
    let text = |nanos| format(Duration::from_nanos(nanos));
    assert_eq!(text(0), "0");
    assert_eq!(text(86_400_000_000_000), "24h");
    assert_eq!(text(5_400_000_000_000), "1h30m");
    assert_eq!(text(1_500_000_000), "1s500ms");
    assert_eq!(text(1_002_003), "1ms2us3ns");
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(nanos in 0..=i64::MAX as u64) {
        let duration = Duration::from_nanos(nanos);
        prop_assert_eq!(parse(&format(duration)), Some(duration));
    }

    #[test]
    fn fractions_are_exact(whole in 0_u64..1_000_000, nanos in 0_u32..1_000_000_000) {
        let duration = Duration::new(whole, nanos);
        prop_assert_eq!(parse(&format!("{whole}.{nanos:09}s")), Some(duration));
    }

    #[test]
    fn no_text_is_fatal(text in "[-+0-9.hmsnuµμ e_]{0,24}") {
        let _ = parse(&text);
    }
}

//! How the text of a variable becomes a value, and a default becomes text again.
//!
//! Numbers and booleans follow the reference, which follows Go: a base prefix and
//! underscores in whole numbers, no trimming, `yes` is no boolean.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tracing::Level;

use super::duration;
use crate::limiter::KeyFormat;
use crate::server::{Address, Reflection};

/// A type that a variable can have.
pub(super) trait Value: Clone {
    /// What a valid text looks like, for errors and the reference table.
    const ALLOWED: &'static str;
    /// Whether empty text is a value; otherwise it counts as unset.
    const MAY_BE_EMPTY: bool = false;

    /// Reads it.
    fn parse(text: &str) -> Option<Self>;
    /// Writes it as [`Value::parse`] reads it.
    fn show(&self) -> String;
}

impl Value for String {
    const ALLOWED: &'static str = "any text";
    const MAY_BE_EMPTY: bool = true;

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for bool {
    const ALLOWED: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_number {
    ($($type:ty),*) => {$(
        impl Value for $type {
            const ALLOWED: &'static str = "a whole number";

            fn parse(text: &str) -> Option<Self> {
                integer(text)?.try_into().ok()
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_number!(u16, u32, u64, i64, usize);

/// A whole number: sign, base by prefix (`0x`, `0o`, `0b`, a leading `0` is octal),
/// single underscores between digits.
fn integer(text: &str) -> Option<i128> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let lower = unsigned.to_ascii_lowercase();
    let (base, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some(_) if lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // A prefix counts as a digit: an underscore may follow it.
    let after_digit = base != 10;
    let misplaced =
        digits.ends_with('_') || digits.contains("__") || (!after_digit && digits.starts_with('_'));
    let digits = digits.replace('_', "");
    if misplaced || digits.starts_with(['-', '+']) {
        return None;
    }
    let value = i128::from_str_radix(&digits, base).ok()?;
    Some(if negative { -value } else { value })
}

impl Value for Duration {
    const ALLOWED: &'static str = "a duration such as 300ms, 1.5h or 2h45m";

    fn parse(text: &str) -> Option<Self> {
        duration::parse(text)
    }

    fn show(&self) -> String {
        duration::format(*self)
    }
}

impl Value for Level {
    const ALLOWED: &'static str = "trace, debug, info, warn or error";

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "trace" => Some(Self::TRACE),
            "debug" => Some(Self::DEBUG),
            "info" => Some(Self::INFO),
            "warn" | "warning" => Some(Self::WARN),
            // The reference has two levels above errors; nothing here is logged at them.
            "error" | "fatal" | "panic" => Some(Self::ERROR),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for KeyFormat {
    const ALLOWED: &'static str = "tidegate or envoyproxy";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "tidegate" => Some(Self::Tidegate),
            "envoyproxy" => Some(Self::Envoyproxy),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Tidegate => "tidegate".to_owned(),
            Self::Envoyproxy => "envoyproxy".to_owned(),
        }
    }
}

/// The host of a listener; empty means every address of the machine.
#[derive(Clone)]
pub(super) struct Host(pub(super) String);

impl Value for Host {
    const ALLOWED: &'static str = "a host name or an IP address, without port";
    const MAY_BE_EMPTY: bool = true;

    fn parse(text: &str) -> Option<Self> {
        host(text).map(Self)
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Value for Reflection {
    const ALLOWED: &'static str = bool::ALLOWED;

    fn parse(text: &str) -> Option<Self> {
        bool::parse(text).map(|on| if on { Self::On } else { Self::Off })
    }

    fn show(&self) -> String {
        (*self == Self::On).show()
    }
}

impl Value for Address {
    const ALLOWED: &'static str = "host:port or :port";

    fn parse(text: &str) -> Option<Self> {
        let (name, port) = text.rsplit_once(':')?;
        // Without brackets it is unclear where an IPv6 address ends.
        if name.contains(':') && !name.starts_with('[') {
            return None;
        }
        Some(Self { host: host(name)?, port: port.parse().ok()? })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A host without brackets, when it is one.
fn host(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?;
        return inner.parse::<Ipv6Addr>().is_ok().then(|| inner.to_owned());
    }
    let named = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    (named || text.parse::<IpAddr>().is_ok()).then(|| text.to_owned())
}

/// The name of a response header, spelled as it will be sent.
#[derive(Clone)]
pub(super) struct Header(pub(super) String);

impl Value for Header {
    const ALLOWED: &'static str = "an HTTP header name";

    fn parse(text: &str) -> Option<Self> {
        http::HeaderName::try_from(text).is_ok().then(|| Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// The path of an HTTP route, taken literally.
#[derive(Clone)]
pub(super) struct Route(pub(super) String);

impl Value for Route {
    const ALLOWED: &'static str = "a path that begins with / and holds letters, digits and -._~/";

    fn parse(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
        (text.starts_with('/') && text.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Value for crate::telemetry::logs::Format {
    // The reference takes every other word for text.
    const ALLOWED: &'static str = "json, or anything else for text";

    fn parse(text: &str) -> Option<Self> {
        Some(if text.eq_ignore_ascii_case("json") { Self::Json } else { Self::Text })
    }

    fn show(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Json => "json".to_owned(),
        }
    }
}

/// A part of a whole, or more than it.
#[derive(Clone, PartialEq, PartialOrd)]
pub(super) struct Ratio(pub(super) f32);

impl Value for Ratio {
    const ALLOWED: &'static str = "a number, 0 or more";

    fn parse(text: &str) -> Option<Self> {
        let number: f32 = text.parse().ok()?;
        (number.is_finite() && number >= 0.0).then_some(Self(number))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// Seconds; below zero means none, as in the reference.
#[derive(Clone)]
pub(super) struct Jitter(pub(super) u64);

impl Value for Jitter {
    const ALLOWED: &'static str = "whole seconds up to 31536000 (a year); 0 or less means none";

    fn parse(text: &str) -> Option<Self> {
        let seconds = i64::parse(text).filter(|seconds| *seconds <= 31_536_000)?;
        Some(Self(u64::try_from(seconds).unwrap_or(0)))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// Whether two texts mean the same, whatever type they have.
pub(in crate::settings) fn same(text: &str, other: &str) -> bool {
    let booleans = bool::parse(text).zip(bool::parse(other));
    text.eq_ignore_ascii_case(other) || booleans.is_some_and(|(a, b)| a == b)
}

//! Variables of the reference that are not honoured yet.
//!
//! What asks for them is worth a warning.

use super::reader::{Declared, Reader};
use super::value::Value;

const TRACING: &str = "Traces are not exported yet.";

/// Name, the value that asks for nothing (so it needs no warning), and why it is not used.
const UNUSED: [(&str, &str, &str); 6] = [
    ("TRACING_ENABLED", "false", TRACING),
    ("TRACING_SERVICE_NAME", "RateLimit", TRACING),
    ("TRACING_SERVICE_NAMESPACE", "", TRACING),
    ("TRACING_SERVICE_INSTANCE_ID", "", TRACING),
    ("TRACING_EXPORTER_PROTOCOL", "http", TRACING),
    ("TRACING_SAMPLING_RATE", "1", TRACING),
];

/// Warns about what is set.
pub(super) fn check(reader: &mut Reader<'_>) {
    for (name, nothing, help) in UNUSED {
        let declared = Declared {
            name,
            default: String::new(),
            allowed: String::new(),
            help,
            group: "Not used yet: a warning at start",
        };
        // The value is not shown: some of these are passwords.
        if reader.noted(declared).is_some_and(|text| !same(&text, nothing)) {
            let why = help.trim_end_matches('.');
            reader.warn(format!("{name} is set but not used yet: {why}"));
        }
    }
}

/// Whether two texts mean the same, whatever type they have.
pub(super) fn same(text: &str, other: &str) -> bool {
    let booleans = bool::parse(text).zip(bool::parse(other));
    text.eq_ignore_ascii_case(other) || booleans.is_some_and(|(a, b)| a == b)
}

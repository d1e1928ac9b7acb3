//! The part of the table that says how blocks of hits are taken, for limits that allow it.

use std::time::Duration;

use super::reader::Reader;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MILLION: usize = 1_000_000;

/// How blocks of hits are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leases {
    /// For how long a block should last.
    pub period: Duration,
    /// How many counters may have one.
    pub max_leases: usize,
}

/// Reads how blocks are taken.
pub(super) fn read(r: &mut Reader<'_>) -> Leases {
    r.group("Leases");
    Leases {
        period: r.within(
            "TIDEGATE_LEASE_PERIOD",
            SECOND,
            100 * MS..=60 * SECOND,
            "Limits with `accuracy: leased`: for how long a block of hits should last, and how \
             soon hits that nobody spends are given back. Shorter refuses less too early, longer \
             asks Redis less often.",
        ),
        max_leases: r.within(
            "TIDEGATE_MAX_LEASES",
            100_000,
            0..=MILLION,
            "How many counters may be leased; one takes about 500 bytes. Those beyond are counted \
             exactly, as all are with 0.",
        ),
    }
}

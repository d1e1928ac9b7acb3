//! The part of the table that says what is answered when the store cannot say.

use std::time::Duration;

use super::reader::Reader;
use super::value::Value;
use crate::rules::OnStoreError;

/// What is answered when the store cannot say, and when it is taken for silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// How long a decision may take.
    pub decision_timeout: Duration,
    /// What limits do that do not say.
    pub on_store_error: OnStoreError,
    /// How many counters are held for limits that count here then.
    pub max_counters: usize,
    /// After how many slow calls in a row a Redis server is not asked any more; 0: never.
    pub slow_calls: u32,
}

impl Value for OnStoreError {
    const ALLOWED: &'static str = "error, allow, deny or local";

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == text)
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }
}

/// Reads the group. Who has set the time-out of the store and nothing else has said how long
/// a decision waits for its counters, and is taken at the word.
pub(super) fn read(r: &mut Reader<'_>) -> Faults {
    const MS: Duration = Duration::from_millis(1);
    r.group("When the store cannot say");
    let given: Option<Duration> = r.optional(
        "TIDEGATE_DECISION_TIMEOUT",
        "How long a decision waits for its counters at most, 2ms to 1m; the caller's own deadline \
         (`grpc-timeout`), less a millisecond, goes before it if it is sooner. Unset: as long as \
         TIDEGATE_STORE_TIMEOUT says, or 10ms if that is unset too. More than that has no effect.",
    );
    let store = r.raw("TIDEGATE_STORE_TIMEOUT").and_then(|text| Duration::parse(&text));
    let decision_timeout = match given {
        Some(given) if !(2 * MS..=60_000 * MS).contains(&given) => {
            r.refuse("TIDEGATE_DECISION_TIMEOUT", &given.show(), "a duration, 2ms to 1m");
            10 * MS
        }
        Some(given) => given,
        None => store.unwrap_or(10 * MS),
    };
    Faults {
        decision_timeout,
        on_store_error: r.read(
            "TIDEGATE_ON_STORE_ERROR",
            OnStoreError::Error,
            "What limits do then that do not say it themselves, nor their file: an error for the \
             caller, pass, refuse, or count here with a share of the limit (see \
             `TIDEGATE_REPLICAS`).",
        ),
        max_counters: r.within(
            "TIDEGATE_LOCAL_MAX_COUNTERS",
            100_000,
            1..=100_000_000,
            "How many counters are held in this process for limits with `on_store_error: local`.",
        ),
        slow_calls: r.within(
            "TIDEGATE_BREAKER_SLOW_CALLS",
            10,
            0..=1_000_000,
            "After so many calls in a row to a Redis server that took longer than a decision may, \
             it is not asked until it answers a probe in time; 0: never. One that leaves a call \
             unanswered for TIDEGATE_STORE_TIMEOUT is not asked either.",
        ),
    }
}

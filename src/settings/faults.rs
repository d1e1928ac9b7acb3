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

/// How many processes share the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// How many there are.
    pub sharers: Sharers,
    /// How often one says that it is there.
    pub heartbeat: Duration,
}

/// How many processes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharers {
    /// As many as say so in Redis; with another store one.
    Counted,
    /// So many at most.
    Given(u32),
}

impl Value for Sharers {
    const ALLOWED: &'static str = "auto or a whole number, 1 to 10000";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Counted),
            _ => u32::parse(text).filter(|number| (1..=10_000).contains(number)).map(Self::Given),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Counted => "auto".to_owned(),
            Self::Given(number) => number.show(),
        }
    }
}

/// Reads how many processes share the store.
pub(super) fn replicas(r: &mut Reader<'_>) -> Replicas {
    const MS: Duration = Duration::from_millis(1);
    Replicas {
        sharers: r.read(
            "TIDEGATE_REPLICAS",
            Sharers::Counted,
            "How many processes share the store, at most; `auto`: as many as there are alive, as \
             they tell each other in Redis (with another store one). Limits are divided by it \
             where they count here as the store cannot say.",
        ),
        heartbeat: r.within(
            "TIDEGATE_REPLICAS_HEARTBEAT",
            2000 * MS,
            100 * MS..=120_000 * MS,
            "With TIDEGATE_REPLICAS=auto: how often a process tells Redis that it is alive. One \
             that has not for three times as long is gone.",
        ),
    }
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

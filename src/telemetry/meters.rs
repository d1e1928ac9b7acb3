//! What a worker counts of its own decisions.
//!
//! Each worker has its own, which no other writes to, so that counting costs the same with
//! any number of cores; the page adds them up.

use std::time::Duration;

use super::counter::Counter;
use super::histogram::{Histogram, Observed, Scale};
use super::own;
use super::prometheus::Page;
use crate::limiter::{Count, Decision, Source, Verdict};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It may pass.
    Ok,
    /// It may not.
    OverLimit,
    /// It may pass although a limit in shadow mode was exceeded.
    Shadowed,
    /// The store could not be asked.
    Unavailable,
    /// The connection to the store broke.
    Broken,
    /// The store did not answer in time.
    Timeout,
    /// The store answered with an error.
    Refused,
    /// The store is full.
    Full,
    /// No rules are loaded.
    NoRules,
    /// Too many requests were being decided.
    Crowded,
    /// Deciding it broke off, by a fault of ours.
    Panicked,
    /// It makes no sense, or is beyond a bound.
    Invalid,
}

impl Outcome {
    /// All of them.
    const ALL: [Self; 12] = [
        Self::Ok,
        Self::OverLimit,
        Self::Shadowed,
        Self::Unavailable,
        Self::Broken,
        Self::Timeout,
        Self::Refused,
        Self::Full,
        Self::NoRules,
        Self::Crowded,
        Self::Panicked,
        Self::Invalid,
    ];

    /// That of a request that was decided.
    pub fn of(decision: &Decision) -> Self {
        let shadow = |status: &crate::limiter::Status| {
            status.applied.as_ref().is_some_and(|applied| applied.tally.shadow > 0)
        };
        match decision.overall {
            Verdict::OverLimit => Self::OverLimit,
            _ if decision.shadowed || decision.statuses.iter().any(shadow) => Self::Shadowed,
            _ => Self::Ok,
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::OverLimit => "over_limit",
            Self::Shadowed => "shadowed",
            Self::Unavailable => "unavailable",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Full => "full",
            Self::NoRules => "no_rules",
            Self::Crowded => "crowded",
            Self::Panicked => "panicked",
            Self::Invalid => "invalid",
        }
    }
}

/// Who answers for counters, by name.
const SOURCES: [(Source, &str); 5] = [
    (Source::Store, "store"),
    (Source::RefusalCache, "refusal_cache"),
    (Source::Lease, "lease"),
    (Source::Fallback, "fallback"),
    (Source::Nobody, "nobody"),
];

/// The counters of a worker, apart from those of others in memory.
#[derive(Debug)]
#[repr(align(128))]
pub struct Meters {
    requests: [Counter; Outcome::ALL.len()],
    counts: [Counter; SOURCES.len()],
    durations: Histogram,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            counts: Default::default(),
            durations: Histogram::new(Scale::seconds()),
        }
    }
}

impl Meters {
    /// Counts a request and how long it took.
    pub fn record(&self, outcome: Outcome, elapsed: Duration) {
        self.requests[outcome as usize].add(1);
        self.durations.time(elapsed);
    }

    /// Counts who answered.
    pub fn record_counts(&self, counts: &[Count]) {
        let mut sums = [0; SOURCES.len()];
        for count in counts {
            sums[count.source as usize] += 1;
        }
        for (counter, sum) in self.counts.iter().zip(sums) {
            counter.add(sum);
        }
    }
}

/// Adds the counters of all workers to `page`.
pub(super) fn render<'m>(all: impl Iterator<Item = &'m Meters> + Clone, page: &mut Page) {
    for outcome in Outcome::ALL {
        let requests = all.clone().map(|meters| meters.requests[outcome as usize].get());
        page.sample(&own::REQUESTS, &[outcome.name()], requests.sum::<u64>() as f64);
    }
    for (source, name) in SOURCES {
        let counts = all.clone().map(|meters| meters.counts[source as usize].get());
        page.sample(&own::COUNTS, &[name], counts.sum::<u64>() as f64);
    }
    if let Some(total) = Observed::total(all.map(|meters| meters.durations.read())) {
        page.histogram(&own::DECISION_DURATION, &[], total);
    }
}

//! How many hits a period brings: what a block should be good for.
//!
//! A counter that was quiet is believed step by step: no more than some times the hits that
//! came, so that a few quick ones do not pass for thousands.

use std::time::Duration;

use tokio::time::Instant;

/// How much more may follow than came.
const GROWTH: u64 = 8;
/// So few hits say nothing yet.
const FEW: u64 = 3;

/// The hits of the period under way and of the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    since: Instant,
    hits: u64,
    before: u64,
    /// The most that one request asked for, in this period and the one before.
    largest: (u64, u64),
}

impl Demand {
    /// None so far.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, hits: 0, before: 0, largest: (0, 0) }
    }

    /// Hits were admitted.
    pub(super) fn note(&mut self, hits: u64, now: Instant, period: Duration) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= period {
            let before = scaled(self.hits, period, passed);
            *self = Self { since: now, hits: 0, before, largest: (0, self.largest.0) };
        }
        self.hits = self.hits.saturating_add(hits);
        self.largest.0 = self.largest.0.max(hits);
    }

    /// The hits that another period would bring.
    pub(super) fn per_period(&self, now: Instant, period: Duration) -> u64 {
        let passed = now.saturating_duration_since(self.since);
        let current = match self.hits {
            0..=FEW => 0,
            hits => scaled(hits, period, passed),
        };
        match passed >= period {
            true => current,
            false => current.min(self.hits.saturating_mul(GROWTH)).max(self.before),
        }
    }

    /// The most that one request asked for lately.
    pub(super) fn largest(&self) -> u64 {
        self.largest.0.max(self.largest.1).max(1)
    }
}

/// Hits of a span, as many as they would be in that other one.
pub(super) fn scaled(hits: u64, span: Duration, of: Duration) -> u64 {
    let hits = u128::from(hits).saturating_mul(span.as_micros()) / of.as_micros().max(1);
    u64::try_from(hits).unwrap_or(u64::MAX)
}

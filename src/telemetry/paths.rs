//! The counters of one metric path.

use super::capped::Counts;
use super::counter::Counter;
use super::families;
use super::metric::Metric;
use super::rulings::Rulings;
use crate::limiter::Tally;

/// What was counted for a path.
#[derive(Debug, Default)]
pub(super) struct PathCounters {
    total: Counter,
    over: Counter,
    near: Counter,
    over_from_cache: Counter,
    within: Counter,
    shadow: Counter,
    given_back: Counter,
    /// Of the rule that has this path.
    pub(super) rulings: Rulings,
}

impl PathCounters {
    pub(super) fn add(&self, tally: &Tally) {
        self.total.add(tally.total);
        self.over.add(tally.over);
        self.near.add(tally.near);
        self.over_from_cache.add(tally.over_from_cache);
        self.within.add(tally.within);
        self.shadow.add(tally.shadow);
        self.given_back.add(tally.given_back);
    }

    /// Those within the limit, and those over it.
    pub(super) fn hits(&self) -> [u64; 2] {
        let over = self.over.get();
        [self.total.get().saturating_sub(over), over]
    }

    pub(super) fn readings(&self) -> [(&'static Metric, u64); 7] {
        [
            (&families::TOTAL_HITS, self.total.get()),
            (&families::OVER_LIMIT, self.over.get()),
            (&families::NEAR_LIMIT, self.near.get()),
            (&families::OVER_LIMIT_FROM_CACHE, self.over_from_cache.get()),
            (&families::WITHIN_LIMIT, self.within.get()),
            (&families::SHADOW_MODE, self.shadow.get()),
            (&families::NEGATIVE_HITS, self.given_back.get()),
        ]
    }
}

impl Counts for PathCounters {
    fn total(&self) -> u64 {
        self.total.get().saturating_add(self.given_back.get())
    }
}

//! How a counter counts: one pure step over a small state, for every algorithm.
//!
//! A store holds states and runs steps; what a step means for the caller is a [`Count`].
//! The Redis store runs the same steps in a script; a property test holds both equal.

use std::time::Duration;

use super::operation::{Action, Count, Source};
use super::{Window, fixed_window, sliding_window, token_bucket};
use crate::clock::Timestamp;
use crate::rules::{Algorithm, Limit};

/// What a counter counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Meter {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What a window admits; what a bucket gains in a window.
    pub rate: u32,
    /// The window.
    pub window: Window,
    /// Whether hits that do not fit are spent all the same.
    pub refused: Refused,
}

/// What becomes of hits that do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// They count. (A bucket loses what is left in it.)
    Spend,
    /// They leave the counter as it is.
    Spare,
}

/// A counter between operations; all zero is one that never counted. What the numbers
/// mean is the algorithm's business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// Windows: the second in which the counted one starts. Bucket: the microsecond in
    /// which it is full again.
    pub at: u64,
    /// Windows: hits in the counted one. Bucket: the fraction of a microsecond beside
    /// `at`, in units of `1 / previous`.
    pub count: u64,
    /// Sliding window: hits in the one before. Bucket: the rate that `at` was computed with.
    pub previous: u64,
}

/// A state after an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state.
    pub state: State,
    /// Whether the hits fit.
    pub admitted: bool,
    /// Whether the state has counted them.
    pub spent: bool,
}

impl Meter {
    /// The meter of a limit.
    pub fn of(limit: &Limit) -> Self {
        Self {
            algorithm: limit.algorithm,
            rate: limit.requests_per_unit,
            window: Window::of(limit),
            refused: if limit.count_refused { Refused::Spend } else { Refused::Spare },
        }
    }

    /// The most that can be spent at once.
    pub fn size(&self) -> u32 {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => self.rate,
            // A bucket that never gains anything is always empty.
            Algorithm::TokenBucket { burst } => {
                if self.rate == 0 {
                    0
                } else {
                    burst
                }
            }
        }
    }

    /// One operation on one counter. A clock that goes back gives nothing away: the
    /// counter stays at the latest moment it has seen.
    pub fn step(&self, state: State, action: Action, now: Timestamp) -> Step {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::step(self, state, action, now),
            Algorithm::SlidingWindow => sliding_window::step(self, state, action, now),
            Algorithm::TokenBucket { .. } => token_bucket::step(self, state, action, now),
        }
    }

    /// What a step says to the caller who took it at `now`.
    pub fn count(&self, step: &Step, action: Action, now: Timestamp) -> Count {
        let after = self.used(step.state, now);
        let hits = match action {
            Action::Spend(hits) => hits,
            Action::GiveBack(_) | Action::Undo { .. } => 0,
        };
        let wait = match step.admitted {
            true => Some(self.until_new(step.state, now)),
            false => self.until_fits(step.state, hits, now),
        };
        let (at, source) = (self.seen(step.state, now), Source::Store);
        Count { after, admitted: step.admitted, spent: step.spent, wait, at, source }
    }

    /// The second from which a state says nothing any more.
    pub fn expires(&self, state: State) -> u64 {
        match self.algorithm {
            Algorithm::FixedWindow => state.at.saturating_add(self.window.as_secs()),
            Algorithm::SlidingWindow => {
                state.at.saturating_add(self.window.as_secs().saturating_mul(2))
            }
            Algorithm::TokenBucket { .. } => (state.at / 1_000_000).saturating_add(1),
        }
    }

    fn used(&self, state: State, now: Timestamp) -> u64 {
        match self.algorithm {
            Algorithm::FixedWindow => state.count,
            Algorithm::SlidingWindow => sliding_window::estimate(self, state, now),
            Algorithm::TokenBucket { .. } => token_bucket::used(self, state, now),
        }
    }

    /// The latest moment that the counter has seen.
    fn seen(&self, state: State, now: Timestamp) -> Timestamp {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                now.max(Timestamp::from_secs(state.at))
            }
            Algorithm::TokenBucket { .. } => now,
        }
    }

    /// How long until the counter is as new, if nothing more is spent: for windows the
    /// end of the current one.
    fn until_new(&self, state: State, now: Timestamp) -> Duration {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                self.window.left(self.seen(state, now))
            }
            Algorithm::TokenBucket { .. } => Timestamp::from_micros(state.at).since(now),
        }
    }

    /// How long until `hits` fit, if nothing else is spent; `None` if they never do.
    fn until_fits(&self, state: State, hits: u64, now: Timestamp) -> Option<Duration> {
        if hits > self.size().into() {
            return None;
        }
        Some(match self.algorithm {
            Algorithm::FixedWindow => self.until_new(state, now),
            Algorithm::SlidingWindow => sliding_window::until_fits(self, state, hits, now),
            Algorithm::TokenBucket { .. } => token_bucket::until_fits(self, state, hits, now),
        })
    }
}

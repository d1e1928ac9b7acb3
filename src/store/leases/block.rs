//! A block of hits that was taken at once, and for how long it may be spent.
//!
//! What a block still admits, the store would have admitted too, had it been asked:
//!
//! - *Fixed window.* The block is part of the count of one window, and is spent by requests
//!   of that window alone.
//! - *Sliding window.* Within one window of the store's clock the count only rises and the
//!   weight of the one before only falls. The block ends with the window it was counted in.
//! - *Token bucket.* A block of `b` tokens that left a debt of `D` is the topmost slice
//!   `[D - b, D]` of that debt. Debts are repaid from the bottom, so the slices of different
//!   blocks are disjoint and come back to the bucket at disjoint times. A block gives up its
//!   tokens as they come back. So the bucket and all that is held of it never exceed the
//!   burst, together they grow no faster than the rate, and in any span `t` no more than
//!   `burst + rate x t` is admitted. What is left of a block need not be given back.
//!
//! Time is counted from when the block was asked for, so it is never less than what has
//! passed since it was counted; by whichever clock has moved further, as a monotonic one
//! stands still while a machine sleeps; and with a margin, as the clock of the store may run
//! faster.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::limiter::{Count, Meter};
use crate::rules::Algorithm;

/// The part of a span that another clock may run ahead of ours in it; and a little more.
const DRIFT: u32 = 1000;
const MARGIN: Duration = Duration::from_millis(1);

/// A moment by the clocks of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Never goes back.
    pub(super) tick: Instant,
    /// The time of a decision.
    pub(super) now: Timestamp,
}

/// Hits that were taken at once, and what is left of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// Tells it from all others.
    pub(super) id: u64,
    /// What has not been spent.
    pub(super) unspent: u64,
    /// When it was counted, by the store's clock.
    pub(super) at: Timestamp,
    /// Before that, by ours.
    pub(super) sent: Moment,
    /// When it was last spent from.
    pub(super) used: Instant,
    /// Sliding window: from `at` to the window's end. Bucket: until it is full again.
    lasts: Duration,
}

impl Moment {
    /// That moment, and the time of a decision.
    pub(super) fn of(now: Timestamp) -> Self {
        Self { tick: Instant::now(), now }
    }

    /// The time since an earlier moment, by the clock that went further.
    pub(super) fn since(&self, earlier: &Self) -> Duration {
        self.tick.saturating_duration_since(earlier.tick).max(self.now.since(earlier.now))
    }
}

impl Block {
    /// The block that `count` has admitted.
    pub(super) fn new((id, hits): (u64, u64), count: &Count, sent: Moment) -> Self {
        let lasts = count.wait.unwrap_or_default();
        Self { id, unspent: hits, at: count.at, sent, used: sent.tick, lasts }
    }

    /// How many of its hits may be spent.
    pub(super) fn usable(&self, meter: &Meter, moment: &Moment) -> u64 {
        if self.unspent == 0 || self.is_over(meter, moment) {
            return 0;
        }
        match meter.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => self.unspent,
            Algorithm::TokenBucket { .. } => self.unspent.min(gained(meter, self.left(moment))),
        }
    }

    /// Takes hits of those that are usable, and lets go of what is not any more.
    pub(super) fn spend(&mut self, (hits, usable): (u64, u64), moment: &Moment) {
        self.unspent = usable.saturating_sub(hits);
        self.used = moment.tick;
    }

    /// Takes back hits that were spent when that many were usable. A slice that has come back
    /// to its bucket so far that it would have lost some of them takes none: what it has
    /// admitted since then may have been these.
    pub(super) fn put_back(
        &mut self,
        (hits, usable): (u64, u64),
        meter: &Meter,
        moment: &Moment,
    ) -> bool {
        let is_whole = match meter.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => true,
            Algorithm::TokenBucket { .. } => gained(meter, self.left(moment)) >= usable,
        };
        self.unspent = self.unspent.saturating_add(if is_whole { hits } else { 0 });
        is_whole
    }

    /// Breaks off some of the unspent hits, or all.
    pub(super) fn part(&mut self, hits: u64) -> Self {
        let unspent = self.unspent.min(hits);
        self.unspent -= unspent;
        Self { unspent, ..*self }
    }

    /// Whether nothing of it may be spent any more.
    pub(super) fn is_over(&self, meter: &Meter, moment: &Moment) -> bool {
        match meter.algorithm {
            Algorithm::FixedWindow => {
                meter.window.start(moment.now) != meter.window.start(self.sent.now)
            }
            Algorithm::SlidingWindow | Algorithm::TokenBucket { .. } => {
                self.age(moment) >= self.lasts
            }
        }
    }

    /// For how long it lasts. (Fixed windows do not ask.)
    pub(super) fn left(&self, moment: &Moment) -> Duration {
        self.lasts.saturating_sub(self.age(moment))
    }

    /// At least the time since it was counted.
    fn age(&self, moment: &Moment) -> Duration {
        let passed = moment.since(&self.sent);
        passed.saturating_add(passed / DRIFT).saturating_add(MARGIN)
    }
}

/// The tokens that a bucket gains in a span, rounded down.
pub(super) fn gained(meter: &Meter, span: Duration) -> u64 {
    let tokens =
        span.as_micros().saturating_mul(meter.rate.into()) / u128::from(meter.window.as_micros());
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

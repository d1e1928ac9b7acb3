//! Windows: spans of time, aligned to the epoch, in which a counter counts.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::rules::Limit;

/// The length of a counter's windows; each is the half-open span `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    secs: u64,
}

impl Window {
    /// Windows of that many seconds; 0 is taken as 1.
    pub const fn from_secs(secs: u64) -> Self {
        Self { secs: if secs == 0 { 1 } else { secs } }
    }

    /// The windows of a limit.
    pub fn of(limit: &Limit) -> Self {
        Self::from_secs(limit.window_secs())
    }

    /// The length in microseconds.
    pub const fn as_micros(self) -> u64 {
        self.secs.saturating_mul(1_000_000)
    }

    /// The length in seconds, at least 1.
    pub const fn as_secs(self) -> u64 {
        self.secs
    }

    /// The second in which the window around `now` starts.
    pub const fn start(self, now: Timestamp) -> u64 {
        now.as_secs() - now.as_secs() % self.secs
    }

    /// The second in which the window around `now` ends.
    pub const fn end(self, now: Timestamp) -> u64 {
        self.start(now).saturating_add(self.secs)
    }

    /// The time until the window around `now` ends.
    pub const fn left(self, now: Timestamp) -> Duration {
        Timestamp::from_secs(self.end(now)).since(now)
    }
}

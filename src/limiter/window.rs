//! Windows: spans of time, aligned to the epoch, in which a counter counts.

use crate::clock::Timestamp;

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

    /// Whole seconds until the window around `now` ends, rounded up: 1 to its length.
    pub const fn secs_left(self, now: Timestamp) -> u64 {
        self.secs - now.as_secs() % self.secs
    }
}

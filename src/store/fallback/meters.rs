//! What asking the store costs: how long decisions wait for it, and what it fails to say.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::{Counts, StoreError};
use crate::telemetry::{Histogram, Observed, Scale};

/// The kinds of errors, in the order of their counters.
const KINDS: [&str; 5] = ["unavailable", "broken", "timeout", "refused", "full"];

/// Counts waits and errors of one worker.
#[derive(Debug)]
pub struct Waits {
    pub(super) durations: Histogram,
    errors: [AtomicU64; KINDS.len()],
}

impl Default for Waits {
    fn default() -> Self {
        Self { durations: Histogram::new(Scale::seconds()), errors: Default::default() }
    }
}

impl Waits {
    /// How long decisions waited, those only for which the answer was not at hand.
    pub fn durations(&self) -> Observed {
        self.durations.read()
    }

    /// How many operations the store did not answer, by the kind of the error.
    pub fn errors(&self) -> [(&'static str, u64); KINDS.len()] {
        std::array::from_fn(|kind| (KINDS[kind], self.errors[kind].load(Ordering::Relaxed)))
    }

    /// Counts the errors among these answers.
    pub(super) fn record_errors(&self, counts: &Counts) {
        for error in counts.iter().filter_map(|count| count.as_ref().err()) {
            let kind = match error {
                StoreError::Unavailable(_) => 0,
                StoreError::Broken(_) => 1,
                StoreError::Timeout(_) => 2,
                StoreError::Refused(_) => 3,
                StoreError::Full(_) => 4,
            };
            self.errors[kind].fetch_add(1, Ordering::Relaxed);
        }
    }
}

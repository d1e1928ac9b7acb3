//! A number that only grows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter that stays at its maximum instead of starting over.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        if n > 0 && self.0.fetch_add(n, Relaxed).checked_add(n).is_none() {
            self.0.store(u64::MAX, Relaxed);
        }
    }

    /// For a gauge.
    pub(super) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

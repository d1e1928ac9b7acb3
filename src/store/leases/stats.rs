//! What leases did, in figures.

use std::sync::atomic::Ordering::Relaxed;

use super::cells::AtomicU64;
use crate::telemetry::LeaseStats;

/// A number that grows.
#[derive(Debug, Default)]
pub(super) struct Total(AtomicU64);

impl Total {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) given_back: Total,
    pub(super) lost: Total,
    taken: Total,
    granted: Total,
    refused: Total,
    unknown: Total,
}

impl Figures {
    pub(super) fn granted(&self, hits: u64) {
        self.granted.add(1);
        self.taken.add(hits);
    }

    pub(super) fn refused(&self) {
        self.refused.add(1);
    }

    pub(super) fn unknown(&self, hits: u64) {
        self.unknown.add(1);
        self.lost.add(hits);
    }

    pub(super) fn read(&self) -> LeaseStats {
        LeaseStats {
            taken: self.taken.get(),
            given_back: self.given_back.get(),
            lost: self.lost.get(),
            granted: self.granted.get(),
            refused: self.refused.get(),
            unknown: self.unknown.get(),
            ..LeaseStats::default()
        }
    }
}

//! What leases did, in figures.

use std::sync::atomic::Ordering::Relaxed;

use super::cells::AtomicU64;

/// Figures for metrics; all but the first two since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeasesStats {
    /// Counters of which something can be spent now.
    pub leases: u64,
    /// Hits that can be spent now.
    pub unspent: u64,
    /// Hits taken from the store.
    pub taken: u64,
    /// Hits spent here.
    pub spent: u64,
    /// Hits given back to the store.
    pub given_back: u64,
    /// Hits that were neither, as nobody knows what became of a call.
    pub lost: u64,
    /// Blocks that the store has granted.
    pub granted: u64,
    /// Blocks that did not fit.
    pub refused: u64,
    /// Blocks of which nobody knows.
    pub unknown: u64,
}

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

    pub(super) fn read(&self) -> LeasesStats {
        LeasesStats {
            taken: self.taken.get(),
            given_back: self.given_back.get(),
            lost: self.lost.get(),
            granted: self.granted.get(),
            refused: self.refused.get(),
            unknown: self.unknown.get(),
            ..LeasesStats::default()
        }
    }
}

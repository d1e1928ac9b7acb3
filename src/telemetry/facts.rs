//! Facts that other rooms count for themselves, and how they read as metrics.

use std::ops::AddAssign;
use std::sync::Arc;

use super::families as f;
use super::metric::Snapshot;
use super::{Page, own};

/// Connections of a pool, as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Open now.
    pub active: u64,
    /// Opened since the start.
    pub opened: u64,
}

impl PoolStats {
    /// Adds them under the name of the pool: `redis_pool`, `redis_per_second_pool`.
    pub fn read(&self, pool: &str, snapshot: &mut Snapshot) {
        let pool: Arc<str> = Arc::from(pool);
        snapshot.add_part(&f::POOL_ACTIVE, Arc::clone(&pool), self.active);
        snapshot.add_part(&f::POOL_TOTAL, Arc::clone(&pool), self.opened);
        snapshot.add_part(&f::POOL_CLOSED, pool, self.opened.saturating_sub(self.active));
    }
}

/// Reading of files, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadStats {
    /// Attempts.
    pub attempts: u64,
    /// Those that failed.
    pub failures: u64,
    /// Files that the last good one read.
    pub files: u64,
}

impl LoadStats {
    /// Adds them under the name of what is read: `runtime` for rules, `certs`.
    pub fn read(&self, what: &str, snapshot: &mut Snapshot) {
        let what: Arc<str> = Arc::from(what);
        snapshot.add_part(&f::LOAD_ATTEMPTS, Arc::clone(&what), self.attempts);
        snapshot.add_part(&f::LOAD_FAILURES, Arc::clone(&what), self.failures);
        snapshot.add_part(&f::LOAD_VALUES, what, self.files);
    }
}

/// The refusal cache, as of now; all but `entries` since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Entries held.
    pub entries: u64,
    /// Look-ups that found something.
    pub hits: u64,
    /// Look-ups that found nothing.
    pub misses: u64,
    /// Look-ups.
    pub lookups: u64,
    /// Entries whose time was over.
    pub expired: u64,
    /// Entries that made room for others.
    pub evicted: u64,
    /// Entries that were written again.
    pub overwritten: u64,
}

impl CacheStats {
    /// Adds them.
    pub fn read(&self, snapshot: &mut Snapshot) {
        snapshot.add(&f::CACHE_ENTRIES, self.entries);
        snapshot.add(&f::CACHE_HITS, self.hits);
        snapshot.add(&f::CACHE_MISSES, self.misses);
        snapshot.add(&f::CACHE_LOOKUPS, self.lookups);
        snapshot.add(&f::CACHE_EXPIRED, self.expired);
        snapshot.add(&f::CACHE_EVICTED, self.evicted);
        snapshot.add(&f::CACHE_OVERWRITTEN, self.overwritten);
    }
}

/// Blocks of hits that were taken from the store; all but the first two since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseStats {
    /// Counters of which something can be spent now.
    pub leases: u64,
    /// Hits that can be spent now.
    pub unspent: u64,
    /// Hits taken.
    pub taken: u64,
    /// Hits spent from blocks.
    pub spent: u64,
    /// Hits given back.
    pub given_back: u64,
    /// Hits of calls whose outcome nobody knows.
    pub lost: u64,
    /// Blocks that were granted.
    pub granted: u64,
    /// Blocks that did not fit.
    pub refused: u64,
    /// Blocks of which nobody knows.
    pub unknown: u64,
}

impl LeaseStats {
    /// Adds them to the page.
    pub fn collect(&self, page: &mut Page) {
        for (family, value) in [
            (&own::LEASES, self.leases),
            (&own::LEASE_UNSPENT, self.unspent),
            (&own::LEASE_TAKEN, self.taken),
            (&own::LEASE_SPENT, self.spent),
            (&own::LEASE_GIVEN_BACK, self.given_back),
            (&own::LEASE_LOST, self.lost),
        ] {
            page.sample(family, &[], value as f64);
        }
        for (outcome, value) in
            [("granted", self.granted), ("refused", self.refused), ("unknown", self.unknown)]
        {
            page.sample(&own::LEASE_BLOCKS, &[outcome], value as f64);
        }
    }
}

/// What was asked of memcached since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemcacheStats {
    /// Reads that were answered.
    pub reads: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Increments of counters that were there.
    pub increments: u64,
    /// Increments of counters that were not.
    pub increment_misses: u64,
    /// Increments that failed.
    pub increment_errors: u64,
    /// Counters begun.
    pub adds: u64,
    /// Counters that another one had begun by then.
    pub adds_not_stored: u64,
    /// Counters whose begin failed.
    pub add_errors: u64,
    /// Keys asked for.
    pub keys_requested: u64,
    /// Keys that were there.
    pub keys_found: u64,
}

impl AddAssign for MemcacheStats {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.read_errors += other.read_errors;
        self.increments += other.increments;
        self.increment_misses += other.increment_misses;
        self.increment_errors += other.increment_errors;
        self.adds += other.adds;
        self.adds_not_stored += other.adds_not_stored;
        self.add_errors += other.add_errors;
        self.keys_requested += other.keys_requested;
        self.keys_found += other.keys_found;
    }
}

impl MemcacheStats {
    /// Adds them.
    pub fn read(&self, snapshot: &mut Snapshot) {
        for (metric, code, value) in [
            (&f::MEMCACHE_READS, "success", self.reads),
            (&f::MEMCACHE_READS, "error", self.read_errors),
            (&f::MEMCACHE_INCREMENTS, "success", self.increments),
            (&f::MEMCACHE_INCREMENTS, "miss", self.increment_misses),
            (&f::MEMCACHE_INCREMENTS, "error", self.increment_errors),
            (&f::MEMCACHE_ADDS, "success", self.adds),
            (&f::MEMCACHE_ADDS, "not_stored", self.adds_not_stored),
            (&f::MEMCACHE_ADDS, "error", self.add_errors),
        ] {
            snapshot.add_part(metric, Arc::from(code), value);
        }
        snapshot.add(&f::MEMCACHE_KEYS_REQUESTED, self.keys_requested);
        snapshot.add(&f::MEMCACHE_KEYS_FOUND, self.keys_found);
    }
}

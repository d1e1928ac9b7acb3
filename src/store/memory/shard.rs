//! One locked table of counters, and the fingerprints that stand for their keys.

use std::hash::Hasher;

use hashbrown::HashTable;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::clock::Timestamp;
use crate::limiter::{Meter, State};
use crate::rules::Algorithm;

/// A part of the counters.
#[derive(Debug, Default)]
pub(super) struct Shard {
    counters: HashTable<Counter>,
    /// The last moment at which expired counters left. Time does not go back behind it
    /// here, or a forgotten counter could be spent once more.
    swept: Timestamp,
}

/// A counter that is held.
#[derive(Debug)]
pub(super) struct Counter {
    fingerprint: Fingerprint,
    /// What it has counted.
    pub(super) state: State,
    /// The second from which it may be forgotten.
    expires: u64,
}

/// Stands for a counter key, an algorithm and a window length.
///
/// Two keys of one fingerprint would share a counter. 128 bits of a keyed hash make
/// that no concern: a million counters hold such a pair with a chance of 10^-27, and
/// nobody can search for one without the hash keys, which are random and stay in the
/// process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Chooses the shard.
    pub(super) shard: u64,
    hash: u64,
}

impl Fingerprint {
    /// Algorithm and window follow the key in a fixed number of bytes, so no two of them
    /// write the same bytes.
    pub(super) fn of(key: &[u8], meter: &Meter, hash_keys: (u64, u64)) -> Self {
        let mut hasher = SipHasher13::new_with_keys(hash_keys.0, hash_keys.1);
        hasher.write(key);
        hasher.write_u8(match meter.algorithm {
            Algorithm::FixedWindow => 0,
            Algorithm::SlidingWindow => 1,
            Algorithm::TokenBucket { .. } => 2,
        });
        hasher.write_u64(meter.window.as_secs());
        let hash = hasher.finish128();
        Self { shard: hash.h1, hash: hash.h2 }
    }
}

impl Shard {
    /// The moment here when it is `now` elsewhere.
    pub(super) fn now(&self, now: Timestamp) -> Timestamp {
        now.max(self.swept)
    }

    /// A counter, if it is held.
    pub(super) fn find(&self, fingerprint: Fingerprint) -> Option<&Counter> {
        self.counters.find(fingerprint.hash, |counter| counter.fingerprint == fingerprint)
    }

    /// A counter to count with, if it is held.
    pub(super) fn find_mut(&mut self, fingerprint: Fingerprint) -> Option<&mut Counter> {
        self.counters.find_mut(fingerprint.hash, |counter| counter.fingerprint == fingerprint)
    }

    /// Holds one more counter, which was not held.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint, meter: &Meter, state: State) {
        let counter = Counter { fingerprint, state, expires: meter.expires(state) };
        self.counters.insert_unique(fingerprint.hash, counter, Counter::hash);
    }

    /// Whether a sweep may find something: counters expire on whole seconds. Within one, a
    /// flood of new keys does not get to walk the shard each time.
    pub(super) fn is_worth_sweeping(&self, now: Timestamp) -> bool {
        self.swept.as_secs() < now.as_secs()
    }

    /// Drops expired counters and tells how many they were.
    pub(super) fn sweep(&mut self, now: Timestamp) -> usize {
        let before = self.counters.len();
        self.swept = self.swept.max(now);
        self.counters.retain(|counter| counter.expires > now.as_secs());
        let kept = self.counters.len();
        // After a flood the table gives its memory back.
        if kept < self.counters.capacity() / 8 {
            self.counters.shrink_to(kept * 2, Counter::hash);
        }
        before - kept
    }
}

impl Counter {
    /// Takes a new state, which `meter` has counted.
    pub(super) fn set(&mut self, meter: &Meter, state: State) {
        self.state = state;
        self.expires = meter.expires(state);
    }

    fn hash(&self) -> u64 {
        self.fingerprint.hash
    }
}

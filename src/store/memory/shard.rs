//! One locked table of counters, and the fingerprints that stand for their keys.

use std::hash::Hasher;
use std::mem;

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

/// A counter that is held: 40 bytes.
#[derive(Debug)]
pub(super) struct Counter {
    hash: u64,
    tag: u32,
    /// The second since the epoch from which it may be forgotten, or [`NEVER`].
    expires: u32,
    /// What it has counted.
    pub(super) state: State,
}

/// A table that is not needed any more.
pub(super) struct Emptied {
    _table: HashTable<Counter>,
}

/// Stands for every second that 32 bits do not hold, from the year 2106 on. Who would
/// expire then is held for good: a counter may be forgotten late, but never early.
const NEVER: u32 = u32::MAX;

/// A table is given back when less than one in so many places of it is in use.
const WORTH_KEEPING: usize = 8;

/// Stands for a counter key, an algorithm and a window length.
///
/// Two keys of one fingerprint would share a counter. It is taken from 128 bits of a keyed
/// hash: 96 of them are kept with the counter, and the shard it lies in stands for 6 to 20
/// more. That makes it no concern: ten million counters hold such a pair with a chance of
/// 10^-19, and nobody can search for one without the hash keys, which are random and stay
/// in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// The index of the shard.
    pub(super) shard: usize,
    tag: u32,
    hash: u64,
}

impl Fingerprint {
    /// Algorithm and window follow the key in a fixed number of bytes, so no two of them
    /// write the same bytes. The number of shards is a power of two.
    pub(super) fn of(key: &[u8], meter: &Meter, (keys, shards): ((u64, u64), usize)) -> Self {
        let mut hasher = SipHasher13::new_with_keys(keys.0, keys.1);
        hasher.write(key);
        hasher.write_u8(match meter.algorithm {
            Algorithm::FixedWindow => 0,
            Algorithm::SlidingWindow => 1,
            Algorithm::TokenBucket { .. } => 2,
        });
        hasher.write_u64(meter.window.as_secs());
        let hash = hasher.finish128();
        // The shard takes lower bits than the tag does, so none counts twice.
        Self { shard: hash.h1 as usize & (shards - 1), tag: (hash.h1 >> 32) as u32, hash: hash.h2 }
    }
}

impl Shard {
    /// The moment here when it is `now` elsewhere.
    pub(super) fn now(&self, now: Timestamp) -> Timestamp {
        now.max(self.swept)
    }

    /// A counter, if it is held.
    pub(super) fn find(&self, fingerprint: Fingerprint) -> Option<&Counter> {
        self.counters.find(fingerprint.hash, |counter| counter.is(fingerprint))
    }

    /// A counter to count with, if it is held.
    pub(super) fn find_mut(&mut self, fingerprint: Fingerprint) -> Option<&mut Counter> {
        self.counters.find_mut(fingerprint.hash, |counter| counter.is(fingerprint))
    }

    /// Holds one more counter, which was not held.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint, meter: &Meter, state: State) {
        let Fingerprint { hash, tag, .. } = fingerprint;
        let counter = Counter { hash, tag, expires: expiry(meter, state), state };
        self.counters.insert_unique(hash, counter, Counter::hash);
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
        self.counters.retain(|counter| !counter.is_expired(now.as_secs()));
        before - self.counters.len()
    }

    /// Moves into a smaller table after a flood. The one before is to be dropped when the
    /// lock is gone: to give memory back to the system may take milliseconds.
    pub(super) fn shrink(&mut self) -> Option<Emptied> {
        let kept = self.counters.len();
        if kept >= self.counters.capacity().div_ceil(WORTH_KEEPING) {
            return None;
        }
        let smaller = HashTable::with_capacity(kept * 2);
        let mut before = mem::replace(&mut self.counters, smaller);
        for counter in before.drain() {
            self.counters.insert_unique(counter.hash, counter, Counter::hash);
        }
        Some(Emptied { _table: before })
    }
}

impl Counter {
    /// Takes a new state, which `meter` has counted.
    pub(super) fn set(&mut self, meter: &Meter, state: State) {
        self.state = state;
        self.expires = expiry(meter, state);
    }

    fn is(&self, fingerprint: Fingerprint) -> bool {
        (self.hash, self.tag) == (fingerprint.hash, fingerprint.tag)
    }

    fn hash(&self) -> u64 {
        self.hash
    }

    fn is_expired(&self, secs: u64) -> bool {
        self.expires != NEVER && u64::from(self.expires) <= secs
    }
}

fn expiry(meter: &Meter, state: State) -> u32 {
    u32::try_from(meter.expires(state)).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::{Refused, Window};

    const METER: Meter = Meter {
        algorithm: Algorithm::FixedWindow,
        rate: 5,
        window: Window::from_secs(60),
        refused: Refused::Spend,
    };
    /// What a counter may take at most, whatever its shard holds.
    const MAX_BYTES: usize = 94;

    fn fingerprint(number: u64) -> Fingerprint {
        Fingerprint::of(&number.to_le_bytes(), &METER, ((1, 2), 1))
    }

    fn filled(counters: u64) -> Shard {
        let mut shard = Shard::default();
        (0..counters).for_each(|at| shard.insert(fingerprint(at), &METER, State::default()));
        shard
    }

    #[test]
    fn a_counter_takes_forty_bytes_and_a_table_less_than_a_hundred_for_each() {
        assert_eq!(size_of::<Counter>(), 40);
        // The most is right after a table was doubled.
        for counters in [224, 225, 448, 449, 610, 896, 897, 1_000, 1_023, 1_792, 1_793] {
            let bytes = filled(counters).counters.allocation_size();
            assert!(bytes <= MAX_BYTES * counters as usize, "{counters}: {bytes}");
        }
    }

    #[test]
    fn an_emptied_table_is_given_back() {
        let mut shard = filled(1_000);
        let before = shard.counters.allocation_size();
        let later = State { at: 600, ..State::default() };
        (1_000..1_010).for_each(|at| shard.insert(fingerprint(at), &METER, later));
        assert!(shard.shrink().is_none());
        assert_eq!(shard.sweep(Timestamp::from_secs(60)), 1_000);
        assert!(shard.shrink().is_some());
        assert!(shard.counters.allocation_size() * 20 < before);
        assert!((1_000..1_010).all(|at| shard.find(fingerprint(at)).is_some()));
        assert_eq!(shard.sweep(Timestamp::from_secs(660)), 10);
        assert!(shard.shrink().is_some());
        assert_eq!(shard.counters.allocation_size(), 0);
    }

    #[test]
    fn what_differs_in_any_part_is_another_counter() {
        let name = Fingerprint::of(b"a", &METER, ((1, 2), 64));
        let hour = Meter { window: Window::from_secs(3600), ..METER };
        let sliding = Meter { algorithm: Algorithm::SlidingWindow, ..METER };
        assert_eq!(name, Fingerprint::of(b"a", &METER, ((1, 2), 64)));
        for other in [
            Fingerprint::of(b"b", &METER, ((1, 2), 64)),
            Fingerprint::of(b"a", &hour, ((1, 2), 64)),
            Fingerprint::of(b"a", &sliding, ((1, 2), 64)),
            Fingerprint::of(b"a", &METER, ((1, 3), 64)),
        ] {
            assert_ne!(name, other);
        }
    }
}

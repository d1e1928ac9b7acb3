//! Counters in this process: exact, bounded, and lost when the process ends.
//!
//! A counter is a small entry of fixed size in one of many locked tables; its key is
//! kept as a fingerprint only, so counting allocates nothing once a counter exists.
//! Expired counters leave when [`MemoryStore::sweep`] is called. What an operation
//! does to a state is `limiter::fixed_window`'s business, not this file's.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashTable;
use parking_lot::Mutex;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::{Counts, Store, StoreError};
use crate::clock::Timestamp;
use crate::limiter::{Action, Batch, Count, Meter, Operation, State, Window};

const SHARDS: usize = 64;
/// Shards visited by one sweep; four sweeps visit all.
const SHARDS_PER_SWEEP: usize = 16;

/// What a memory store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// The largest number of counters held at once; one takes 50 to 100 bytes.
    pub max_counters: usize,
}

impl Default for MemoryConfig {
    /// One million counters.
    fn default() -> Self {
        Self { max_counters: 1_000_000 }
    }
}

/// Counters in this process.
///
/// It never admits more than a limit: operations on one counter run one after the
/// other, a counter is forgotten only after its window has ended, and a clock that
/// steps back afterwards does not get the window back, neither an ended one nor one
/// that was forgotten.
///
/// It holds [`MemoryConfig::max_counters`] at most. At that number a counter that
/// would be new is answered with [`StoreError::Full`]; those held go on counting
/// exactly, and expired ones make room. A counter exists from its first hit on: a look
/// and a give-back find zero and leave nothing behind.
#[derive(Debug)]
pub struct MemoryStore {
    shards: Box<[Padded]>,
    hash_keys: (u64, u64),
    max_counters: usize,
    held: AtomicUsize,
    next_swept: AtomicUsize,
}

/// A shard on cache lines of its own, so that locks do not slow their neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

#[derive(Debug, Default)]
struct Shard {
    counters: HashTable<Counter>,
    /// The last moment at which expired counters left. Time does not go back behind it
    /// here, or a forgotten counter could be spent once more.
    swept: Timestamp,
}

#[derive(Debug)]
struct Counter {
    fingerprint: Fingerprint,
    meter: Meter,
    state: State,
}

/// Stands for a counter key and a window length.
///
/// Two keys of one fingerprint would share a counter. 128 bits of a keyed hash make
/// that no concern: a million counters hold such a pair with a chance of 10^-27, and
/// nobody can search for one without the hash keys, which are random and stay in the
/// process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    shard: u64,
    hash: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(config: MemoryConfig) -> Self {
        let random = RandomState::new();
        Self {
            shards: (0..SHARDS).map(|_| Padded::default()).collect(),
            hash_keys: (random.hash_one(0), random.hash_one(1)),
            max_counters: config.max_counters,
            held: AtomicUsize::new(0),
            next_swept: AtomicUsize::new(0),
        }
    }

    /// How many counters are held.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Drops the expired counters of the next few shards and tells how many they were.
    /// Called once a second, it visits every counter each four seconds.
    pub fn sweep(&self, now: Timestamp) -> usize {
        let first = self.next_swept.fetch_add(SHARDS_PER_SWEEP, Ordering::Relaxed);
        let shards = first..first.wrapping_add(SHARDS_PER_SWEEP);
        shards.map(|at| self.sweep_shard(&mut self.shards[at % SHARDS].0.lock(), now)).sum()
    }

    fn sweep_shard(&self, shard: &mut Shard, now: Timestamp) -> usize {
        let dropped = shard.sweep(now);
        self.held.fetch_sub(dropped, Ordering::Relaxed);
        dropped
    }

    fn apply_one(
        &self,
        key: &[u8],
        operation: &Operation,
        now: Timestamp,
    ) -> Result<Count, StoreError> {
        let Operation { meter, action, .. } = *operation;
        let window = meter.window;
        let fingerprint = self.fingerprint(key, window);
        let mut shard = self.shards[fingerprint.shard as usize % SHARDS].0.lock();
        let now = now.max(shard.swept);
        if let Some(state) = shard.state(fingerprint) {
            let step = meter.step(*state, action, now);
            *state = step.state;
            return Ok(meter.count(&step, action, now));
        }
        let step = meter.step(State::default(), action, now);
        let count = meter.count(&step, action, now);
        if matches!(action, Action::Spend(0) | Action::GiveBack(_)) {
            return Ok(count);
        }
        self.reserve(&mut shard, now)?;
        shard.insert(Counter { fingerprint, meter, state: step.state });
        Ok(count)
    }

    /// Takes room for one more counter.
    fn reserve(&self, shard: &mut Shard, now: Timestamp) -> Result<(), StoreError> {
        if self.take_room() {
            return Ok(());
        }
        // Windows end on whole seconds: within one, a second sweep would find nothing, and
        // a flood of new keys does not get to walk the shard each time.
        if shard.swept.as_secs() < now.as_secs() {
            self.sweep_shard(shard, now);
            if self.take_room() {
                return Ok(());
            }
        }
        Err(StoreError::Full(self.max_counters))
    }

    fn take_room(&self) -> bool {
        let more = |held| (held < self.max_counters).then_some(held + 1);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// The window follows the key in a fixed number of bytes, so no two pairs write the
    /// same bytes.
    fn fingerprint(&self, key: &[u8], window: Window) -> Fingerprint {
        let mut hasher = SipHasher13::new_with_keys(self.hash_keys.0, self.hash_keys.1);
        hasher.write(key);
        hasher.write_u64(window.as_secs());
        let hash = hasher.finish128();
        Fingerprint { shard: hash.h1, hash: hash.h2 }
    }
}

impl Shard {
    fn state(&mut self, fingerprint: Fingerprint) -> Option<&mut State> {
        let same = |counter: &Counter| counter.fingerprint == fingerprint;
        self.counters.find_mut(fingerprint.hash, same).map(|counter| &mut counter.state)
    }

    fn insert(&mut self, counter: Counter) {
        self.counters.insert_unique(counter.fingerprint.hash, counter, Counter::hash);
    }

    fn sweep(&mut self, now: Timestamp) -> usize {
        let before = self.counters.len();
        self.swept = self.swept.max(now);
        self.counters.retain(|counter| counter.meter.expires(counter.state) > now.as_secs());
        let kept = self.counters.len();
        // After a flood the table gives its memory back.
        if kept < self.counters.capacity() / 8 {
            self.counters.shrink_to(kept * 2, Counter::hash);
        }
        before - kept
    }
}

impl Counter {
    fn hash(&self) -> u64 {
        self.fingerprint.hash
    }
}

impl Store for MemoryStore {
    async fn apply(&self, batch: &Batch) -> Counts {
        let one = |operation| self.apply_one(batch.key(operation), operation, batch.now);
        batch.operations().iter().map(one).collect()
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

//! Counters in this process: exact, bounded, and lost when the process ends.
//!
//! A counter is a small entry of fixed size in one of many locked tables; its key is
//! kept as a fingerprint only, so counting allocates nothing once a counter exists.
//! There are so many tables that each stays small, however many counters there are: to
//! grow, sweep or shrink one takes microseconds, which is the longest that anybody waits.
//! Expired counters leave when [`MemoryStore::sweep`] is called. What an operation
//! does to a state is [`Meter::step`](crate::limiter::Meter::step)'s business, not this
//! file's.

mod set;
mod shard;

use std::hash::{BuildHasher, RandomState};
use std::iter;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use shard::{Fingerprint, Shard};

use super::{Counts, Store, StoreError};
use crate::clock::Timestamp;
use crate::limiter::{Action, Batch, Count, Meter, Operation, Refused, State, Step};

/// How many counters a shard of a full store has, at most on average.
const COUNTERS_PER_SHARD: usize = 1024;
/// Enough for many hands.
const MIN_SHARDS: usize = 64;
/// As many as a billion counters need.
const MAX_SHARDS: usize = 1 << 20;
/// Shards visited by one sweep: some 16 000 counters, a fraction of a millisecond.
const SHARDS_PER_SWEEP: usize = 16;

/// What a memory store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// The largest number of counters held at once; one takes 50 to 95 bytes.
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
/// would be new is answered with [`StoreError::Full`], and so is a whole set that needs
/// one; those held go on counting exactly, and expired ones make room. A counter exists
/// from its first hit on: a look, a refused hit that is spared and a give-back find zero
/// and leave nothing behind.
#[derive(Debug)]
pub struct MemoryStore {
    /// A power of two of them.
    shards: Box<[Padded]>,
    hash_keys: (u64, u64),
    max_counters: usize,
    held: AtomicUsize,
    next_swept: AtomicUsize,
}

/// A shard on a cache line of its own, so that its lock does not slow its neighbours.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded(Mutex<Shard>);

impl MemoryStore {
    /// An empty store.
    pub fn new(config: MemoryConfig) -> Self {
        let random = RandomState::new();
        let shards = config.max_counters / COUNTERS_PER_SHARD;
        let shards = shards.clamp(MIN_SHARDS, MAX_SHARDS).next_power_of_two();
        Self {
            shards: (0..shards).map(|_| Padded::default()).collect(),
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

    /// Drops the expired counters of the next few shards, gives the memory back that they
    /// took, and tells how many they were. No lock is held for longer than it takes to walk
    /// one shard. The system may take a millisecond for its part, which no decision waits
    /// for if this is called on a thread of its own.
    pub fn sweep(&self, now: Timestamp) -> usize {
        let first = self.next_swept.fetch_add(SHARDS_PER_SWEEP, Ordering::Relaxed);
        let visit = |at| {
            let mut shard = self.shard(first.wrapping_add(at)).lock();
            let dropped = self.sweep_shard(&mut shard, now);
            let emptied = shard.shrink();
            drop(shard);
            drop(emptied);
            dropped
        };
        (0..SHARDS_PER_SWEEP).map(visit).sum()
    }

    /// How many sweeps visit every counter once.
    pub fn sweeps(&self) -> usize {
        self.shards.len() / SHARDS_PER_SWEEP
    }

    fn shard(&self, at: usize) -> &Mutex<Shard> {
        &self.shards[at & (self.shards.len() - 1)].0
    }

    fn fingerprint(&self, key: &[u8], meter: &Meter) -> Fingerprint {
        Fingerprint::of(key, meter, (self.hash_keys, self.shards.len()))
    }

    fn sweep_shard(&self, shard: &mut Shard, now: Timestamp) -> usize {
        let dropped = shard.sweep(now);
        self.held.fetch_sub(dropped, Ordering::Relaxed);
        dropped
    }

    /// Applies a set of one operation.
    fn apply_one(&self, batch: &Batch, operation: &Operation) -> Result<Count, StoreError> {
        let Operation { meter, action, .. } = *operation;
        let fingerprint = self.fingerprint(batch.key(operation), &meter);
        let mut shard = self.shard(fingerprint.shard).lock();
        let now = shard.now(batch.now);
        if let Some(counter) = shard.find_mut(fingerprint) {
            let step = meter.step(counter.state, action, now);
            counter.set(&meter, step.state);
            return Ok(meter.count(&step, action, now));
        }
        let step = meter.step(State::default(), action, now);
        if begins(action, &step) {
            self.reserve(&mut shard, now)?;
            shard.insert(fingerprint, &meter, step.state);
        }
        Ok(meter.count(&step, action, now))
    }

    /// Has a counter hold at least that many hits, whatever its limit; without room for it,
    /// nothing.
    pub(super) fn raise(&self, (key, meter): (&[u8], &Meter), count: u64, now: Timestamp) {
        let meter = Meter { refused: Refused::Spend, ..*meter };
        let fingerprint = self.fingerprint(key, &meter);
        let mut shard = self.shard(fingerprint.shard).lock();
        let now = shard.now(now);
        let held = shard.find(fingerprint).map(|counter| counter.state);
        let state = held.unwrap_or_default();
        let look = Action::Spend(0);
        let used = meter.count(&meter.step(state, look, now), look, now).after;
        if used >= count {
            return;
        }
        let step = meter.step(state, Action::Spend(count - used), now);
        if let Some(counter) = shard.find_mut(fingerprint) {
            counter.set(&meter, step.state);
        } else if self.reserve(&mut shard, now).is_ok() {
            shard.insert(fingerprint, &meter, step.state);
        }
    }

    /// Applies a batch, here and now.
    pub(super) fn apply_now(&self, batch: &Batch) -> Counts {
        let mut counts = Counts::new();
        for set in batch.sets() {
            match set {
                [operation] => counts.push(self.apply_one(batch, operation)),
                _ => match self.apply_set(batch, set) {
                    Ok(answers) => counts.extend(answers.into_iter().map(Ok)),
                    // Nobody can say which of them had no room.
                    Err(error) => counts.extend(iter::repeat_n(Err(error), set.len())),
                },
            }
        }
        counts
    }

    /// Takes room for one more counter.
    fn reserve(&self, shard: &mut Shard, now: Timestamp) -> Result<(), StoreError> {
        if self.take_room(1) {
            return Ok(());
        }
        if shard.is_worth_sweeping(now) {
            self.sweep_shard(shard, now);
            if self.take_room(1) {
                return Ok(());
            }
        }
        Err(StoreError::Full(self.max_counters))
    }

    /// Takes room for that many counters, or for none.
    fn take_room(&self, counters: usize) -> bool {
        let more =
            |held: usize| held.checked_add(counters).filter(|held| *held <= self.max_counters);
        counters == 0 || self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// Whether a counter exists from this step on.
fn begins(action: Action, step: &Step) -> bool {
    step.spent && matches!(action, Action::Spend(1..))
}

impl Store for MemoryStore {
    async fn apply(&self, batch: &Batch) -> Counts {
        self.apply_now(batch)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

//! Counters in this process: exact, bounded, and lost when the process ends.
//!
//! A counter is a small entry of fixed size in one of many locked tables; its key is
//! kept as a fingerprint only, so counting allocates nothing once a counter exists.
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
/// would be new is answered with [`StoreError::Full`], and so is a whole set that needs
/// one; those held go on counting exactly, and expired ones make room. A counter exists
/// from its first hit on: a look, a refused hit that is spared and a give-back find zero
/// and leave nothing behind.
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

    /// Applies a set of one operation.
    fn apply_one(&self, batch: &Batch, operation: &Operation) -> Result<Count, StoreError> {
        let Operation { meter, action, .. } = *operation;
        let fingerprint = Fingerprint::of(batch.key(operation), &meter, self.hash_keys);
        let mut shard = self.shards[fingerprint.shard as usize % SHARDS].0.lock();
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
        let fingerprint = Fingerprint::of(key, &meter, self.hash_keys);
        let mut shard = self.shards[fingerprint.shard as usize % SHARDS].0.lock();
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

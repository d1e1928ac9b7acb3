//! The table of leases: what this process holds, shared by all who decide in it.
//!
//! Entries live in locked shards; a lock is held for one of them at a time and never while
//! the store is asked. There are [`LeaseConfig::max_leases`] entries at most: a counter that
//! finds no place is counted exactly. Who asks the store for a block stands in `top_up`, who
//! gives back in `give_back`.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hashbrown::HashTable;
use siphasher::sip128::Hasher128;

use super::block::{Block, Moment};
use super::cells::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard};
use super::entry::{Entry, Leaving, Spent, Terms, sparing};
use super::give_back::Return;
use super::stats::Figures;
use super::top_up::{Order, Outcome};
use crate::clock::Timestamp;
use crate::limiter::{Action, Batch, Count, Meter, Operation};
use crate::rules::Algorithm;
use crate::store::HashKeys;
use crate::telemetry::LeaseStats;

const SHARDS: usize = 64;
/// The fewest processes that a limit is divided by: there may be more than one knows of.
const SHARERS_MIN: u32 = 4;

/// How leases are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseConfig {
    /// For how long a block should last, and how soon it is given back when nobody spends it.
    pub period: Duration,
    /// The most counters that may have one, or be about to.
    pub max_leases: usize,
    /// How many processes share the limits, as far as is known.
    pub replicas: u32,
}

impl Default for LeaseConfig {
    /// A second, a hundred thousand, one process.
    fn default() -> Self {
        Self { period: Duration::from_secs(1), max_leases: 100_000, replicas: 1 }
    }
}

/// What this process holds.
#[derive(Debug)]
pub struct LeaseTable {
    pub(super) terms: Terms,
    pub(super) figures: Figures,
    /// What is on its way back to the store.
    pub(super) returns: Mutex<Vec<Return>>,
    /// Who sends it there; the end waits for its turn.
    pub(super) sending: tokio::sync::Mutex<()>,
    shards: Box<[Padded]>,
    hash_keys: HashKeys,
    max_leases: usize,
    entries: AtomicUsize,
    blocks: AtomicU64,
    closed: AtomicBool,
}

/// A shard on cache lines of its own, so that locks do not slow their neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

#[derive(Debug, Default)]
struct Shard {
    entries: HashTable<Entry>,
    /// Hits spent from blocks.
    spent: u64,
}

impl LeaseTable {
    /// An empty table.
    pub fn new(config: LeaseConfig) -> Self {
        Self::keyed(config, HashKeys::default())
    }

    /// The same, that finds its entries by these keys.
    pub fn keyed(config: LeaseConfig, hash_keys: HashKeys) -> Self {
        Self {
            terms: Terms { period: config.period, sharers: sharers(config.replicas).into() },
            figures: Figures::default(),
            returns: Mutex::default(),
            sending: tokio::sync::Mutex::default(),
            shards: (0..SHARDS).map(|_| Padded::default()).collect(),
            hash_keys,
            max_leases: config.max_leases,
            entries: AtomicUsize::new(0),
            blocks: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// From now on so many processes share the limits.
    pub fn share_by(&self, replicas: u32) {
        self.terms.sharers.store(sharers(replicas), Relaxed);
    }

    /// How often [`Leases::tend`](super::Leases::tend) is to be called.
    pub fn tending_interval(&self) -> Duration {
        self.terms.period / 2
    }

    /// Takes no more blocks.
    pub fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// Figures as of `now`.
    pub fn stats(&self, now: Timestamp) -> LeaseStats {
        let mut stats = self.figures.read();
        let moment = Moment::of(now);
        for shard in &self.shards {
            let shard = shard.0.lock();
            stats.spent += shard.spent;
            for unspent in shard.entries.iter().map(|entry| entry.usable(&moment)) {
                stats.leases += u64::from(unspent > 0);
                stats.unspent += unspent;
            }
        }
        stats
    }

    /// Stands for a counter key, an algorithm and a window length: 128 bits of a keyed hash.
    pub(super) fn name(&self, batch: &Batch, operation: &Operation) -> u128 {
        let mut hasher = self.hash_keys.build_hasher();
        hasher.write(batch.key(operation));
        hasher.write_u8(match operation.meter.algorithm {
            Algorithm::FixedWindow => 0,
            Algorithm::SlidingWindow => 1,
            Algorithm::TokenBucket { .. } => 2,
        });
        hasher.write_u64(operation.meter.window.as_secs());
        hasher.finish128().as_u128()
    }

    /// Spends the hits of an operation from a block, if one covers them; and says whether it
    /// is time to ask for another.
    pub(super) fn spend(
        self: &Arc<Self>,
        name: u128,
        (batch, operation): (&Batch, &Operation),
    ) -> (Option<Spent>, Option<Order>) {
        let Action::Spend(hits) = operation.action else { return (None, None) };
        let mut shard = self.shard(name);
        // Read under the lock: no moment is older than one that was acted upon.
        let moment = Moment::of(batch.now);
        let Shard { entries, spent } = &mut *shard;
        let Some(entry) = find(entries, name) else { return (None, None) };
        self.adopt(entry, &operation.meter);
        let found = entry.spend(hits, &moment, &self.terms);
        if found.is_none() {
            return (None, None);
        }
        *spent += hits;
        (found, self.order(entry, (batch, operation), &moment))
    }

    /// Takes hits back that were spent from a block.
    pub(super) fn put_back(&self, name: u128, spent: &Spent, (hits, now): (u64, Timestamp)) {
        let mut shard = self.shard(name);
        let moment = Moment::of(now);
        shard.spent = shard.spent.saturating_sub(hits);
        let entry = find(&mut shard.entries, name);
        if !entry.is_some_and(|entry| entry.put_back(spent, hits, &moment)) {
            self.figures.lost.add(hits);
        }
    }

    /// Learns what the store has answered to an operation, and says whether it is time to ask
    /// for a block.
    pub(super) fn learn(
        self: &Arc<Self>,
        name: u128,
        (batch, operation): (&Batch, &Operation),
        count: &Count,
    ) -> Option<Order> {
        let Action::Spend(hits) = operation.action else { return None };
        let mut shard = self.shard(name);
        let moment = Moment::of(batch.now);
        if find(&mut shard.entries, name).is_none() {
            if !count.admitted || !self.take_room() {
                return None;
            }
            let entry = Entry::new(name, sparing(&operation.meter), &moment);
            shard.entries.insert_unique(hash(name), entry, |entry| hash(entry.name));
        }
        let entry = find(&mut shard.entries, name)?;
        self.adopt(entry, &operation.meter);
        entry.learn(hits, count, &moment, &self.terms);
        self.order(entry, (batch, operation), &moment)
    }

    /// Notes what became of an order.
    pub(super) fn settle(&self, order: &Order, outcome: Outcome) {
        let mut shard = self.shard(order.name);
        let moment = Moment::of(order.sent.now);
        let mut entry = find(&mut shard.entries, order.name);
        if let Some(entry) = &mut entry {
            entry.asking = false;
        }
        match outcome {
            Outcome::Granted(count) => {
                self.figures.granted(order.hits);
                let id = self.blocks.fetch_add(1, Relaxed);
                let block = Block::new((id, order.hits), &count, order.sent);
                match entry.filter(|entry| entry.meter == order.meter && !self.is_closed()) {
                    Some(entry) => {
                        entry.learn(0, &count, &moment, &self.terms);
                        let leaving = entry.add(block);
                        self.give_back_later(entry, &order.meter, leaving);
                    }
                    None => self.return_later(order.key(), &order.meter, block),
                }
            }
            Outcome::Refused(count) => {
                self.figures.refused();
                if let Some(entry) = entry {
                    entry.learn(0, &count, &moment, &self.terms);
                    entry.rest(moment.tick + self.terms.period / 16);
                }
            }
            Outcome::Unknown => {
                self.figures.unknown(order.hits);
                if let Some(entry) = entry {
                    entry.rest(moment.tick + self.terms.period);
                }
            }
        }
    }

    /// Parts with what is not needed, one shard after the other.
    pub(super) fn shards(&self) -> std::ops::Range<usize> {
        0..self.shards.len()
    }

    /// Parts with what is not needed of that shard.
    pub(super) fn sweep(&self, shard: usize, moment: &Moment) {
        let mut shard = self.shards[shard].0.lock();
        let before = shard.entries.len();
        shard.entries.retain(|entry| {
            let leaving = entry.let_go(moment, &self.terms);
            let meter = entry.meter;
            self.give_back_later(entry, &meter, leaving);
            !entry.is_idle(moment, &self.terms)
        });
        let kept = shard.entries.len();
        // After a flood the table gives its memory back.
        if kept < shard.entries.capacity() / 8 {
            shard.entries.shrink_to(kept * 2, |entry| hash(entry.name));
        }
        self.entries.fetch_sub(before - kept, Relaxed);
    }

    /// Parts with everything in that shard.
    pub(super) fn empty(&self, shard: usize) {
        for entry in &mut self.shards[shard].0.lock().entries {
            let (meter, leaving) = (entry.meter, entry.let_go_all());
            self.give_back_later(entry, &meter, leaving);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    fn adopt(&self, entry: &mut Entry, meter: &Meter) {
        let old = entry.meter;
        let leaving = entry.adopt(sparing(meter));
        self.give_back_later(entry, &old, leaving);
    }

    fn order(
        self: &Arc<Self>,
        entry: &mut Entry,
        (batch, operation): (&Batch, &Operation),
        moment: &Moment,
    ) -> Option<Order> {
        let hits = entry.wants(moment, &self.terms).filter(|_| !self.is_closed())?;
        let key = batch.key(operation);
        entry.asking = true;
        entry.key.get_or_insert_with(|| key.into());
        Some(Order::new(Arc::clone(self), (entry.name, entry.meter), (key, hits), *moment))
    }

    fn give_back_later(&self, entry: &Entry, meter: &Meter, leaving: Leaving) {
        let Some(key) = &entry.key else { return };
        leaving.into_iter().for_each(|block| self.return_later(key, meter, block));
    }

    fn return_later(&self, key: &[u8], meter: &Meter, block: Block) {
        // Tokens come back to their bucket by themselves.
        if block.unspent == 0 || matches!(meter.algorithm, Algorithm::TokenBucket { .. }) {
            return;
        }
        let mut returns = self.returns.lock();
        if returns.len() < self.max_leases.saturating_mul(2) {
            returns.push(Return::new(key, *meter, &block));
        } else {
            self.figures.lost.add(block.unspent);
        }
    }

    fn take_room(&self) -> bool {
        let more = |entries: usize| (entries < self.max_leases).then_some(entries + 1);
        self.entries.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    fn shard(&self, name: u128) -> MutexGuard<'_, Shard> {
        self.shards[(name >> 64) as usize % SHARDS].0.lock()
    }
}

fn sharers(replicas: u32) -> u64 {
    replicas.max(SHARERS_MIN).into()
}

fn find(entries: &mut HashTable<Entry>, name: u128) -> Option<&mut Entry> {
    entries.find_mut(hash(name), |entry| entry.name == name)
}

fn hash(name: u128) -> u64 {
    name as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "table_tests.rs"]
mod tests;

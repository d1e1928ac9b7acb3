//! What is remembered: a table of fixed size, a few places for each counter.
//!
//! A place is chosen by the hash of the counter's key; a counter finds a free place there,
//! or takes that of the fact which ends soonest. Forgetting a counter also voids the facts
//! about its places that are still under way: they were asked for before it.

use std::hash::{BuildHasher, Hasher};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use siphasher::sip128::Hasher128;

use super::cells::{AtomicU64, AtomicUsize, Mutex};
use super::refusal;
use crate::clock::Timestamp;
use crate::limiter::{Action, Batch, Count, Meter, Operation, Refused, Source};
use crate::rules::Algorithm;
use crate::store::HashKeys;

/// Places for the counters of one hash.
const PLACES: usize = 4;

/// The smallest table, as the reference has it.
const BYTES_MIN: usize = 512 * 1024;

/// Counters that are known to be exhausted.
#[derive(Debug)]
pub struct Refusals {
    buckets: Box<[Mutex<Bucket>]>,
    hash_keys: HashKeys,
    max_age: Option<Duration>,
    /// Listeners that do not hear.
    deaf: AtomicUsize,
    lookups: AtomicU64,
    hits: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
    overwritten: AtomicU64,
}

/// Figures for metrics, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalsStats {
    /// Facts held now, those that have ended included.
    pub entries: u64,
    /// Operations that were looked for.
    pub lookups: u64,
    /// Those of them that were refused.
    pub hits: u64,
    /// Facts that had ended when they were looked at.
    pub expired: u64,
    /// Facts that gave way to others before they ended.
    pub evicted: u64,
    /// Facts that took the place of an older one about the same counter.
    pub overwritten: u64,
}

/// Hears of what other processes give back, or does not: then the cache rests.
#[derive(Debug)]
pub struct Listener {
    refusals: Arc<Refusals>,
    hears: bool,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    /// Goes up when a counter of this bucket is forgotten.
    epoch: u64,
    facts: [Option<Fact>; PLACES],
}

/// What is known of a counter.
#[derive(Clone, Copy, Debug)]
struct Fact {
    name: u128,
    learnt: Timestamp,
    /// From when on it says nothing.
    ends: Timestamp,
    /// What the counter held: a fixed window holds no less until the fact ends.
    after: u64,
    /// Other algorithms: that many hits, or more, do not fit this meter until then.
    hits: u64,
    meter: Meter,
}

/// A counter, and what had been forgotten of its places when it was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    name: u128,
    epoch: u64,
}

impl Refusals {
    /// An empty table of about `bytes`, at least 512 KiB. Facts end after `max_age` at the
    /// latest; a store that cannot tell what other processes give back needs that.
    pub fn new(bytes: usize, max_age: Option<Duration>) -> Self {
        Self::keyed(bytes, max_age, HashKeys::default())
    }

    /// The same, that finds its facts by these keys.
    pub fn keyed(bytes: usize, max_age: Option<Duration>, hash_keys: HashKeys) -> Self {
        Self::with(bytes.max(BYTES_MIN) / size_of::<Mutex<Bucket>>(), max_age, hash_keys)
    }

    fn with(buckets: usize, max_age: Option<Duration>, hash_keys: HashKeys) -> Self {
        Self {
            buckets: (0..buckets).map(|_| Mutex::default()).collect(),
            hash_keys,
            max_age,
            deaf: AtomicUsize::new(0),
            lookups: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            overwritten: AtomicU64::new(0),
        }
    }

    /// Forgets the counter that a store holds under `key`: the counter key and, of a fixed
    /// window, the second of its start in decimal.
    pub fn forget(&self, key: &[u8]) {
        let mut hasher = self.hash_keys.build_hasher();
        hasher.write(key);
        self.forget_name(hasher.finish128().as_u128());
    }

    /// One who hears of what other processes give back, and does not yet.
    pub fn listener(self: &Arc<Self>) -> Listener {
        self.deaf.fetch_add(1, SeqCst);
        Listener { refusals: Arc::clone(self), hears: false }
    }

    /// Forgets all counters.
    pub fn forget_all(&self) {
        for bucket in &self.buckets {
            let mut bucket = bucket.lock();
            bucket.epoch += 1;
            bucket.facts = [None; PLACES];
        }
    }

    /// Whether it answers and learns: every listener hears.
    pub fn is_active(&self) -> bool {
        self.deaf.load(SeqCst) == 0
    }

    /// Figures as of now.
    pub fn stats(&self) -> RefusalsStats {
        let held = |bucket: &Mutex<Bucket>| bucket.lock().facts.iter().flatten().count() as u64;
        RefusalsStats {
            entries: self.buckets.iter().map(held).sum(),
            lookups: self.lookups.load(Relaxed),
            hits: self.hits.load(Relaxed),
            expired: self.expired.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
            overwritten: self.overwritten.load(Relaxed),
        }
    }

    /// To be taken before the store is asked.
    pub(super) fn ticket(&self, batch: &Batch, operation: &Operation) -> Ticket {
        let mut hasher = self.hash_keys.build_hasher();
        hasher.write(batch.key(operation));
        if operation.meter.algorithm == Algorithm::FixedWindow {
            let mut digits = [0; 20];
            let mut rest = &mut digits[..];
            // Twenty digits hold every number.
            let _ = write!(rest, "{}", operation.meter.window.start(batch.now));
            let left = rest.len();
            hasher.write(&digits[..digits.len() - left]);
        }
        let name = hasher.finish128().as_u128();
        Ticket { name, epoch: self.bucket(name).lock().epoch }
    }

    /// The answer to an operation whose hits are known not to fit.
    pub(super) fn recall(
        &self,
        operation: &Operation,
        ticket: &Ticket,
        now: Timestamp,
    ) -> Option<Count> {
        let Action::Spend(hits) = operation.action else { return None };
        self.lookups.fetch_add(1, Relaxed);
        let mut bucket = self.bucket(ticket.name).lock();
        let place = bucket.place_of(ticket.name)?;
        let fact = place.filter(|fact| fact.holds(&operation.meter, now));
        if fact.is_none() {
            *place = None;
            self.expired.fetch_add(1, Relaxed);
        }
        let count = fact?.refuses(&operation.meter, hits, now)?;
        self.hits.fetch_add(1, Relaxed);
        Some(count)
    }

    /// Remembers what the store has answered at `now`, unless the counter was forgotten
    /// since it was asked.
    pub(super) fn learn(
        &self,
        operation: &Operation,
        ticket: &Ticket,
        (count, now): (&Count, Timestamp),
    ) {
        let Some(mut fact) = Fact::of(operation, ticket, count, now) else { return };
        if let Some(max_age) = self.max_age {
            fact.ends = fact.ends.min(now.plus(max_age));
        }
        let mut bucket = self.bucket(ticket.name).lock();
        if bucket.epoch != ticket.epoch || !self.is_active() {
            return;
        }
        match bucket.put(fact) {
            Some(old) if old.name == fact.name => self.overwritten.fetch_add(1, Relaxed),
            Some(old) if old.ends > now => self.evicted.fetch_add(1, Relaxed),
            _ => 0,
        };
    }

    /// Forgets the counter of an operation.
    pub(super) fn forget_counter(&self, ticket: &Ticket) {
        self.forget_name(ticket.name);
    }

    fn forget_name(&self, name: u128) {
        let mut bucket = self.bucket(name).lock();
        bucket.epoch += 1;
        if let Some(place) = bucket.place_of(name) {
            *place = None;
        }
    }

    fn bucket(&self, name: u128) -> &Mutex<Bucket> {
        &self.buckets[(name as usize) % self.buckets.len()]
    }
}

impl Listener {
    /// Whether from now on it hears everything. If it did not before, what was remembered
    /// then is forgotten.
    pub fn set(&mut self, hears: bool) {
        match (self.hears, hears) {
            (false, true) => {
                self.refusals.forget_all();
                self.refusals.deaf.fetch_sub(1, SeqCst);
            }
            (true, false) => {
                self.refusals.deaf.fetch_add(1, SeqCst);
            }
            _ => {}
        }
        self.hears = hears;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.hears {
            self.refusals.deaf.fetch_sub(1, SeqCst);
        }
    }
}

impl Bucket {
    fn place_of(&mut self, name: u128) -> Option<&mut Option<Fact>> {
        self.facts.iter_mut().find(|place| place.is_some_and(|fact| fact.name == name))
    }

    /// Puts a fact in its own place, a free one, or that of the fact which ends first. Tells
    /// what was there.
    fn put(&mut self, fact: Fact) -> Option<Fact> {
        let own = |place: &Option<Fact>| place.is_some_and(|old| old.name == fact.name);
        let rank = |place: &Option<Fact>| match place {
            _ if own(place) => (0, Timestamp::default()),
            None => (1, Timestamp::default()),
            Some(old) => (2, old.ends),
        };
        let place = self.facts.iter_mut().min_by_key(|place| rank(place))?;
        place.replace(fact)
    }
}

impl Fact {
    /// What a refusal says beyond the moment, if anything. Where refused hits are spent,
    /// sliding windows and buckets change with each of them, which must not be left out.
    fn of(operation: &Operation, ticket: &Ticket, count: &Count, now: Timestamp) -> Option<Self> {
        let Action::Spend(hits) = operation.action else { return None };
        let meter = operation.meter;
        let lasts = match meter.algorithm {
            _ if count.admitted || count.source != Source::Store => return None,
            Algorithm::FixedWindow => meter.window.left(now),
            Algorithm::SlidingWindow | Algorithm::TokenBucket { .. } => match meter.refused {
                Refused::Spend => return None,
                Refused::Spare => count.wait?,
            },
        };
        let (name, after) = (ticket.name, count.after);
        Some(Self { name, learnt: now, ends: now.plus(lasts), after, hits, meter })
    }

    /// Whether it says something to that meter. A sliding window or bucket that is counted
    /// by another meter now may go its own way from here on.
    fn holds(&self, meter: &Meter, now: Timestamp) -> bool {
        let same = meter.algorithm == Algorithm::FixedWindow || self.meter == *meter;
        same && self.learnt <= now && now < self.ends
    }

    /// The answer to hits that do not fit.
    fn refuses(&self, meter: &Meter, hits: u64, now: Timestamp) -> Option<Count> {
        let (refuses, wait) = match meter.algorithm {
            Algorithm::FixedWindow => {
                let most = meter.rate.into();
                // Hits that count even if they do not fit may be left out only where they
                // change nothing any more.
                let counts = meter.refused == Refused::Spend && self.after < most;
                let over = !counts && self.after.saturating_add(hits) > most;
                (over, meter.window.left(now))
            }
            Algorithm::SlidingWindow | Algorithm::TokenBucket { .. } => {
                (hits >= self.hits, self.ends.since(now))
            }
        };
        let fits_ever = hits <= meter.size().into();
        refuses.then(|| refusal(self.after, fits_ever.then_some(wait), now))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "table_tests.rs"]
mod tests;

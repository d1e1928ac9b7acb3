//! Counters by name, where requests may bring names: held up to a cap.
//!
//! Names of rules are held as long as a rule has them. Names that requests bring cost one
//! for every [`BYTES_PER_COST`] bytes begun, and what goes beyond the cap shares one
//! series. At a reload names leave that no rule has and that nobody counted since the
//! reload before, so that changing rules do not fill the memory.
//!
//! The names are spread over many locked parts. So a reload of a hundred thousand rules, or
//! a page of as many names, holds up whoever brings a name for microseconds only.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::counter::Counter;

/// A name costs one for each so many bytes begun: the cap bounds the page, too.
const BYTES_PER_COST: usize = 64;

/// The longest name that a request may give a series; longer ones share one.
pub(super) const MAX_NAME_BYTES: usize = 512;

/// What can be held.
pub(super) trait Counts: Default {
    /// Changes whenever anything was counted.
    fn total(&self) -> u64;
}

/// In how many parts the names are held.
const PARTS: usize = 256;

/// Counters by name.
#[derive(Debug)]
pub(super) struct Capped<C> {
    parts: Box<[RwLock<Part<C>>]>,
    /// Chooses the part of a name.
    hasher: RandomState,
    cap: usize,
    /// What the names of requests cost.
    cost: AtomicUsize,
    /// Reloads so far.
    reloads: AtomicU64,
    /// What had no place.
    overflow: Arc<C>,
    overflowed: Counter,
}

type Part<C> = HashMap<Arc<str>, Slot<C>>;

#[derive(Debug, Default)]
struct Slot<C> {
    counters: Arc<C>,
    /// The last reload whose rules had the name; `None`: a request brought it.
    of_rules: Option<u64>,
    /// The total at the last reload.
    total: u64,
}

impl<C: Counts> Slot<C> {
    /// Whether it stays at this reload. What rules had is held for one reload more, so that
    /// its last counts are sent; after that it is like any other.
    fn stays(&mut self, reload: u64) -> bool {
        self.of_rules = self.of_rules.filter(|last| last + 1 >= reload);
        let before = std::mem::replace(&mut self.total, self.counters.total());
        self.of_rules.is_some() || self.total != before
    }

    /// What it costs under this name: those of rules are free.
    fn cost(&self, name: &str) -> usize {
        if self.of_rules.is_some() { 0 } else { cost(name) }
    }
}

impl<C: Counts> Capped<C> {
    pub(super) fn new(cap: usize) -> Self {
        Self {
            parts: (0..PARTS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            cap,
            cost: AtomicUsize::new(0),
            reloads: AtomicU64::new(0),
            overflow: Arc::default(),
            overflowed: Counter::default(),
        }
    }

    /// The counters of a name that a request brings.
    pub(super) fn of_request(&self, name: &str) -> Arc<C> {
        let part = self.part(name);
        if let Some(slot) = part.read().get(name) {
            return Arc::clone(&slot.counters);
        }
        // Who finds no place need not wait for those who write.
        if name.len() > MAX_NAME_BYTES || !self.has_place(self.cost.load(Ordering::Relaxed), name) {
            return self.overflow();
        }
        let mut part = part.write();
        // Others may have been here in the meantime.
        if let Some(slot) = part.get(name) {
            return Arc::clone(&slot.counters);
        }
        let more = |held| self.has_place(held, name).then(|| held + cost(name));
        if self.cost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return self.overflow();
        }
        Arc::clone(&part.entry(Arc::from(name)).or_default().counters)
    }

    fn part(&self, name: &str) -> &RwLock<Part<C>> {
        &self.parts[self.hasher.hash_one(name) as usize % PARTS]
    }

    fn has_place(&self, held: usize, name: &str) -> bool {
        held + cost(name) <= self.cap
    }

    fn overflow(&self) -> Arc<C> {
        self.overflowed.add(1);
        Arc::clone(&self.overflow)
    }

    /// The counters of the names that rules have from now on, in their order. Names known
    /// from before keep their counts. One reload comes after the other.
    pub(super) fn reload<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<Arc<C>> {
        let reload = self.reloads.fetch_add(1, Ordering::Relaxed) + 1;
        let handles = names.map(|name| self.of_rule(name, reload)).collect();
        for part in &self.parts {
            part.write().retain(|name, slot| {
                let before = slot.cost(name);
                let stays = slot.stays(reload);
                let after = if stays { slot.cost(name) } else { 0 };
                self.cost.fetch_add(after, Ordering::Relaxed);
                self.cost.fetch_sub(before, Ordering::Relaxed);
                stays
            });
        }
        handles
    }

    fn of_rule(&self, name: &str, reload: u64) -> Arc<C> {
        let mut part = self.part(name).write();
        if let Some(slot) = part.get_mut(name) {
            self.cost.fetch_sub(slot.cost(name), Ordering::Relaxed);
            slot.of_rules = Some(reload);
            return Arc::clone(&slot.counters);
        }
        let slot = Slot { of_rules: Some(reload), ..Slot::default() };
        Arc::clone(&part.entry(Arc::from(name)).or_insert(slot).counters)
    }

    /// Every name with its counters, then what had no place, under `overflow`.
    pub(super) fn each(&self, overflow: &str, mut visit: impl FnMut(&Arc<str>, &C)) {
        for part in &self.parts {
            part.read().iter().for_each(|(name, slot)| visit(name, &slot.counters));
        }
        if self.overflowed.get() > 0 {
            visit(&Arc::from(overflow), &self.overflow);
        }
    }

    /// Names held.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.read().len()).sum()
    }

    /// How often something had no place.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.get()
    }
}

fn cost(name: &str) -> usize {
    1 + name.len() / BYTES_PER_COST
}

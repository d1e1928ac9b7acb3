//! Counters by name, where requests may bring names: held up to a cap.
//!
//! Names of rules are held as long as a rule has them. Names that requests bring cost one
//! for every [`BYTES_PER_COST`] bytes begun, and what goes beyond the cap shares one
//! series. At a reload names leave that no rule has and that nobody counted since the
//! reload before, so that changing rules do not fill the memory.

use std::collections::HashMap;
use std::sync::Arc;

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

/// Counters by name.
#[derive(Debug, Default)]
pub(super) struct Capped<C> {
    held: RwLock<Held<C>>,
    cap: usize,
    /// What had no place.
    overflow: Arc<C>,
    overflowed: Counter,
}

#[derive(Debug, Default)]
struct Held<C> {
    slots: HashMap<Arc<str>, Slot<C>>,
    /// What the names of requests cost.
    cost: usize,
    /// Reloads so far.
    reloads: u64,
}

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
}

impl<C: Counts> Capped<C> {
    pub(super) fn new(cap: usize) -> Self {
        Self {
            held: RwLock::new(Held { slots: HashMap::new(), cost: 0, reloads: 0 }),
            cap,
            overflow: Arc::default(),
            overflowed: Counter::default(),
        }
    }

    /// The counters of a name that a request brings.
    pub(super) fn of_request(&self, name: &str) -> Arc<C> {
        let cost = cost(name);
        {
            let held = self.held.read();
            if let Some(slot) = held.slots.get(name) {
                return Arc::clone(&slot.counters);
            }
            if held.cost + cost > self.cap || name.len() > MAX_NAME_BYTES {
                self.overflowed.add(1);
                return Arc::clone(&self.overflow);
            }
        }
        let mut held = self.held.write();
        // Others may have been here in the meantime.
        if let Some(slot) = held.slots.get(name) {
            return Arc::clone(&slot.counters);
        }
        if held.cost + cost > self.cap {
            self.overflowed.add(1);
            return Arc::clone(&self.overflow);
        }
        held.cost += cost;
        Arc::clone(&held.slots.entry(Arc::from(name)).or_default().counters)
    }

    /// The counters of the names that rules have from now on, in their order. Names known
    /// from before keep their counts.
    pub(super) fn reload<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<Arc<C>> {
        let mut held = self.held.write();
        held.reloads += 1;
        let reload = held.reloads;
        let handles = names
            .map(|name| {
                let slot = held.slots.entry(Arc::from(name)).or_default();
                slot.of_rules = Some(reload);
                Arc::clone(&slot.counters)
            })
            .collect();
        held.slots.retain(|_, slot| slot.stays(reload));
        let of_requests = held.slots.iter().filter(|(_, slot)| slot.of_rules.is_none());
        held.cost = of_requests.map(|(name, _)| cost(name)).sum();
        handles
    }

    /// Every name with its counters, then what had no place, under `overflow`.
    pub(super) fn each(&self, overflow: &str, mut visit: impl FnMut(&Arc<str>, &C)) {
        let held = self.held.read();
        held.slots.iter().for_each(|(name, slot)| visit(name, &slot.counters));
        if self.overflowed.get() > 0 {
            visit(&Arc::from(overflow), &self.overflow);
        }
    }

    /// Names held.
    pub(super) fn len(&self) -> usize {
        self.held.read().slots.len()
    }

    /// How often something had no place.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.get()
    }
}

fn cost(name: &str) -> usize {
    1 + name.len() / BYTES_PER_COST
}

//! Leases: blocks of hits that are taken from the store at once and spent here.
//!
//! A limit with `accuracy: leased` that is in demand, and not nearly exhausted, is counted
//! in blocks. A request whose hits a block covers asks nobody. All others are counted
//! exactly, and what the store answers tells whether a block is worth while, and how large:
//! what a period brings, but no more than a part of what is left, so that what other
//! processes miss shrinks as the limit is approached.
//!
//! It cannot admit too much: what it admits has been counted in the store before, and a
//! block ends before that count does ([`block`] has the proofs). A crash, a timeout, a lost
//! answer or a clock that jumps loses hits, which the store has counted and nobody spends.
//! It may refuse too early: while a limit is exhausted in the store, what processes hold of
//! it can be spent by them alone.
//!
//! Of a set that spends all or nothing, what is covered is held here while the store is asked
//! for the rest, and put back if that is refused.

mod block;
mod demand;
mod entry;
mod give_back;
mod stats;
mod table;
#[cfg(test)]
mod threads;
mod top_up;

use std::iter;
use std::sync::Arc;

use smallvec::SmallVec;

pub use table::{LeaseConfig, LeaseTable};

use super::{Abilities, Counts, Store, StoreError};
use crate::cells;
use crate::limiter::{Action, Batch, NewOperation, Operation, Refused, RefusedSets, is_refused};
use crate::rules::{Accuracy, Algorithm};
use entry::Spent;

/// A store from which blocks of hits are taken, where a limit allows it.
#[derive(Debug)]
pub struct Leases<S> {
    /// Who counts.
    pub store: Arc<S>,
    /// What is held; without it every operation goes to the store.
    pub table: Option<Arc<LeaseTable>>,
}

impl<S> Leases<S> {
    /// Spends from `table` what is covered there, and asks `store` for the rest.
    pub fn new(store: S, table: Option<Arc<LeaseTable>>) -> Self {
        Self { store: Arc::new(store), table }
    }
}

impl<S: Store> Store for Leases<S> {
    async fn apply(&self, batch: &Batch) -> Counts {
        let is_leased = |op: &Operation| op.leeway.accuracy == Accuracy::Leased;
        match &self.table {
            Some(table) if batch.operations().iter().any(is_leased) => {
                self.apply_leased(table, batch).await
            }
            _ => self.store.apply(batch).await,
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.store.probe().await
    }

    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

/// How an operation is answered.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// By the store.
    Store,
    /// By the store, which knows more of that counter then.
    Learning(u128),
    /// By the store, which is only asked to look.
    Looking,
    /// From a block of that counter.
    Held { name: u128, spent: Spent },
}

type Ways = SmallVec<[Way; 4]>;

impl<S: Store> Leases<S> {
    async fn apply_leased(&self, table: &Arc<LeaseTable>, batch: &Batch) -> Counts {
        let ways: Ways = batch.sets().flat_map(|set| self.ways(table, batch, set)).collect();
        let held = |way: &Way| match way {
            Way::Held { spent, .. } => Some(Ok(spent.count)),
            _ => None,
        };
        if let Some(counts) = ways.iter().map(held).collect() {
            return counts;
        }
        let mut answers = match ways.iter().all(|way| matches!(way, Way::Store | Way::Learning(_)))
        {
            true => self.store.apply(batch).await,
            false => Box::pin(async { self.store.apply(&rest(batch, &ways)).await }).await,
        }
        .into_iter();
        let silent = || Err(StoreError::Refused("an answer is missing".to_owned()));
        let mut counts: Counts = ways
            .iter()
            .map(|way| held(way).unwrap_or_else(|| answers.next().unwrap_or_else(silent)))
            .collect();
        self.learn(table, batch, (&ways, &counts));
        conclude(table, batch, (&ways, &mut counts));
        counts
    }

    /// How the operations of a set are answered.
    fn ways(&self, table: &Arc<LeaseTable>, batch: &Batch, set: &[Operation]) -> Ways {
        let is_alone = set.len() == 1;
        let way = |operation: &Operation| {
            // What a quota says depends on the others of its set.
            let may_be_held = is_alone
                || (batch.refused_sets == RefusedSets::SpendNothing && !operation.part.quota);
            let is_leased = operation.leeway.accuracy == Accuracy::Leased;
            let is_bucket = matches!(operation.meter.algorithm, Algorithm::TokenBucket { .. });
            match operation.action {
                Action::Spend(_) if is_leased && may_be_held => self.way(table, (batch, operation)),
                // To repay a debt would move those of other blocks: tokens come back as they do.
                Action::GiveBack(_) if is_leased && is_bucket && is_alone => Way::Looking,
                _ => Way::Store,
            }
        };
        set.iter().map(way).collect()
    }

    fn way(&self, table: &Arc<LeaseTable>, (batch, operation): (&Batch, &Operation)) -> Way {
        let name = table.name(batch, operation);
        let (spent, order) = table.spend(name, (batch, operation));
        if let Some(order) = order {
            order.start(&self.store);
        }
        match spent {
            Some(spent) => Way::Held { name, spent },
            None => Way::Learning(name),
        }
    }

    fn learn(&self, table: &Arc<LeaseTable>, batch: &Batch, (ways, counts): (&Ways, &Counts)) {
        for ((operation, way), count) in batch.operations().iter().zip(ways).zip(counts) {
            if let (Way::Learning(name), Ok(count)) = (way, count)
                && let Some(order) = table.learn(*name, (batch, operation), count)
            {
                order.start(&self.store);
            }
        }
    }
}

/// What the store is asked for: operations that are not held.
fn rest(batch: &Batch, ways: &Ways) -> Batch {
    let mut rest = Batch::part_of(batch);
    let mut ways = ways.iter();
    let mut next = 0;
    for set in batch.sets() {
        let mut is_asked = false;
        for (operation, way) in set.iter().zip(ways.by_ref()) {
            let mut new = NewOperation { set: next, ..operation.again() };
            match way {
                Way::Held { .. } => continue,
                Way::Looking => new.action = Action::Spend(0),
                Way::Store | Way::Learning(_) => {}
            }
            // One that is left of several spends nothing if it is refused.
            if set.len() > 1 && batch.refused_sets == RefusedSets::SpendNothing {
                new.meter.refused = Refused::Spare;
            }
            rest.push(new, |key| key.extend_from_slice(batch.key(operation)));
            is_asked = true;
        }
        next += u16::from(is_asked);
    }
    rest
}

/// Puts back what was held for sets that are refused or have failed, and sees to it that they
/// say so.
fn conclude(table: &LeaseTable, batch: &Batch, (ways, counts): (&Ways, &mut Counts)) {
    let mut first = 0;
    for set in batch.sets() {
        let places = first..first + set.len();
        first = places.end;
        let (Some(ways), Some(counts)) = (ways.get(places.clone()), counts.get_mut(places)) else {
            continue;
        };
        for (way, count) in iter::zip(ways, counts.iter_mut()) {
            if let (Way::Looking, Ok(count)) = (way, count) {
                (count.admitted, count.spent) = (true, false);
            }
        }
        if !ways.iter().any(|way| matches!(way, Way::Held { .. })) {
            continue;
        }
        let error = counts.iter().find_map(|count| count.as_ref().err().cloned());
        let parts = iter::zip(set, counts.iter())
            .map(|(op, count)| (op.part, count.as_ref().is_ok_and(|count| count.admitted)));
        if error.is_none() && !(set.len() > 1 && is_refused(parts)) {
            continue;
        }
        for ((operation, way), count) in iter::zip(iter::zip(set, ways), counts.iter_mut()) {
            let (Way::Held { name, spent }, Action::Spend(hits)) = (way, operation.action) else {
                continue;
            };
            table.put_back(*name, spent, (hits, batch.now));
            match (&error, &mut *count) {
                (Some(error), _) => *count = Err(error.clone()),
                (None, Ok(count)) => {
                    count.after = count.after.saturating_sub(hits);
                    count.spent = false;
                }
                (None, Err(_)) => {}
            }
        }
    }
}

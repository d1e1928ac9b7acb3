//! The refusal cache: remembers counters that are exhausted, so that refusing again costs
//! no question to the store.
//!
//! What is remembered is a fact about the counter, not a verdict: "this window holds at
//! least n hits" or "these hits do not fit before that moment". A verdict follows from the
//! fact and the limit of the request at hand, so a raised limit or an override is never
//! refused by an old one. It cannot admit at all, and so never over-admits. It would refuse
//! wrongly only if a fact ceased to hold, which giving back alone can do: whatever is given
//! back makes its counter forgotten, here at once and in other processes by
//! [`Refusals::forget`]. While those who tell of that cannot be heard, the cache rests
//! ([`Listener`]).
//!
//! Sets that spend all or nothing always ask the store.

mod table;
#[cfg(test)]
mod threads;

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::{Abilities, Counts, Store, StoreError};
use crate::cells;
use crate::clock::Timestamp;
use crate::limiter::{Action, Batch, Count, NewOperation, Operation, Part, RefusedSets, Source};
use table::Ticket;
pub use table::{Listener, Refusals, RefusalsStats};

/// A store whose refusals are remembered.
#[derive(Debug)]
pub struct RefusalCache<S> {
    /// Who counts.
    pub store: S,
    /// What is remembered; without it every operation goes to the store.
    pub refusals: Option<Arc<Refusals>>,
}

impl<S> RefusalCache<S> {
    /// Remembers the refusals of `store`, or nothing.
    pub fn new(store: S, refusals: Option<Refusals>) -> Self {
        Self { store, refusals: refusals.map(Arc::new) }
    }
}

impl<S: Store> Store for RefusalCache<S> {
    async fn apply(&self, batch: &Batch) -> Counts {
        let Some(refusals) = self.refusals.as_deref().filter(|refusals| refusals.is_active())
        else {
            return self.store.apply(batch).await;
        };
        let tickets: SmallVec<[Ticket; 4]> =
            batch.operations().iter().map(|op| refusals.ticket(batch, op)).collect();
        let known: Known = may_be_known(batch)
            .zip(batch.operations().iter().zip(&tickets))
            .map(|(may, (op, ticket))| refusals.recall(op, ticket, batch.now).filter(|_| may))
            .collect();
        let counts = match known.iter().all(Option::is_none) {
            true => self.store.apply(batch).await,
            false => Box::pin(self.ask_for_the_rest(batch, &known)).await,
        };
        for ((operation, ticket), count) in batch.operations().iter().zip(&tickets).zip(&counts) {
            match (operation.action, count) {
                (Action::GiveBack(_) | Action::Undo { .. }, _) => refusals.forget_counter(ticket),
                (Action::Spend(_), Ok(count)) => {
                    refusals.learn(operation, ticket, (count, batch.now));
                }
                (Action::Spend(_), Err(_)) => {}
            }
        }
        counts
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

/// What is known of each operation of a batch without asking.
type Known = SmallVec<[Option<Count>; 4]>;

/// Whether an operation may be answered from memory: one that stands for itself, or that
/// stops others without asking for their modes. Whether all or nothing is spent is for the
/// store to see.
fn may_be_known(batch: &Batch) -> impl Iterator<Item = bool> {
    batch.sets().flat_map(|set| {
        let may = set.len() == 1 || batch.refused_sets == RefusedSets::SpendWhatIsOver;
        set.iter().map(move |op| may && matches!(op.action, Action::Spend(_)))
    })
}

impl<S: Store> RefusalCache<S> {
    /// Asks the store for what is not known, and puts the answers in order.
    async fn ask_for_the_rest(&self, batch: &Batch, known: &Known) -> Counts {
        let (rest, asked) = rest(batch, known);
        let mut answers = match rest.is_empty() {
            true => Counts::new(),
            false => self.store.apply(&rest).await,
        }
        .into_iter();
        let one_answer = |(known, asked): (&Option<Count>, &Asked)| match known {
            Some(count) => Ok(*count),
            None => {
                let silent = || Err(StoreError::Refused("an answer is missing".to_owned()));
                let answer = answers.next().unwrap_or_else(silent);
                answer.map(|count| Count { spent: count.spent && *asked == Asked::AsIs, ..count })
            }
        };
        known.iter().zip(&asked).map(one_answer).collect()
    }
}

/// How the store is asked for an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// As planned, or not at all.
    AsIs,
    /// Only to look.
    Looking,
}

/// The operations that are not known, and how they are asked for. In a set that stops when
/// one is over, those beside one that is known to be over only look.
fn rest(batch: &Batch, known: &Known) -> (Batch, SmallVec<[Asked; 4]>) {
    let mut rest = Batch::part_of(batch);
    let mut asked = SmallVec::new();
    let mut known = known.iter();
    let mut next_set = 0;
    for set in batch.sets() {
        let known: SmallVec<[bool; 4]> =
            known.by_ref().take(set.len()).map(Option::is_some).collect();
        let how = if known.contains(&true) { Asked::Looking } else { Asked::AsIs };
        for (operation, _) in set.iter().zip(&known).filter(|(_, known)| !**known) {
            rest.push(again(operation, how, next_set), |key| {
                key.extend_from_slice(batch.key(operation));
            });
            next_set += u16::from(how == Asked::Looking);
        }
        next_set += u16::from(how == Asked::AsIs);
        asked.extend(known.iter().map(|_| how));
    }
    (rest, asked)
}

fn again(operation: &Operation, how: Asked, set: u16) -> NewOperation {
    let new = NewOperation { set, ..operation.again() };
    match how {
        Asked::AsIs => new,
        Asked::Looking => NewOperation {
            action: Action::Spend(0),
            part: Part { quota: false, ..new.part },
            ..new
        },
    }
}

/// A refusal from memory.
fn refusal(after: u64, wait: Option<Duration>, at: Timestamp) -> Count {
    Count { after, admitted: false, spent: false, wait, at, source: Source::RefusalCache }
}

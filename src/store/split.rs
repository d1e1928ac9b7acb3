//! One batch over several shards, each of which applies what is its own.
//!
//! All calls of a batch go out together, so that many shards take the time of one. A set
//! that lies in one shard stays a set there. A set that spans shards is dissolved: each
//! shard reserves its part, and when the set turns out refused the reservations are undone.
//!
//! Why no limit is ever exceeded: a reservation is a spend that fits, so a counter never
//! holds more admitted hits than its limit; a set is admitted only if all of its
//! reservations were made, and these stay; and an undo takes back what its own reservation
//! has spent and nothing else ([`Action::Undo`](crate::limiter::Action::Undo)). What is lost
//! on the way, a reply or an undo, leaves hits spent: stricter, never laxer. For as long as
//! a reservation stands, another request may be refused that would have fitted.
//!
//! Which shard a counter lives in, and how that is asked, is the store's business.

mod calls;
mod dissolve;

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use calls::{Answers, Calls};
use dissolve::Spanning;

use super::{Counts, StoreError};
use crate::limiter::{Batch, Operation};

/// Stores that share the counters.
pub(super) trait Shards: Send + Sync + 'static {
    /// Names one.
    type Shard: Copy + PartialEq + Send + Sync + 'static;

    /// Where the counter of an operation lives.
    fn shard(&self, batch: &Batch, operation: &Operation) -> Self::Shard;

    /// Applies a batch whose counters all live in that shard, within the time-out.
    fn call(&self, shard: Self::Shard, batch: &Batch) -> impl Future<Output = Counts> + Send;

    /// How long a batch may take.
    fn timeout(&self) -> Duration;
}

/// Applies a batch; what each shard answers stands where it belongs.
///
/// A dissolved set is brought to its end even if the caller does not wait for it.
pub(super) async fn apply<S: Shards>(shards: &Arc<S>, batch: &Batch) -> Counts {
    let homes: Homes<S> =
        batch.operations().iter().map(|operation| shards.shard(batch, operation)).collect();
    let Some(first) = homes.first() else { return Counts::new() };
    if homes.iter().all(|home| home == first) {
        return shards.call(*first, batch).await;
    }
    let sets = sets(batch, &homes);
    if sets.iter().all(|set| set.spanning.is_none()) {
        return run(&**shards, batch, &homes).await;
    }
    let timeout = shards.timeout();
    let task = {
        let (shards, batch) = (Arc::clone(shards), batch.clone());
        tokio::spawn(async move { run(&*shards, &batch, &homes).await })
    };
    let all = |error| iter::repeat_n(Err(error), batch.operations().len()).collect();
    match tokio::time::timeout(timeout, task).await {
        Ok(Ok(counts)) => counts,
        Ok(Err(error)) => all(StoreError::Broken(error.to_string())),
        Err(_) => all(StoreError::Timeout(timeout)),
    }
}

/// The shards of the operations of a batch.
type Homes<S> = SmallVec<[<S as Shards>::Shard; 8]>;

async fn run<S: Shards>(shards: &S, batch: &Batch, homes: &[S::Shard]) -> Counts {
    let deadline = Instant::now() + shards.timeout();
    let sets = sets(batch, homes);
    let mut answers = Answers::from_elem(None, batch.operations().len());
    let rounds = sets.iter().map(|set| set.round).max().unwrap_or(0);
    for round in 0..=rounds {
        // Sets that nobody waits for any more are not begun.
        if Instant::now() >= deadline {
            break;
        }
        let now: SmallVec<[&Set<'_>; 8]> = sets.iter().filter(|set| set.round == round).collect();
        let mut calls = Calls::new(batch);
        for set in &now {
            match &set.spanning {
                Some(spanning) => spanning.reserve(homes, &mut calls),
                None => calls.add_whole(homes[set.first], (set.first, set.operations)),
            }
        }
        calls.ask(shards, &mut answers).await;
        let mut settling = Calls::new(batch);
        let mut settled = Answers::from_elem(None, answers.len());
        let spanning = || now.iter().filter_map(|set| set.spanning.as_ref());
        spanning().for_each(|set| set.settle(&answers, homes, &mut settling));
        settling.ask(shards, &mut settled).await;
        spanning().for_each(|set| set.conclude(&settled, &mut answers));
    }
    let late = || Err(StoreError::Timeout(shards.timeout()));
    answers.into_iter().map(|answer| answer.unwrap_or_else(late)).collect()
}

/// A set of a batch.
struct Set<'b> {
    /// The place of its first operation.
    first: usize,
    operations: &'b [Operation],
    /// How it is dissolved, if its counters live in several shards.
    spanning: Option<Spanning<'b>>,
    /// Which round of calls applies it.
    round: usize,
}

/// The sets of a batch. One that shares a counter with a dissolved set before it waits for
/// the next round, as it is to see what that set has left. (Requests that name a
/// descriptor twice have such sets; all others take one round.)
fn sets<'b, T: PartialEq>(batch: &'b Batch, homes: &[T]) -> SmallVec<[Set<'b>; 8]> {
    let mut first = 0;
    let mut sets: SmallVec<[Set<'b>; 8]> = SmallVec::new();
    for operations in batch.sets() {
        let places = first..first + operations.len();
        let spans = homes[places.clone()].iter().any(|home| *home != homes[first]);
        let spanning = spans.then(|| Spanning::new(batch, first, operations));
        sets.push(Set { first, operations, spanning, round: 0 });
        first = places.end;
    }
    if sets.iter().any(|set| set.spanning.is_some()) {
        let mut earliest = hashbrown::HashMap::new();
        for set in &mut sets {
            let keys = || set.operations.iter().map(|operation| batch.key(operation));
            let round = keys().filter_map(|key| earliest.get(key)).max().copied().unwrap_or(0);
            let next = round + usize::from(set.spanning.is_some());
            keys().for_each(|key| {
                earliest.insert(key, next);
            });
            set.round = round;
        }
    }
    sets
}

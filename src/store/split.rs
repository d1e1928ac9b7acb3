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
mod heard;

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use calls::{Answers, Calls};
use dissolve::Spanning;
use heard::Heard;

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

/// Applies a batch; what each shard answers stands where it belongs. A shard that is silent
/// until the caller waits no longer hides nothing of what the others have said.
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
        return run(&**shards, batch, &homes, None).await;
    }
    let wait = batch.wait(shards.timeout());
    let heard = Arc::new(Heard::new(&sets));
    let task = {
        let (shards, mut batch, heard) = (Arc::clone(shards), batch.clone(), Arc::clone(&heard));
        // What was reserved is seen to its end, however short the caller's patience is.
        batch.patience = None;
        let caller = Caller { heard, until: Instant::now() + wait };
        tokio::spawn(async move { run(&*shards, &batch, &homes, Some(caller)).await })
    };
    match tokio::time::timeout(wait, task).await {
        Ok(Ok(counts)) => counts,
        Ok(Err(error)) => heard.so_far(&StoreError::Broken(error.to_string())),
        Err(_) => heard.so_far(&StoreError::Timeout(wait)),
    }
}

/// Who may go away before the end.
struct Caller {
    heard: Arc<Heard>,
    until: Instant,
}

/// The shards of the operations of a batch.
type Homes<S> = SmallVec<[<S as Shards>::Shard; 8]>;

async fn run<S: Shards>(
    shards: &S,
    batch: &Batch,
    homes: &[S::Shard],
    caller: Option<Caller>,
) -> Counts {
    let heard = caller.as_ref().map(|caller| &*caller.heard);
    let sets = sets(batch, homes);
    let mut answers = Answers::from_elem(None, batch.operations().len());
    let rounds = sets.iter().map(|set| set.round).max().unwrap_or(0);
    for round in 0..=rounds {
        // Sets that nobody waits for any more are not begun.
        if caller.as_ref().is_some_and(|caller| Instant::now() >= caller.until) {
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
        calls.ask(shards, &mut answers, heard).await;
        let mut settling = Calls::new(batch);
        let mut settled = Answers::from_elem(None, answers.len());
        let spanning = || now.iter().filter_map(|set| Some((set, set.spanning.as_ref()?)));
        spanning().for_each(|(_, spanning)| spanning.settle(&answers, homes, &mut settling));
        settling.ask(shards, &mut settled, heard).await;
        for (set, spanning) in spanning() {
            spanning.conclude(&settled, &mut answers);
            if let Some(heard) = heard {
                heard.conclude(set, &answers);
            }
        }
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

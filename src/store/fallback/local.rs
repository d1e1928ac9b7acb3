//! Counting here, with this replica's share of a limit.
//!
//! Let `n` replicas share a limit `L`, and let the counter hold `K` when the store falls
//! silent. Each replica counts in memory, on a counter that holds at least `K`, and there each
//! hit takes the room of `n`: of `L`, rounded down to a multiple of `n`. So each admits at most
//! `floor(L / n) - ceil(K / n)`, which is no more than `(L - K) / n`, and all of them at most
//! `L - K`: with what was counted before, no more than `L`. The same holds for a bucket, at
//! every moment, and for a sliding window. As a counter is kept in hits of all replicas, what is
//! known of it holds also after `n` has changed.
//!
//! `n` is what the settings say or what the store has told; it does not change while the store
//! is away. Before it is known nothing is counted here, and the limit is an error.
//!
//! `K` is what the store answered last, to this replica. It has grown since by what others
//! have spent; a replica that knows less admits more, by an `n`th of what it missed. One that
//! has never asked for a counter takes it as new. A counter here is raised to what is known
//! and never lowered: of what was counted here in an earlier outage of the same window, or
//! was given back since, more is held than need be. That is stricter, never laxer.
//!
//! A share may be nothing: a limit smaller than the number of replicas refuses everything.
//!
//! The number of counters is bounded. One that finds no room is not learnt; if it finds none
//! in the outage either, its limit is an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use smallvec::SmallVec;

use super::reserve::hits;
use crate::limiter::{Action, Batch, Count, Leeway, Meter, NewOperation, Operation, Source};
use crate::rules::Algorithm;
use crate::store::StoreError;
use crate::store::memory::{MemoryConfig, MemoryStore};

/// What operations are to do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// To count, all or nothing.
    Spent,
    /// To look: the set does not pass anyhow.
    Seen,
}

/// What a counter here says.
type Counted = Result<Count, StoreError>;

/// Counters that hold this replica's share.
#[derive(Debug)]
pub(super) struct Local {
    counters: Arc<MemoryStore>,
    /// 0 while that is not known.
    replicas: AtomicU32,
}

/// How many replicas share the limits.
#[derive(Clone, Copy)]
struct Sharers(u32);

impl Local {
    /// No counters yet, of that many at most; limits are shared by `replicas`, 0 if that is not
    /// known yet.
    pub(super) fn new(replicas: u32, max_counters: usize) -> Self {
        let counters = Arc::new(MemoryStore::new(MemoryConfig { max_counters }));
        Self { counters, replicas: AtomicU32::new(replicas) }
    }

    /// From now on so many replicas share the limits.
    pub(super) fn share_by(&self, replicas: u32) {
        self.replicas.store(replicas, Ordering::Relaxed);
    }

    /// How many replicas share the limits; 0 while that is not known.
    pub(super) fn replicas(&self) -> u32 {
        self.replicas.load(Ordering::Relaxed)
    }

    /// The counters.
    pub(super) fn counters(&self) -> &Arc<MemoryStore> {
        &self.counters
    }

    /// Takes note of what the store has answered.
    pub(super) fn learn(&self, batch: &Batch, operation: &Operation, count: &Count) {
        let meter = Sharers(self.replicas().max(1)).meter(&operation.meter);
        self.counters.raise((batch.key(operation), &meter), count.after, batch.now);
    }

    /// Counts operations of one set. There is no room for any of them, or for all; there is
    /// none while nobody knows how large a share is.
    pub(super) fn count(
        &self,
        batch: &Batch,
        operations: &[&Operation],
        wanted: Wanted,
    ) -> SmallVec<[Option<Count>; 4]> {
        let sharers = match self.replicas() {
            0 => return operations.iter().map(|_| None).collect(),
            replicas => Sharers(replicas),
        };
        let mut here = Batch::new(batch.now);
        for operation in operations {
            let new = NewOperation {
                meter: sharers.meter(&operation.meter),
                action: match wanted {
                    Wanted::Spent => Action::Spend(sharers.cost(hits(operation))),
                    Wanted::Seen => Action::Spend(0),
                },
                set: 0,
                leeway: Leeway::default(),
                ..operation.again()
            };
            here.push(new, |key| key.extend_from_slice(batch.key(operation)));
        }
        let counts = self.counters.apply_now(&here);
        let told = |(operation, (share, count)): (&&Operation, (&Operation, Counted))| match count {
            Ok(count) => {
                let spent = count.spent && wanted == Wanted::Spent;
                Some(Count { spent, ..sharers.told(operation, &share.meter, count) })
            }
            Err(_) => None,
        };
        operations.iter().zip(here.operations().iter().zip(counts)).map(told).collect()
    }
}

impl Sharers {
    /// What all shares of a limit hold together, where a share is a whole number.
    fn meter(self, meter: &Meter) -> Meter {
        let whole = |number: u32| number - number % self.0;
        match meter.algorithm {
            // A bucket that holds nothing gains nothing either.
            Algorithm::TokenBucket { burst } => Meter {
                algorithm: Algorithm::TokenBucket { burst: whole(burst).max(1) },
                rate: if whole(burst) == 0 { 0 } else { whole(meter.rate) },
                ..*meter
            },
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                Meter { rate: whole(meter.rate), ..*meter }
            }
        }
    }

    /// The room that hits here take: others may spend as many.
    fn cost(self, hits: u64) -> u64 {
        hits.saturating_mul(self.0.into())
    }

    /// A count of all shares, told as one of the limit: as much is left of it as is left here.
    fn told(self, operation: &Operation, shared: &Meter, count: Count) -> Count {
        let meter = &operation.meter;
        let left = u64::from(shared.size()).saturating_sub(count.after) / u64::from(self.0);
        let size = u64::from(meter.size());
        // Too much for a share is not too much for the limit.
        let later = || (hits(operation) <= size).then(|| meter.window.left(count.at));
        Count {
            after: size.saturating_sub(left),
            wait: count.wait.or_else(later),
            source: Source::Fallback,
            ..count
        }
    }
}

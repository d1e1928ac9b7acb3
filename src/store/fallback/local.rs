//! Counting here, with this replica's share of a limit.
//!
//! Let `n` replicas share a limit `L`, and let the counter hold `K` when the store falls
//! silent. Each replica counts in memory, against `floor(L / n)`, on a counter that already
//! holds at least `ceil(K / n)`. So each admits at most `floor(L / n) - ceil(K / n)`, which is
//! no more than `(L - K) / n`, and all of them at most `L - K`: with what was counted before,
//! no more than `L`. The same holds for a bucket, whose size and rate are both divided, at
//! every moment, and for a sliding window.
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
    replicas: u32,
}

impl Local {
    /// No counters yet, of that many at most; limits are shared by `replicas`.
    pub(super) fn new(replicas: u32, max_counters: usize) -> Self {
        let counters = Arc::new(MemoryStore::new(MemoryConfig { max_counters }));
        Self { counters, replicas: replicas.max(1) }
    }

    /// The counters.
    pub(super) fn counters(&self) -> &Arc<MemoryStore> {
        &self.counters
    }

    /// Takes note of what the store has answered.
    pub(super) fn learn(&self, batch: &Batch, operation: &Operation, count: &Count) {
        let share = self.share(&operation.meter);
        let known = count.after.div_ceil(self.replicas.into());
        self.counters.raise((batch.key(operation), &share), known, batch.now);
    }

    /// Counts operations of one set. There is no room for any of them, or for all.
    pub(super) fn count(
        &self,
        batch: &Batch,
        operations: &[&Operation],
        wanted: Wanted,
    ) -> SmallVec<[Option<Count>; 4]> {
        let mut here = Batch::new(batch.now);
        for operation in operations {
            let new = NewOperation {
                meter: self.share(&operation.meter),
                action: match wanted {
                    Wanted::Spent => operation.action,
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
                Some(Count { spent, ..told(operation, &share.meter, count) })
            }
            Err(_) => None,
        };
        operations.iter().zip(here.operations().iter().zip(counts)).map(told).collect()
    }

    /// The part of a limit that may be spent here.
    fn share(&self, meter: &Meter) -> Meter {
        let part = |number: u32| number / self.replicas;
        match meter.algorithm {
            // A bucket that holds nothing gains nothing either.
            Algorithm::TokenBucket { burst } => Meter {
                algorithm: Algorithm::TokenBucket { burst: part(burst).max(1) },
                rate: if part(burst) == 0 { 0 } else { part(meter.rate) },
                ..*meter
            },
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                Meter { rate: part(meter.rate), ..*meter }
            }
        }
    }
}

/// A count of the share, told as one of the limit: as much is left of it as is left here.
fn told(operation: &Operation, share: &Meter, count: Count) -> Count {
    let meter = &operation.meter;
    let left = u64::from(share.size()).saturating_sub(count.after);
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

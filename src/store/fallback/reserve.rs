//! What stands in when the store cannot say: the policies, and what they need to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smallvec::SmallVec;

use super::debts::{Debts, Repayment};
use super::local::{Local, Wanted};
use super::outage::Outage;
use crate::clock::Clock;
use crate::limiter::{Action, Batch, Count, Operation, Source};
use crate::rules::OnStoreError;
use crate::store::memory::MemoryStore;
use crate::store::{Counts, HashKeys, StoreError};

/// How long to wait before the same hits may fit, for who is refused unseen. Nobody knows;
/// a store that is back is found within a second.
const RETRY: Duration = Duration::from_secs(1);

/// How a process fares without its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FallbackConfig {
    /// How long a decision waits for its counters at most.
    pub deadline: Duration,
    /// How many processes share a limit; 0: nobody knows yet ([`Reserve::share_by`]).
    pub replicas: u32,
    /// How many counters are held here for limits that count here then.
    pub max_counters: usize,
}

/// What stands in for the store.
#[derive(Debug)]
pub struct Reserve {
    config: FallbackConfig,
    local: Local,
    debts: Arc<Debts>,
    outage: Outage,
    late: AtomicU64,
}

/// Facts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReserveStats {
    /// Decisions that did not wait any longer for the store, since the start.
    pub late: u64,
    /// Counters held here now.
    pub counters: u64,
    /// Hits that the store is yet to be told of, now.
    pub owed: u64,
    /// Hits that the store was told of, since the start.
    pub repaid: u64,
    /// Hits that it will not be told of, since the start: there were too many, or nobody
    /// knows whether it was told.
    pub unpaid: u64,
}

impl Reserve {
    /// What stands in for a store of which nothing is known yet. `clock` dates what the store
    /// is told later.
    pub fn new(config: FallbackConfig, clock: Clock) -> Self {
        Self::keyed(config, clock, HashKeys::default())
    }

    /// The same, that finds what it owes by these keys.
    pub fn keyed(config: FallbackConfig, clock: Clock, hash_keys: HashKeys) -> Self {
        Self {
            config,
            local: Local::new(config.replicas, config.max_counters),
            debts: Arc::new(Debts::new(clock, hash_keys)),
            outage: Outage::default(),
            late: AtomicU64::new(0),
        }
    }

    /// The counters that are held here, for whoever sweeps them.
    pub fn counters(&self) -> &Arc<MemoryStore> {
        self.local.counters()
    }

    /// From now on so many replicas share the limits; 0: nobody knows.
    pub fn share_by(&self, replicas: u32) {
        self.local.share_by(replicas);
    }

    /// How many replicas share the limits; 0: nobody knows yet.
    pub fn replicas(&self) -> u32 {
        self.local.replicas()
    }

    /// Facts for metrics, as of now.
    pub fn stats(&self) -> ReserveStats {
        let (owed, repaid, unpaid) = self.debts.hits();
        ReserveStats {
            late: self.late.load(Ordering::Relaxed),
            counters: self.local.counters().held() as u64,
            owed,
            repaid,
            unpaid,
        }
    }

    /// By when a decision has to have its counters that is given so much time itself.
    pub(super) fn deadline(&self, patience: Option<Duration>) -> Duration {
        patience.map_or(self.config.deadline, |patience| self.config.deadline.min(patience))
    }

    pub(super) fn note_late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_failure(&self, error: &StoreError) {
        self.outage.failed(error);
    }

    /// The hits that the store is to be told of, if there are any and nobody is at it.
    pub(super) fn begin_repayment(&self) -> Option<Repayment> {
        self.debts.begin()
    }

    /// Takes note of what the store has answered.
    pub(super) fn learn(&self, batch: &Batch, counts: &Counts) {
        self.outage.answered();
        for (operation, count) in batch.operations().iter().zip(counts) {
            self.learn_one(batch, operation, count);
        }
    }

    fn learn_one(&self, batch: &Batch, operation: &Operation, count: &Result<Count, StoreError>) {
        if let (OnStoreError::Local, Ok(count)) = (operation.leeway.on_store_error, count) {
            self.local.learn(batch, operation, count);
        }
    }

    /// Answers what the store could not.
    pub(super) fn stand_in(&self, batch: &Batch, counts: Counts) -> Counts {
        let mut counts = counts.into_iter();
        let mut answers = Counts::new();
        for set in batch.sets() {
            let own: Counts = counts.by_ref().take(set.len()).collect();
            if own.iter().all(Result::is_ok) {
                set.iter().zip(&own).for_each(|(op, count)| self.learn_one(batch, op, count));
                answers.extend(own);
            } else {
                answers.extend(self.answer(batch, set, own));
            }
        }
        answers
    }

    fn answer(&self, batch: &Batch, set: &[Operation], mut counts: Counts) -> Counts {
        let wanted = match set.iter().zip(&counts).any(|(op, count)| refuses_alone(op, count)) {
            true => Wanted::Seen,
            false => Wanted::Spent,
        };
        let counted_here = |(operation, count): (&Operation, &Result<Count, StoreError>)| {
            count.is_err() && policy(operation) == OnStoreError::Local && is_spending(operation)
        };
        let here: SmallVec<[&Operation; 4]> =
            set.iter().zip(&counts).filter(|pair| counted_here(*pair)).map(|(op, _)| op).collect();
        let counts_here = self.local.count(batch, &here, wanted);
        let is_doubtful = wanted == Wanted::Spent && is_doubtful(set, &here, &counts_here);
        let mut counts_here = counts_here.into_iter().flatten();
        for (operation, count) in set.iter().zip(&mut counts) {
            let Err(error) = count else { continue };
            let answer = match policy(operation) {
                OnStoreError::Error => None,
                _ if !is_spending(operation) => Some(free(operation, batch, 0)),
                OnStoreError::Allow => Some(free(operation, batch, hits(operation))),
                OnStoreError::Deny => Some(refused(operation, batch)),
                OnStoreError::Local => match counts_here.next() {
                    Some(count) if is_doubtful && !count.spent => Some(refused(operation, batch)),
                    count => count,
                },
            };
            if let Some(answer) = answer {
                // What was refused is nothing that anybody has to know.
                let is_owed = answer.admitted && answer.spent;
                if is_owed && matches!(error, StoreError::Unavailable(_)) {
                    self.debts.add(batch, operation, &answer);
                }
                *count = Ok(answer);
            }
        }
        counts
    }
}

/// Whether a set does not pass because of this operation, whatever the others say. (Hits that
/// are spent on one that is refused by quotas after all are stricter, never laxer.)
fn refuses_alone(operation: &Operation, count: &Result<Count, StoreError>) -> bool {
    match (count, policy(operation)) {
        (Ok(count), _) => !count.admitted && !operation.part.quota,
        (Err(_), OnStoreError::Error) => true,
        (Err(_), OnStoreError::Deny) => is_spending(operation) && !operation.part.quota,
        (Err(_), OnStoreError::Allow | OnStoreError::Local) => false,
    }
}

/// Whether a set may pass of which nothing was spent here: quotas refuse it here, but there
/// is another one elsewhere, and all of them have to. Then those here refuse it for sure, as
/// nothing passes that is not counted.
fn is_doubtful(set: &[Operation], here: &[&Operation], counts: &[Option<Count>]) -> bool {
    let refuses = |(operation, count): (&&Operation, &Option<Count>)| {
        !operation.part.quota && count.is_some_and(|count| !count.admitted)
    };
    let elsewhere =
        |operation: &Operation| operation.part.quota && policy(operation) != OnStoreError::Local;
    set.iter().any(elsewhere) && !here.iter().zip(counts).any(refuses)
}

fn policy(operation: &Operation) -> OnStoreError {
    operation.leeway.on_store_error
}

fn is_spending(operation: &Operation) -> bool {
    matches!(operation.action, Action::Spend(_))
}

pub(super) fn hits(operation: &Operation) -> u64 {
    match operation.action {
        Action::Spend(hits) => hits,
        Action::GiveBack(_) | Action::Undo { .. } => 0,
    }
}

/// Admitted unseen, as by a counter that has counted nothing else.
fn free(operation: &Operation, batch: &Batch, hits: u64) -> Count {
    let (meter, now) = (&operation.meter, batch.now);
    Count {
        after: hits.min(meter.size().into()),
        admitted: true,
        spent: false,
        wait: Some(meter.window.left(now)),
        at: now,
        source: Source::Fallback,
    }
}

/// Refused unseen.
fn refused(operation: &Operation, batch: &Batch) -> Count {
    Count {
        after: operation.meter.size().into(),
        admitted: false,
        spent: false,
        wait: Some(RETRY),
        at: batch.now,
        source: Source::Fallback,
    }
}

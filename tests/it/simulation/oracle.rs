//! What must hold, checked from outside: the oracle sees what requests asked, what they were
//! told, and what went over the wire, and knows nothing of how that came about.
//!
//! Each bound is stated where it is checked. A *life* is what a counter has between two losses
//! of its data. Whoever breaks a bound is noted, and the schedule ends with its step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate::clock::Timestamp;
use tidegate::limiter::{Action, Batch, Count, Meter, Operation, RefusedSets, Source, is_refused};
use tidegate::rules::{Accuracy, Algorithm, OnStoreError};
use tidegate::store::{Counts, StoreError};
use tokio::time::Instant;

use super::counters::{Counter, Share};
use super::redis::{Held, Redis, name};

/// Pushes of what was given back are on their way for less than that.
const TELLING: Duration = Duration::from_millis(250);

/// Looks on.
pub(super) struct Oracle {
    redis: Arc<Redis>,
    replicas: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counters: BTreeMap<Vec<u8>, Counter>,
    /// What single processes count for themselves, by their number.
    shares: BTreeMap<(u64, Vec<u8>), Share>,
    wires: BTreeMap<Vec<u8>, Wire>,
    disturbances: Vec<Disturbance>,
    problems: Vec<String>,
    figures: Figures,
}

/// The hits on one counter that is only ever counted exactly.
#[derive(Default)]
struct Wire {
    asked: u64,
    sent: u64,
    is_leased: bool,
}

/// Something after which a counter may begin again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disturbance {
    pub(super) at: Instant,
    /// The server has lost its data; else its clock was set.
    pub(super) is_loss: bool,
}

/// How much has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) by_store: u64,
    pub(super) by_lease: u64,
    pub(super) by_cache: u64,
    pub(super) by_share: u64,
    pub(super) stood_in: u64,
    pub(super) failed: u64,
    pub(super) given_back: u64,
}

impl Figures {
    /// Adds those of another schedule.
    pub(super) fn add(&mut self, other: &Self) {
        self.by_store += other.by_store;
        self.by_lease += other.by_lease;
        self.by_cache += other.by_cache;
        self.by_share += other.by_share;
        self.stood_in += other.stood_in;
        self.failed += other.failed;
        self.given_back += other.given_back;
    }
}

/// When a batch was asked, and by whom.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// What the server held then for each operation on a fixed window.
    held: Vec<Held>,
    /// The number of the process.
    pub(super) process: u64,
    pub(super) tick: Instant,
    /// By the server's clock.
    pub(super) began: Timestamp,
    /// By that clock, had nobody ever set it.
    pub(super) smooth: Timestamp,
}

impl Oracle {
    /// Knows of nothing yet.
    pub(super) fn new(redis: &Arc<Redis>, replicas: u32) -> Arc<Self> {
        Arc::new(Self { redis: Arc::clone(redis), replicas, state: Mutex::default() })
    }

    /// What is wrong, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        self.state.lock().problems.first().cloned().or_else(|| self.redis.problem())
    }

    /// Notes what is wrong.
    pub(super) fn note(&self, problem: String) {
        self.state.lock().problems.push(problem);
    }

    /// How much has happened.
    pub(super) fn figures(&self) -> Figures {
        self.state.lock().figures
    }

    /// The server has lost its data, or its clock was set.
    pub(super) fn disturbed(&self, is_loss: bool) {
        self.state.lock().disturbances.push(Disturbance { at: Instant::now(), is_loss });
    }

    /// A request asks.
    pub(super) fn asked(&self, batch: &Batch, process: u64) -> Asked {
        let mut state = self.state.lock();
        for operation in batch.operations() {
            let key = batch.key(operation);
            let counter = state.counters.entry(key.to_vec()).or_default();
            counter.most = counter.most.max(operation.meter.rate.into());
            if let Action::GiveBack(hits) = operation.action {
                *counter.given_back.entry(operation.meter.window.start(batch.now)).or_default() +=
                    hits;
                state.figures.given_back += hits;
            }
            let wire = state.wires.entry(key.to_vec()).or_default();
            wire.is_leased |= operation.leeway.accuracy == Accuracy::Leased;
            wire.asked += spending(operation);
        }
        let (began, smooth) = (self.redis.now(), self.redis.smooth());
        let held = |operation| self.redis.held(&name(batch, operation));
        let held = batch.operations().iter().map(held).collect();
        Asked { held, process, tick: Instant::now(), began, smooth }
    }

    /// Something goes over the wire.
    ///
    /// Nothing is repeated: what is sent of an exact counter, reports of what was counted
    /// elsewhere included, is never more than what requests have asked and nobody else
    /// has answered. (What was certainly not sent is not on the wire.)
    pub(super) fn sent(&self, batch: &Batch) {
        let mut state = self.state.lock();
        for operation in batch.operations() {
            let key = batch.key(operation);
            let wire = state.wires.entry(key.to_vec()).or_default();
            wire.sent += spending(operation);
            self.redis.sent(name(batch, operation), spending(operation));
            if !wire.is_leased && wire.sent > wire.asked {
                let Wire { asked, sent, .. } = *wire;
                let key = String::from_utf8_lossy(key).into_owned();
                state.problems.push(format!("repeated: {sent} hits sent of {asked}: {key}"));
            }
        }
    }

    /// What came back of it: what certainly did not go over the wire, or was refused and not
    /// spent, no counter may hold.
    pub(super) fn returned(&self, batch: &Batch, counts: &Counts) {
        let mut state = self.state.lock();
        for (operation, count) in batch.operations().iter().zip(counts) {
            let hits = spending(operation);
            if matches!(count, Err(StoreError::Unavailable(_))) {
                let wire = state.wires.entry(batch.key(operation).to_vec()).or_default();
                wire.sent -= hits;
                self.redis.not_counted(&name(batch, operation), hits);
            } else if count.as_ref().is_ok_and(|count| !count.spent) {
                self.redis.not_counted(&name(batch, operation), hits);
            }
        }
    }

    /// A request is answered.
    pub(super) fn answered(&self, batch: &Batch, counts: &Counts, asked: Asked) {
        let mut state = self.state.lock();
        if counts.len() != batch.operations().len() {
            state.problems.push(format!("{} answers to {batch:?}", counts.len()));
        }
        let operations = batch.operations().iter().zip(&asked.held);
        for ((operation, held), count) in operations.zip(counts) {
            let problem = match count {
                Ok(count) => {
                    let remembered = remembered(operation, held, count);
                    state.problems.extend(remembered);
                    self.judge(&mut state, (batch, operation), count, &asked)
                }
                Err(_) => {
                    state.figures.failed += 1;
                    None
                }
            };
            state.problems.extend(problem);
        }
        let mut rest = counts.iter();
        for set in batch.sets() {
            let counts: Vec<_> = rest.by_ref().take(set.len()).collect();
            state.problems.extend(all_or_nothing(batch, set, &counts));
        }
    }

    fn judge(
        &self,
        state: &mut State,
        (batch, operation): (&Batch, &Operation),
        count: &Count,
        asked: &Asked,
    ) -> Option<String> {
        let hits = spending(operation);
        let key = batch.key(operation).to_vec();
        let counter = state.counters.get_mut(&key)?;
        let figure = match count.source {
            Source::Store => &mut state.figures.by_store,
            Source::Lease => &mut state.figures.by_lease,
            Source::RefusalCache => &mut state.figures.by_cache,
            Source::Fallback if count.spent => &mut state.figures.by_share,
            Source::Fallback | Source::Nobody => &mut state.figures.stood_in,
        };
        *figure += hits;
        let is_spent = count.admitted && count.spent && hits > 0;
        match count.source {
            Source::Store | Source::Lease if is_spent => {
                counter.admit(&operation.meter, (batch.now, count, hits), asked);
                counter.check(&operation.meter, &state.disturbances, self.redis.smooth())
            }
            Source::Fallback => {
                let problem = stands_in_as_it_says(operation, count, hits);
                if is_spent {
                    let share = state.shares.entry((asked.process, key)).or_default();
                    let shared = (u64::from(self.replicas), counter.most);
                    return problem.or(share.admit(&operation.meter, (count, hits), shared));
                }
                problem
            }
            Source::RefusalCache => {
                if let Some(wire) = state.wires.get_mut(&key) {
                    wire.asked = wire.asked.saturating_sub(hits);
                }
                None
            }
            Source::Nobody => Some(format!("nobody answered: {operation:?}")),
            Source::Store | Source::Lease => None,
        }
        .map(|problem| format!("{problem}: {}", String::from_utf8_lossy(batch.key(operation))))
    }
}

/// What is remembered is true when it is asked for: the counter of a fixed window held too
/// much for these hits, or was given back to so recently that nobody need have heard of it.
fn remembered(operation: &Operation, held: &Held, count: &Count) -> Option<String> {
    let (hits, most) = (spending(operation), u64::from(operation.meter.rate));
    let is_fixed = operation.meter.algorithm == Algorithm::FixedWindow;
    let was_told = held.is_told && held.given_back.is_none_or(|then| then.elapsed() > TELLING);
    let is_wrong = count.admitted || (is_fixed && held.after + hits <= most && was_told);
    (count.source == Source::RefusalCache && is_wrong)
        .then(|| format!("refused from memory: {hits} hits on {held:?} of {most}, {operation:?}"))
}

fn spending(operation: &Operation) -> u64 {
    match operation.action {
        Action::Spend(hits) => hits,
        Action::GiveBack(_) | Action::Undo { .. } => 0,
    }
}

/// Who stands in for the store does as the limit says: only `allow` admits without counting,
/// and `error` never stands in.
fn stands_in_as_it_says(operation: &Operation, count: &Count, hits: u64) -> Option<String> {
    let is_right = match operation.leeway.on_store_error {
        OnStoreError::Error => false,
        OnStoreError::Allow => count.admitted && !count.spent,
        OnStoreError::Deny => hits == 0 && count.admitted || !count.admitted && !count.spent,
        OnStoreError::Local => true,
    };
    (!is_right).then(|| format!("stood in wrongly: {operation:?} {count:?}"))
}

/// A set that is refused spends nothing. (What is spent in place of the store may be for
/// nothing, where quotas are in play: that is stricter, never laxer.)
fn all_or_nothing(
    batch: &Batch,
    set: &[Operation],
    counts: &[&Result<Count, StoreError>],
) -> Option<String> {
    if set.len() < 2 || batch.refused_sets != RefusedSets::SpendNothing {
        return None;
    }
    let counts: Vec<Count> =
        counts.iter().filter_map(|count| count.as_ref().ok().copied()).collect();
    let is_whole = counts.len() == set.len();
    let is_known = counts.iter().all(|count| count.source != Source::Fallback);
    let parts = set.iter().zip(&counts).map(|(operation, count)| (operation.part, count.admitted));
    let spends = |(op, count): (&Operation, &Count)| count.spent && spending(op) > 0;
    let is_wrong = is_whole && is_known && is_refused(parts) && set.iter().zip(&counts).any(spends);
    is_wrong.then(|| format!("a refused set has spent: {set:?} {counts:?}"))
}

/// How many lives a counter may have had in the window that was first seen then.
pub(super) fn lives(meter: &Meter, disturbances: &[Disturbance], first: Instant) -> u64 {
    let before = first.checked_sub(Duration::from_micros(2 * meter.window.as_micros()));
    let counts = |one: &&Disturbance| {
        (one.is_loss || meter.algorithm != Algorithm::FixedWindow)
            && before.is_none_or(|before| one.at >= before)
    };
    1 + disturbances.iter().filter(counts).count() as u64
}

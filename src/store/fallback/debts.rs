//! Hits that were admitted here and that the store is told of when it answers again, so that
//! its counters stay honest.
//!
//! Only hits that the store was certainly not asked for are held: what was asked and not
//! answered may have been counted, and is never repeated. Each hit is told once; if the
//! answer to that is lost, it is given up. What no longer matters, as its window has ended,
//! is forgotten. Until the store has been told, it may admit hits for which these leave no
//! room; that takes as long as a few calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::reserve::hits;
use crate::clock::{Clock, Timestamp};
use crate::limiter::{Action, Batch, Count, Meter, NewOperation, Operation, Refused};
use crate::rules::Algorithm;
use crate::store::{HashKeys, Store, StoreError};

/// How many counters may be owed, and how many bytes their keys may have together.
const COUNTERS: usize = 100_000;
const KEY_BYTES: usize = 16 * 1024 * 1024;
/// How many counters one call tells of.
const AT_ONCE: usize = 128;

/// What the store is to be told of.
#[derive(Debug)]
pub(super) struct Debts {
    clock: Clock,
    held: Mutex<Held>,
    /// Whether nothing is held, for who only looks.
    is_empty: AtomicBool,
    is_under_way: AtomicBool,
    repaid: AtomicU64,
    unpaid: AtomicU64,
}

#[derive(Debug)]
struct Held {
    debts: HashMap<Name, Debt, HashKeys>,
    key_bytes: usize,
}

type Name = (Box<[u8]>, Meter);

#[derive(Clone, Copy, Debug)]
struct Debt {
    hits: u64,
    /// From when on it says nothing any more.
    lapses: Timestamp,
}

impl Debts {
    /// None.
    pub(super) fn new(clock: Clock, hash_keys: HashKeys) -> Self {
        Self {
            clock,
            held: Mutex::new(Held { debts: HashMap::with_hasher(hash_keys), key_bytes: 0 }),
            is_empty: AtomicBool::new(true),
            is_under_way: AtomicBool::new(false),
            repaid: AtomicU64::new(0),
            unpaid: AtomicU64::new(0),
        }
    }

    /// Hits that are owed, that were told, and that will not be.
    pub(super) fn hits(&self) -> (u64, u64, u64) {
        let owed = self.held.lock().debts.values().map(|debt| debt.hits).sum();
        (owed, self.repaid.load(Ordering::Relaxed), self.unpaid.load(Ordering::Relaxed))
    }

    /// Takes note of the hits of an operation that was counted here.
    pub(super) fn add(&self, batch: &Batch, operation: &Operation, count: &Count) {
        let debt = Debt { hits: hits(operation), lapses: lapses(operation, count, batch.now) };
        if debt.hits > 0 {
            self.hold((batch.key(operation).into(), operation.meter), debt, batch.now);
        }
    }

    fn hold(&self, name: Name, debt: Debt, now: Timestamp) {
        let mut held = self.held.lock();
        if let Some(old) = held.debts.get_mut(&name) {
            let hits = if old.lapses > now { old.hits } else { 0 };
            *old = Debt { hits: hits.saturating_add(debt.hits), ..debt };
            return;
        }
        let key_bytes = held.key_bytes + name.0.len();
        if held.debts.len() >= COUNTERS || key_bytes > KEY_BYTES {
            self.unpaid.fetch_add(debt.hits, Ordering::Relaxed);
            return;
        }
        held.key_bytes = key_bytes;
        held.debts.insert(name, debt);
        self.is_empty.store(false, Ordering::Relaxed);
    }

    /// The one who tells the store, if there is something to be told and nobody is at it.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Repayment> {
        if self.is_empty.load(Ordering::Relaxed) || self.is_under_way.swap(true, Ordering::Relaxed)
        {
            return None;
        }
        Some(Repayment(Arc::clone(self)))
    }

    /// Takes the next few debts.
    fn take(&self) -> Vec<(Name, Debt)> {
        let mut held = self.held.lock();
        let names: Vec<Name> = held.debts.keys().take(AT_ONCE).cloned().collect();
        let taken: Vec<_> = names.iter().filter_map(|name| held.debts.remove_entry(name)).collect();
        held.key_bytes -= taken.iter().map(|(name, _)| name.0.len()).sum::<usize>();
        self.is_empty.store(held.debts.is_empty(), Ordering::Relaxed);
        taken
    }
}

/// Tells the store of what is owed. There is one at a time.
#[derive(Debug)]
pub(super) struct Repayment(Arc<Debts>);

impl Repayment {
    /// Tells `store`, until it cannot say.
    pub(super) async fn run<S: Store>(self, store: Arc<S>) {
        let mut goes_on = true;
        while goes_on && !self.0.is_empty.load(Ordering::Relaxed) {
            let now = self.0.clock.now();
            let mut debts = self.0.take();
            debts.retain(|(_, debt)| debt.lapses > now);
            if debts.is_empty() {
                continue;
            }
            let counts = store.apply(&batch(&debts, now)).await;
            for ((name, debt), count) in debts.into_iter().zip(counts) {
                match count {
                    Ok(_) => drop(self.0.repaid.fetch_add(debt.hits, Ordering::Relaxed)),
                    Err(StoreError::Unavailable(_)) => {
                        goes_on = false;
                        self.0.hold(name, debt, now);
                    }
                    Err(_) => {
                        goes_on = false;
                        self.0.unpaid.fetch_add(debt.hits, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

impl Drop for Repayment {
    fn drop(&mut self) {
        self.0.is_under_way.store(false, Ordering::Relaxed);
    }
}

/// Spends what is owed, whether it fits or not: it was admitted.
fn batch(debts: &[(Name, Debt)], now: Timestamp) -> Batch {
    let mut batch = Batch::new(now);
    for (set, ((key, meter), debt)) in debts.iter().enumerate() {
        let meter = Meter { refused: Refused::Spend, ..*meter };
        let new = NewOperation::alone(meter, Action::Spend(debt.hits), set as u16);
        batch.push(new, |out| out.extend_from_slice(key));
    }
    batch
}

/// When hits that were counted now do not matter any more.
fn lapses(operation: &Operation, count: &Count, now: Timestamp) -> Timestamp {
    let new = count.wait.unwrap_or_default();
    let wait = match operation.meter.algorithm {
        Algorithm::FixedWindow | Algorithm::TokenBucket { .. } => new,
        Algorithm::SlidingWindow => {
            new.saturating_add(std::time::Duration::from_secs(operation.meter.window.as_secs()))
        }
    };
    let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_add(micros))
}

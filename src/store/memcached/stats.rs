//! What the store has done, counted for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// Facts for metrics, since the start unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemcachedStats {
    /// Connections opened.
    pub opened: u64,
    /// Connections open now; one for each server that is there.
    pub active: u64,
    /// Operations answered with an error.
    pub errors: u64,
    /// Increments, looks among them, by what came of them.
    pub increments: Increments,
    /// Counters begun, by what came of it.
    pub adds: Adds,
}

/// Increments by what came of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Increments {
    /// The counter was there.
    pub success: u64,
    /// It was not.
    pub miss: u64,
    /// There was no good answer.
    pub error: u64,
}

/// Counters begun, by what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adds {
    /// The counter is there now.
    pub success: u64,
    /// Another replica was faster.
    pub not_stored: u64,
    /// There was no good answer.
    pub error: u64,
}

impl MemcachedStats {
    /// Counters asked for.
    pub fn keys_requested(&self) -> u64 {
        self.increments.success + self.increments.miss + self.increments.error
    }

    /// Counters that were there.
    pub fn keys_found(&self) -> u64 {
        self.increments.success
    }
}

/// The counters behind [`MemcachedStats`].
#[derive(Debug)]
pub(super) struct Tally {
    opened: AtomicU64,
    open: watch::Sender<usize>,
    errors: AtomicU64,
    increments: [AtomicU64; 3],
    adds: [AtomicU64; 3],
}

/// What came of a command: a success, a miss or key that was there already, an error.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Success = 0,
    Other = 1,
    Error = 2,
}

/// An open connection, counted for as long as this lives.
pub(super) struct Open<'a>(&'a watch::Sender<usize>);

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            opened: AtomicU64::new(0),
            open: watch::Sender::new(0),
            errors: AtomicU64::new(0),
            increments: Default::default(),
            adds: Default::default(),
        }
    }

    pub(super) fn open(&self) -> Open<'_> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.open.send_modify(|open| *open += 1);
        Open(&self.open)
    }

    /// How many connections are open, now and later.
    pub(super) fn watch(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }

    pub(super) fn incremented(&self, outcome: Outcome) {
        self.increments[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn added(&self, outcome: Outcome) {
        self.adds[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, operations: usize) {
        if operations > 0 {
            self.errors.fetch_add(operations as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> MemcachedStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [success, miss, error] = self.increments.each_ref().map(read);
        let increments = Increments { success, miss, error };
        let [success, not_stored, error] = self.adds.each_ref().map(read);
        MemcachedStats {
            opened: read(&self.opened),
            active: *self.open.borrow() as u64,
            errors: read(&self.errors),
            increments,
            adds: Adds { success, not_stored, error },
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}

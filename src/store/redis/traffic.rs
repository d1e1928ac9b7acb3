//! What is sent to a server, counted for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::telemetry::{Histogram, Observed, Scale};

/// Counts what is sent.
pub(super) struct Meter {
    durations: Histogram,
    sizes: Histogram,
    commands: AtomicU64,
    operations: AtomicU64,
}

/// What was sent to a server since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// Where the server is.
    pub server: String,
    /// How long round trips took.
    pub durations: Observed,
    /// How many batches shared a call of the script.
    pub sizes: Observed,
    /// Commands.
    pub commands: u64,
    /// Operations in them.
    pub operations: u64,
    /// Batches that wait now.
    pub waiting: u64,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            durations: Histogram::new(Scale::seconds()),
            sizes: Histogram::new(Scale::sizes()),
            commands: AtomicU64::new(0),
            operations: AtomicU64::new(0),
        }
    }
}

impl Meter {
    /// Counts commands that were sent together, and the calls among them: how many batches
    /// share each, and how many operations those hold.
    pub(super) fn sent(&self, commands: usize, calls: impl Iterator<Item = (usize, usize)>) {
        self.commands.fetch_add(commands as u64, Ordering::Relaxed);
        for (batches, operations) in calls {
            self.sizes.observe(batches as u64);
            self.operations.fetch_add(operations as u64, Ordering::Relaxed);
        }
    }

    /// Counts a round trip.
    pub(super) fn trip(&self, elapsed: Duration) {
        self.durations.time(elapsed);
    }

    /// What was counted for that server, for which so many wait.
    pub(super) fn read(&self, server: String, waiting: usize) -> Traffic {
        Traffic {
            server,
            durations: self.durations.read(),
            sizes: self.sizes.read(),
            commands: self.commands.load(Ordering::Relaxed),
            operations: self.operations.load(Ordering::Relaxed),
            waiting: waiting as u64,
        }
    }
}

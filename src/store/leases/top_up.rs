//! Asking the store for a block, beside the requests.
//!
//! No caller waits for it, so none that goes away takes a block along. It is asked once: if
//! nobody knows whether the store has counted it, it counts as taken and is not spent.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::block::Moment;
use super::table::LeaseTable;
use crate::limiter::{Action, Batch, Count, Meter, NewOperation};
use crate::store::Store;

/// A block to be asked for. Dropped before it is settled, its outcome is unknown.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) name: u128,
    pub(super) meter: Meter,
    pub(super) hits: u64,
    /// Before the store counts it.
    pub(super) sent: Moment,
    table: Arc<LeaseTable>,
    batch: Batch,
    settled: bool,
}

/// What became of it.
pub(super) enum Outcome {
    /// The hits are ours.
    Granted(Count),
    /// They did not fit.
    Refused(Count),
    /// Nobody knows.
    Unknown,
}

impl Order {
    /// An order of hits on a counter, at the moment of the request that led to it.
    pub(super) fn new(
        table: Arc<LeaseTable>,
        (name, meter): (u128, Meter),
        (key, hits): (&[u8], u64),
        sent: Moment,
    ) -> Self {
        let mut batch = Batch::new(sent.now);
        batch.push(NewOperation::alone(meter, Action::Spend(hits), 0), |out| {
            out.extend_from_slice(key);
        });
        Self { name, meter, hits, sent, table, batch, settled: false }
    }

    /// The counter key.
    pub(super) fn key(&self) -> &[u8] {
        self.batch.operations().first().map_or(&[], |operation| self.batch.key(operation))
    }

    /// Asks `store`, beside whoever calls.
    pub(super) fn start<S: Store>(self, store: &Arc<S>) {
        // Without a runtime nothing is asked, and the order is dropped.
        if let Ok(runtime) = Handle::try_current() {
            let store = Arc::clone(store);
            runtime.spawn(async move { self.run(&*store).await });
        }
    }

    async fn run(mut self, store: &impl Store) {
        let answer = store.apply(&self.batch).await.into_iter().next();
        let outcome = match answer {
            Some(Ok(count)) if count.admitted && count.spent => Outcome::Granted(count),
            Some(Ok(count)) => Outcome::Refused(count),
            Some(Err(_)) | None => Outcome::Unknown,
        };
        self.settle(outcome);
    }

    /// Notes what became of it.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        self.settled = true;
        self.table.settle(self, outcome);
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(Outcome::Unknown);
        }
    }
}

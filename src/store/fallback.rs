//! What is answered when the store cannot say: what the limit says then, and in time.
//!
//! A decision waits for the store until its deadline, which is that of the process or the
//! caller's own, whichever is sooner. Afterwards the answer is not waited for any more: what
//! was asked may be counted or not, is never asked again, and a late reply is dropped. Each
//! part of the store gives up by itself a little before ([`Batch::wait`]), so that what
//! others have said, or what was known without asking, stands; here is the last resort.
//!
//! An operation that the store could not answer is answered as its limit says
//! ([`OnStoreError`]), and says so ([`Source::Fallback`]):
//!
//! - `error` leaves the error.
//! - `allow` admits, and counts nothing.
//! - `deny` refuses, and counts nothing.
//! - `local` counts here, with this replica's share ([`local`]); what was
//!   admitted so and certainly not counted by the store is counted there once it answers
//!   again ([`debts`]).
//!
//! In a set of several operations each failed one goes by its own limit. If one of them is
//! an error or refuses alone, those that count here only look: nothing is spent on a request
//! that does not pass. What is given back while the store cannot say is lost, which is stricter,
//! never laxer.
//!
//! Why `allow` aside nothing is admitted beyond a limit: `error` and `deny` admit nothing, and
//! for `local` the proof stands in [`local`].

mod debts;
mod local;
mod meters;
mod outage;
mod reserve;

use std::future::poll_fn;
use std::iter;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

pub use meters::Waits;
pub use reserve::{FallbackConfig, Reserve, ReserveStats};

use super::{Abilities, Counts, Store, StoreError};
use crate::limiter::Batch;
#[cfg(doc)]
use crate::limiter::Source;
#[cfg(doc)]
use crate::rules::OnStoreError;

/// Timers end up to this much late, and may not be shorter. The wait is that much shorter than
/// a deadline, so that the answer is there in time; of short deadlines a quarter.
const TICK: Duration = Duration::from_millis(1);

/// A store whose failures are answered as the limits say.
#[derive(Debug)]
pub struct Fallback<S> {
    /// Who counts.
    pub store: Arc<S>,
    /// What stands in when it cannot say; shared by all who decide.
    pub reserve: Arc<Reserve>,
    /// What it cost to ask.
    pub waits: Waits,
}

impl<S: Store> Fallback<S> {
    /// `store`, with `reserve` for when it cannot say.
    pub fn new(store: S, reserve: Arc<Reserve>) -> Self {
        Self { store: Arc::new(store), reserve, waits: Waits::default() }
    }

    /// Asks the store, and waits until the deadline. A store that has its answer at hand,
    /// such as memory, costs no timer.
    async fn ask(&self, batch: &Batch) -> Counts {
        let mut asking = pin!(self.store.apply(batch));
        let at_hand = poll_fn(|context| match asking.as_mut().poll(context) {
            Poll::Ready(counts) => Poll::Ready(Some(counts)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(counts) = at_hand.await {
            return counts;
        }
        let deadline = self.reserve.deadline(batch.patience);
        let wait = (deadline - TICK.min(deadline / 4)).max(TICK);
        let asked = Instant::now();
        let answer = tokio::time::timeout(wait, asking).await;
        self.waits.durations.time(asked.elapsed());
        match answer {
            Ok(counts) => counts,
            Err(_) => {
                let late = Err(StoreError::Timeout(wait));
                iter::repeat_n(late, batch.operations().len()).collect()
            }
        }
    }

    /// Has the store count what it missed, beside the requests.
    fn repay(&self) {
        let Some(repayment) = self.reserve.begin_repayment() else { return };
        tokio::spawn(repayment.run(Arc::clone(&self.store)));
    }
}

impl<S: Store> Store for Fallback<S> {
    async fn apply(&self, batch: &Batch) -> Counts {
        let counts = self.ask(batch).await;
        match counts.iter().find_map(|count| count.as_ref().err()) {
            None => {
                self.reserve.learn(batch, &counts);
                self.repay();
                counts
            }
            Some(error) => {
                self.reserve.note_failure(error);
                if counts.iter().any(|count| matches!(count, Err(StoreError::Timeout(_)))) {
                    self.reserve.note_late();
                }
                self.waits.record_errors(&counts);
                self.reserve.stand_in(batch, counts)
            }
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.store.probe().await?;
        self.repay();
        Ok(())
    }

    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

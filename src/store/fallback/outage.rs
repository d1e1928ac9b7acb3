//! One line in the log when the store falls silent and one when it is back, however many
//! requests see it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::store::StoreError;

/// The store is back once it has not failed for this long: a shard that is away fails some
/// requests and not others.
const CALM: Duration = Duration::from_secs(1);

/// Whether the store fails.
#[derive(Debug, Default)]
pub(super) struct Outage {
    is_on: AtomicBool,
    last: Mutex<Option<Instant>>,
}

impl Outage {
    /// It failed.
    pub(super) fn failed(&self, error: &StoreError) {
        *self.last.lock() = Some(Instant::now());
        if !self.is_on.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                reason = %error,
                "the store cannot say: limits are answered as their on_store_error says"
            );
        }
    }

    /// It answered.
    pub(super) fn answered(&self) {
        if self.is_on.load(Ordering::Relaxed)
            && self.last.lock().is_none_or(|last| last.elapsed() >= CALM)
            && self.is_on.swap(false, Ordering::Relaxed)
        {
            tracing::info!("the store answers again");
        }
    }
}

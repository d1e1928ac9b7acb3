//! Rules that were replaced, held until no request needs them.
//!
//! To free a hundred thousand rules takes tens of milliseconds, and whoever lets go of them
//! last does it. That must not be a request: so they are held here, and freed by
//! [`Replaced::free`], which is called where nobody waits.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::service::Snapshot;

/// How often it is looked whether requests still hold replaced rules.
const LOOK: Duration = Duration::from_secs(1);

/// The rules that were replaced and are not freed yet; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Replaced(Arc<Mutex<Vec<Arc<Snapshot>>>>);

impl Replaced {
    /// Holds rules that are not in force any more.
    pub(super) fn hold(&self, snapshot: Arc<Snapshot>) {
        self.0.lock().push(snapshot);
    }

    /// Frees those that nobody else holds, and tells how many others there are.
    pub fn free(&self) -> usize {
        let mut held = self.0.lock();
        // Nobody can ask for them any more, so who is alone stays alone.
        let freed: Vec<_> = held.extract_if(.., |it| Arc::strong_count(it) == 1).collect();
        let left = held.len();
        // A reload need not wait for this.
        drop(held);
        drop(freed);
        left
    }

    /// Waits until all are freed, on a thread where that holds nobody up. To be called
    /// within a runtime.
    pub async fn freed(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let replaced = self.clone();
            let left = tokio::task::spawn_blocking(move || replaced.free()).await;
            // A free that did not come to its end will not do so the next time either.
            if left.unwrap_or_default() == 0 {
                return;
            }
        }
    }
}

//! Coming to an end: the stages of a shutdown, and what is still under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The stages of a shutdown. Each implies those before it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Health turns NOT_SERVING; requests are still accepted for the drain delay.
    pub drain: CancellationToken,
    /// Listeners close, connections are told to go, what is under way is finished.
    pub stop: CancellationToken,
    /// Everything ends at once.
    pub abort: CancellationToken,
}

/// Counts the requests under way.
#[derive(Debug, Default)]
pub struct Activity(AtomicUsize);

/// A request under way.
#[derive(Debug)]
pub(super) struct UnderWay<'a>(&'a Activity);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How often and how long nothing must have been under way before it is believed: an
/// answer still has to leave the process after its request was decided.
const LOOK: Duration = Duration::from_millis(50);
const QUIET_LOOKS: u32 = 10;

impl Activity {
    /// Marks the beginning of a request; it ends when the mark is dropped.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Resolves once nothing has been under way for half a second. Connections that are
    /// still open then belong to peers that say nothing and would hold us for ever.
    pub async fn quiet(self: Arc<Self>) {
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            tokio::time::sleep(LOOK).await;
            quiet = if self.0.load(Ordering::Relaxed) == 0 { quiet + 1 } else { 0 };
        }
    }
}

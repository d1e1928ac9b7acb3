//! Coming to an end: the stages of a shutdown, and what is still under way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cells::{AtomicU64, AtomicUsize};

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

/// Counts the requests under way, and admits no more than a maximum.
#[derive(Debug)]
pub struct Activity {
    under_way: AtomicUsize,
    max: usize,
    refused: AtomicU64,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct UnderWay<'a>(&'a Activity);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How often and how long nothing must have been under way before it is believed: an
/// answer still has to leave the process after its request was decided.
const LOOK: Duration = Duration::from_millis(50);
const QUIET_LOOKS: u32 = 10;

impl Activity {
    /// Room for that many requests at a time.
    pub fn new(max: usize) -> Self {
        Self { under_way: AtomicUsize::new(0), max, refused: AtomicU64::new(0) }
    }

    /// How many requests are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// How many found no room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Marks the beginning of a request; it ends when the mark is dropped. The maximum, if
    /// there is no room: who waited for some would only be late.
    pub(super) fn begin(&self) -> Result<UnderWay<'_>, usize> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let mark = UnderWay(self);
        if before < self.max {
            return Ok(mark);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(self.max)
    }

    /// Resolves once nothing has been under way for half a second. Connections that are
    /// still open then belong to peers that say nothing and would hold us for ever.
    pub async fn quiet(self: Arc<Self>) {
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            tokio::time::sleep(LOOK).await;
            quiet = if self.under_way() == 0 { quiet + 1 } else { 0 };
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::cells::{self, thread};
    use super::*;

    #[test]
    fn no_more_are_under_way_than_there_is_room_for() {
        cells::check(|| {
            let activity = Arc::new(Activity::new(2));
            let inside = Arc::new(AtomicUsize::new(0));
            let ask = |activity: Arc<Activity>, inside: Arc<AtomicUsize>| {
                let ask_once = move || match activity.begin() {
                    Ok(_mark) => {
                        assert!(inside.fetch_add(1, Ordering::Relaxed) < 2);
                        inside.fetch_sub(1, Ordering::Relaxed);
                        0
                    }
                    Err(_) => 1,
                };
                move || (0..2).map(|_| ask_once()).sum::<u64>()
            };
            let asking = |_| thread::spawn(ask(Arc::clone(&activity), Arc::clone(&inside)));
            let threads = [0, 1, 2].map(asking);
            let refused: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!((activity.under_way(), activity.refused()), (0, refused));
            assert!(activity.begin().is_ok(), "there is room");
        });
    }
}

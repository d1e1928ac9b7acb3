//! A store that stands in for Redis behind a network that delays and loses: one server, as
//! many ways to it as there are processes.
//!
//! Time is tokio's, so a test that pauses it decides what happens when. As in Redis, a
//! counter of a fixed window has the window in its name, and all others go by the clock of
//! the server, which may run faster or slower than ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tidegate::clock::Timestamp;
use tidegate::limiter::{Batch, Window};
use tidegate::rules::Algorithm;
use tidegate::store::memory::MemoryStore;
use tidegate::store::{Counts, Store, StoreError};
use tokio::time::{Instant, sleep};

use super::stores;

/// Longer than anything that is simulated.
const FOR_EVER: Window = Window::from_secs(1 << 40);

/// The server.
pub(crate) struct Server {
    store: MemoryStore,
    began: Instant,
    epoch: Timestamp,
    /// How many parts of a million its clock is too fast.
    drift: i64,
}

impl Server {
    /// A server whose clock reads `epoch` now.
    pub(crate) fn new(epoch: Timestamp, drift: i64) -> Arc<Self> {
        Arc::new(Self { store: stores::memory(), began: Instant::now(), epoch, drift })
    }

    /// The time by its clock.
    pub(crate) fn now(&self) -> Timestamp {
        let passed = self.began.elapsed().as_micros() as i64;
        let passed = passed + passed * self.drift / 1_000_000;
        self.epoch.plus(Duration::from_micros(passed as u64))
    }

    /// Applies a batch at once.
    pub(crate) async fn apply(&self, batch: &Batch) -> Counts {
        let mut named = Batch::new(self.now());
        named.refused_sets = batch.refused_sets;
        for operation in batch.operations() {
            let mut new = operation.again();
            let start = operation.meter.window.start(batch.now);
            let is_fixed = operation.meter.algorithm == Algorithm::FixedWindow;
            if is_fixed {
                new.meter.window = FOR_EVER;
            }
            named.push(new, |key| {
                key.extend_from_slice(batch.key(operation));
                if is_fixed {
                    key.extend_from_slice(start.to_string().as_bytes());
                }
            });
        }
        self.store.apply(&named).await
    }
}

/// How a network treats calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// The longest time one way takes.
    pub(crate) delay: Duration,
    /// Of a hundred calls, so many lose the request.
    pub(crate) lost_requests: u8,
    /// Of a hundred calls, so many lose the answer.
    pub(crate) lost_answers: u8,
}

impl Weather {
    /// Nothing is lost, and all takes no time.
    pub(crate) const FINE: Self = Self { delay: Duration::ZERO, lost_requests: 0, lost_answers: 0 };
}

/// A way to the server.
pub(crate) struct Network {
    server: Arc<Server>,
    weather: Weather,
    rng: Mutex<Rng>,
    calls: AtomicUsize,
}

/// How long a caller waits for what was lost.
const TIMEOUT: Duration = Duration::from_millis(200);

impl Network {
    pub(crate) fn new(server: &Arc<Server>, weather: Weather, seed: u64) -> Self {
        let rng = Mutex::new(Rng::with_seed(seed));
        Self { server: Arc::clone(server), weather, rng, calls: AtomicUsize::new(0) }
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }
}

impl Store for Network {
    /// What is sent arrives, whether or not the caller waits for it.
    async fn apply(&self, batch: &Batch) -> Counts {
        self.calls.fetch_add(1, SeqCst);
        let delay = self.weather.delay;
        let (there, back, luck) = {
            let mut rng = self.rng.lock();
            let mut way = || delay.mul_f64(rng.f64());
            (way(), way(), rng.u8(0..100))
        };
        let Weather { lost_requests, lost_answers, .. } = self.weather;
        let sent = {
            let (server, batch) = (Arc::clone(&self.server), batch.clone());
            tokio::spawn(async move {
                if luck < lost_requests {
                    return std::future::pending().await;
                }
                if !there.is_zero() {
                    sleep(there).await;
                }
                let counts = server.apply(&batch).await;
                if luck < lost_requests + lost_answers {
                    return std::future::pending().await;
                }
                if !back.is_zero() {
                    sleep(back).await;
                }
                counts
            })
        };
        let abort = sent.abort_handle();
        match tokio::time::timeout(TIMEOUT, sent).await {
            Ok(counts) => counts.expect("the server works"),
            Err(_) => {
                abort.abort();
                let error = StoreError::Timeout(TIMEOUT);
                batch.operations().iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn name(&self) -> &'static str {
        "network"
    }
}

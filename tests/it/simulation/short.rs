//! A connection to the simulated Redis that carries batches in place of bytes.

use std::sync::Arc;

use fastrand::Rng;
use parking_lot::Mutex;
use tidegate::limiter::Batch;
use tidegate::store::refusals::Listener;
use tidegate::store::{Counts, Refusals, StoreError};
use tokio::sync::watch;
use tokio::time::{Duration, sleep, timeout};

use super::link::{State, TIMEOUT, Weather};
use super::redis::Redis;

/// A connection.
pub(super) struct Short {
    redis: Arc<Redis>,
    weather: Arc<Mutex<Weather>>,
    rng: Mutex<Rng>,
    state: watch::Sender<State>,
    listener: Mutex<Option<Listener>>,
}

impl Short {
    /// One that is not there yet.
    pub(super) fn new(
        redis: &Arc<Redis>,
        weather: &Arc<Mutex<Weather>>,
        refusals: Option<&Arc<Refusals>>,
        rng: Rng,
    ) -> Self {
        Self {
            redis: Arc::clone(redis),
            weather: Arc::clone(weather),
            rng: Mutex::new(rng),
            state: watch::Sender::new(State::Down),
            listener: Mutex::new(refusals.map(Refusals::listener)),
        }
    }

    /// Puts it into a state.
    pub(super) fn put(&self, state: State) {
        self.state.send_replace(state);
        if let Some(listener) = &mut *self.listener.lock() {
            listener.set(state == State::Up);
        }
    }

    /// Whether it is there.
    pub(super) fn probe(&self) -> Result<(), StoreError> {
        match *self.state.borrow() {
            State::Up => Ok(()),
            State::Down | State::Silent => Err(unavailable()),
        }
    }

    /// Carries a batch there, and the answer back.
    pub(super) async fn apply(&self, batch: &Batch) -> Counts {
        let mut state = self.state.subscribe();
        let now = *state.borrow_and_update();
        if now == State::Down {
            return all(batch, &unavailable());
        }
        tokio::select! {
            biased;
            _ = state.wait_for(|state| *state == State::Down) => {
                all(batch, &StoreError::Broken("reset".to_owned()))
            }
            answer = timeout(TIMEOUT, self.send(batch, now)) => {
                answer.unwrap_or_else(|_| all(batch, &StoreError::Timeout(TIMEOUT)))
            }
        }
    }

    /// What is sent arrives, whether or not the caller waits for it.
    async fn send(&self, batch: &Batch, state: State) -> Counts {
        let Weather { delay, lost_requests, lost_answers } = *self.weather.lock();
        let (there, back, luck) = {
            let mut rng = self.rng.lock();
            let mut way = || delay.mul_f64(rng.f64());
            (way(), way(), rng.u8(0..100))
        };
        if state == State::Silent || luck < lost_requests {
            return std::future::pending().await;
        }
        let (redis, batch, boot) = (Arc::clone(&self.redis), batch.clone(), self.redis.boot());
        let sent = tokio::spawn(async move {
            pause(there).await;
            // A server that has died meanwhile has not read it.
            let counts = (redis.boot() == boot).then(|| redis.apply(&batch));
            pause(back).await;
            counts
        });
        match sent.await.expect("the server works") {
            Some(counts) if luck >= lost_requests + lost_answers => counts,
            _ => std::future::pending().await,
        }
    }
}

async fn pause(span: Duration) {
    if !span.is_zero() {
        sleep(span).await;
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("no connection".to_owned())
}

fn all(batch: &Batch, error: &StoreError) -> Counts {
    batch.operations().iter().map(|_| Err(error.clone())).collect()
}

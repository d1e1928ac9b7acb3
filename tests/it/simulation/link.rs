//! The way from one replica to the simulated Redis: a few connections that delay, lose, break,
//! and fall silent.
//!
//! It says what the real link says. [`StoreError::Unavailable`] is certain: nothing was sent.
//! What was sent and not answered is [`StoreError::Broken`] or [`StoreError::Timeout`], and
//! may arrive all the same. While a connection does not hear what others give back, its
//! listener says so. The circuit breaker is part of the real link and not simulated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tidegate::limiter::Batch;
use tidegate::store::refusals::Listener;
use tidegate::store::{Counts, Refusals, Store, StoreError};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::oracle::Oracle;
use super::redis::Redis;

/// How long a call waits for what was lost.
pub(super) const TIMEOUT: Duration = Duration::from_millis(200);

/// How the network treats calls; shared by all links.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// The longest time one way takes.
    pub(super) delay: Duration,
    /// Of a hundred calls, so many lose the request.
    pub(super) lost_requests: u8,
    /// Of a hundred calls, so many lose the answer.
    pub(super) lost_answers: u8,
}

impl Weather {
    /// Nothing is lost, and all takes no time.
    pub(super) const FINE: Self = Self { delay: Duration::ZERO, lost_requests: 0, lost_answers: 0 };
}

/// How a connection fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It works.
    Up,
    /// There is none.
    Down,
    /// What is sent is swallowed.
    Silent,
}

struct Connection {
    state: watch::Sender<State>,
    listener: Mutex<Option<Listener>>,
}

/// The connections of a replica.
pub(super) struct Link {
    redis: Arc<Redis>,
    oracle: Arc<Oracle>,
    weather: Arc<Mutex<Weather>>,
    rng: Mutex<Rng>,
    connections: Vec<Connection>,
    is_dead: AtomicBool,
}

impl Link {
    /// Some connections to a server; they work if it does.
    pub(super) fn new(
        (redis, oracle): (&Arc<Redis>, &Arc<Oracle>),
        weather: &Arc<Mutex<Weather>>,
        refusals: Option<&Arc<Refusals>>,
        mut rng: Rng,
    ) -> Arc<Self> {
        let connection = |_| Connection {
            state: watch::Sender::new(State::Down),
            listener: Mutex::new(refusals.map(Refusals::listener)),
        };
        let link = Self {
            redis: Arc::clone(redis),
            oracle: Arc::clone(oracle),
            weather: Arc::clone(weather),
            connections: (0..rng.usize(1..=2)).map(connection).collect(),
            rng: Mutex::new(rng),
            is_dead: AtomicBool::new(false),
        };
        (0..link.connections.len()).for_each(|at| link.put(at, State::Up));
        Arc::new(link)
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Puts a connection into a state: without a server there is none.
    pub(super) fn put(&self, at: usize, state: State) {
        let is_possible = self.redis.boot().is_some() && !self.is_dead.load(SeqCst);
        let state = if is_possible { state } else { State::Down };
        let connection = &self.connections[at];
        connection.state.send_replace(state);
        if let Some(listener) = &mut *connection.listener.lock() {
            listener.set(state == State::Up);
        }
    }

    /// The process has died.
    pub(super) fn die(&self) {
        self.is_dead.store(true, SeqCst);
        (0..self.connections.len()).for_each(|at| self.put(at, State::Down));
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

fn all(batch: &Batch, error: &StoreError) -> Counts {
    batch.operations().iter().map(|_| Err(error.clone())).collect()
}

impl Store for Link {
    async fn apply(&self, batch: &Batch) -> Counts {
        let at = self.rng.lock().usize(..self.connections.len());
        let mut state = self.connections[at].state.subscribe();
        let now = *state.borrow_and_update();
        if now == State::Down {
            return all(batch, &StoreError::Unavailable("no connection".to_owned()));
        }
        self.oracle.sent(batch);
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

    async fn probe(&self) -> Result<(), StoreError> {
        let is_up = |connection: &Connection| *connection.state.borrow() == State::Up;
        match self.connections.iter().all(is_up) {
            true => Ok(()),
            false => Err(StoreError::Unavailable("no connection".to_owned())),
        }
    }

    fn name(&self) -> &'static str {
        "redis"
    }
}

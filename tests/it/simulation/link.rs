//! The way from one replica to the simulated Redis: a few connections that delay, lose, break,
//! and fall silent.
//!
//! In some schedules each is a [`RedisStore`] with all that belongs to it, over simulated
//! bytes. In the others it is short: it says what a real one would say, which costs less.
//! [`StoreError::Unavailable`] is certain: nothing was sent. What was sent and not answered
//! is [`StoreError::Broken`] or [`StoreError::Timeout`], and may arrive all the same. While a
//! connection does not hear what others give back, its listener says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tidegate::limiter::Batch;
use tidegate::store::redis::RedisStore;
use tidegate::store::{Counts, Refusals, Store, StoreError};

use super::oracle::Oracle;
use super::redis::Redis;
use super::short::Short;
use super::wire::Wire;

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

/// What stands below the decorators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// The store itself, which sends bytes.
    Bytes,
    /// What says what the store would say.
    Batches,
}

enum Connection {
    Whole(Arc<Wire>, RedisStore),
    Short(Short),
}

/// The connections of a replica.
pub(super) struct Link {
    redis: Arc<Redis>,
    oracle: Arc<Oracle>,
    rng: Mutex<Rng>,
    connections: Vec<Connection>,
    is_dead: AtomicBool,
}

impl Link {
    /// Some connections to a server; they work if it does.
    pub(super) fn new(
        (redis, oracle): (&Arc<Redis>, &Arc<Oracle>),
        (depth, weather): (Depth, &Arc<Mutex<Weather>>),
        refusals: Option<&Arc<Refusals>>,
        mut rng: Rng,
    ) -> Arc<Self> {
        let connections = rng.usize(1..=2);
        let connection = |_| match depth {
            Depth::Bytes => {
                let (wire, store) = Wire::new(redis, weather, refusals, rng.fork());
                Connection::Whole(wire, store)
            }
            Depth::Batches => Connection::Short(Short::new(redis, weather, refusals, rng.fork())),
        };
        let connections = (0..connections).map(connection).collect();
        let link = Self {
            redis: Arc::clone(redis),
            oracle: Arc::clone(oracle),
            connections,
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
        match &self.connections[at] {
            Connection::Whole(wire, _) => wire.put(state),
            Connection::Short(short) => short.put(state),
        }
    }

    /// The process has died.
    pub(super) fn die(&self) {
        self.is_dead.store(true, SeqCst);
        (0..self.connections.len()).for_each(|at| self.put(at, State::Down));
    }
}

impl Store for Link {
    async fn apply(&self, batch: &Batch) -> Counts {
        let at = self.rng.lock().usize(..self.connections.len());
        self.oracle.sent(batch);
        let counts = match &self.connections[at] {
            Connection::Whole(_, store) => store.apply(batch).await,
            Connection::Short(short) => short.apply(batch).await,
        };
        self.oracle.returned(batch, &counts);
        counts
    }

    async fn probe(&self) -> Result<(), StoreError> {
        for connection in &self.connections {
            match connection {
                Connection::Whole(_, store) => store.probe().await?,
                Connection::Short(short) => short.probe()?,
            }
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        "redis"
    }
}

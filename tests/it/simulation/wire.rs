//! What connects one store of a replica with the simulated Redis: its bytes, at least.
//!
//! A stream delivers in order, and late; it breaks, or falls silent until it is given up.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tidegate::store::Refusals;
use tidegate::store::redis::{Breaking, RedisConfig, RedisStore, SocketType, Wiring};
use tokio::sync::watch;

use super::link::{State, TIMEOUT, Weather};
use super::redis::{Redis, Session};

/// What may be on its way at once.
const BYTES: usize = 1 << 20;

/// The way to the server.
pub(super) struct Wire {
    state: watch::Sender<State>,
    weather: Arc<Mutex<Weather>>,
    rng: Mutex<Rng>,
}

/// What becomes of a few bytes and of the answer to them.
pub(super) struct Fate {
    pub(super) there: Duration,
    pub(super) back: Duration,
    pub(super) loses_requests: bool,
    pub(super) loses_answers: bool,
}

impl Wire {
    /// A way that is closed, and a store at this end of it.
    pub(super) fn new(
        redis: &Arc<Redis>,
        weather: &Arc<Mutex<Weather>>,
        refusals: Option<&Arc<Refusals>>,
        mut rng: Rng,
    ) -> (Arc<Self>, RedisStore) {
        let mut config = RedisConfig::new("redis:6379", SocketType::Tcp, None).expect("an address");
        config.timeout = TIMEOUT;
        // Clocks of replicas differ by less.
        config.key_slack_secs = 10;
        config.expiration_jitter_max_secs = rng.u64(0..3);
        config.max_operations_per_call = [1, 3, 1000][rng.usize(..3)];
        config.max_waiting = [8, 1000][rng.usize(..2)];
        let slow_after = Duration::from_millis(rng.u64(5..40));
        config.dialing.breaking = Breaking { slow_after, slow_calls: rng.u32(0..4) };
        let wire = Arc::new(Self {
            state: watch::Sender::new(State::Down),
            weather: Arc::clone(weather),
            rng: Mutex::new(rng),
        });
        let (own, redis) = (Arc::clone(&wire), Arc::clone(redis));
        config.dialing.wiring = Wiring::within(move |_| {
            let (wire, redis) = (Arc::clone(&own), Arc::clone(&redis));
            Box::pin(async move { wire.open(redis).await })
        });
        (wire, RedisStore::connect_for(config, refusals.cloned()))
    }

    async fn open(self: Arc<Self>, redis: Arc<Redis>) -> io::Result<tokio::io::DuplexStream> {
        let state = *self.state.borrow();
        match state {
            State::Up if redis.boot().is_some() => {
                let (near, far) = tokio::io::duplex(BYTES);
                tokio::spawn(Session::serve(redis, self, far));
                Ok(near)
            }
            State::Silent => std::future::pending().await,
            State::Up | State::Down => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Puts it into a state.
    pub(super) fn put(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Whether what is sent is swallowed now.
    pub(super) fn is_silent(&self) -> bool {
        *self.state.borrow() == State::Silent
    }

    /// Ends when there is no way any more.
    pub(super) async fn broken(&self) {
        // The sender is here.
        let _ = self.state.subscribe().wait_for(|state| *state == State::Down).await;
    }

    /// What becomes of the next few bytes.
    pub(super) fn fate(&self) -> Fate {
        let Weather { delay, lost_requests, lost_answers } = *self.weather.lock();
        let mut rng = self.rng.lock();
        // A loss is followed by silence, so losses are ten times as rare as they are where
        // they are lone.
        let mut is_lost = |odds: u8| rng.u16(0..1000) < odds.into();
        let (loses_requests, loses_answers) = (is_lost(lost_requests), is_lost(lost_answers));
        // What is lost and sent again by the network is late.
        let stalls = rng.u16(0..1000) < 2 * u16::from(lost_answers);
        let stall = Duration::from_millis(if stalls { rng.u64(10..150) } else { 0 });
        let mut way = || delay.mul_f64(rng.f64());
        Fate { there: way(), back: way() + stall, loses_requests, loses_answers }
    }
}

//! A second Redis for the counters of one second, which are many and short-lived.
//!
//! Windows decide, not keys: a limit per second counts there, whatever its algorithm. A
//! longer window does not, also where rules write it as several seconds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{Circuit, RedisConfig, RedisStats, RedisStore, Traffic};
use crate::limiter::{Batch, Operation};
use crate::store::refusals::Refusals;
use crate::store::split::{self, Shards};
use crate::store::{Counts, Store, StoreError};

/// Counters in two Redis, asked at once.
///
/// What one of them fails to say is the error of its operations only. A set with counters
/// in both is reserved in each and undone if it is refused; it fails whole.
pub struct PerSecondStore {
    pair: Arc<Pair>,
    up: watch::Receiver<bool>,
    _watcher: AbortOnDropHandle<()>,
}

struct Pair {
    main: RedisStore,
    per_second: RedisStore,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Main,
    PerSecond,
}

impl PerSecondStore {
    /// A store that connects in the background; an absent Redis is no error here.
    ///
    /// To be called within a Tokio runtime.
    pub fn connect(main: RedisConfig, per_second: RedisConfig) -> Self {
        Self::connect_for(main, per_second, None)
    }

    /// The same, and `refusals` hears of all that is given back, also by other processes.
    pub fn connect_for(
        main: RedisConfig,
        per_second: RedisConfig,
        refusals: Option<Arc<Refusals>>,
    ) -> Self {
        let main = RedisStore::connect_for(main, refusals.clone());
        let per_second = RedisStore::connect_for(per_second, refusals);
        let (told, up) = watch::channel(false);
        let watcher = both(main.connected(), per_second.connected(), told);
        Self {
            pair: Arc::new(Pair { main, per_second }),
            up,
            _watcher: AbortOnDropHandle::new(tokio::spawn(watcher)),
        }
    }

    /// Both addresses without credentials, for logs.
    pub fn describe(&self) -> String {
        let Pair { main, per_second } = &*self.pair;
        format!("{}, per second {}", main.describe(), per_second.describe())
    }

    /// Whether both are connected, now and whenever that changes.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.up.clone()
    }

    /// The one for all limits but those per second.
    pub fn main(&self) -> &RedisStore {
        &self.pair.main
    }

    /// What was sent to both, as of now.
    pub fn traffic(&self) -> Vec<Traffic> {
        let Pair { main, per_second } = &*self.pair;
        main.traffic().into_iter().chain(per_second.traffic()).collect()
    }

    /// The circuits to both, as of now.
    pub fn circuits(&self) -> Vec<Circuit> {
        let Pair { main, per_second } = &*self.pair;
        main.circuits().into_iter().chain(per_second.circuits()).collect()
    }

    /// Facts for metrics, of the main Redis and the one of seconds.
    pub fn stats(&self) -> [RedisStats; 2] {
        [self.pair.main.stats(), self.pair.per_second.stats()]
    }
}

/// Tells whether both are up, for ever.
async fn both(
    mut main: watch::Receiver<bool>,
    mut per_second: watch::Receiver<bool>,
    told: watch::Sender<bool>,
) {
    loop {
        let up = *main.borrow_and_update() && *per_second.borrow_and_update();
        told.send_if_modified(|told| std::mem::replace(told, up) != up);
        let changed = tokio::select! {
            changed = main.changed() => changed,
            changed = per_second.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

impl Pair {
    fn side(&self, side: Side) -> &RedisStore {
        match side {
            Side::Main => &self.main,
            Side::PerSecond => &self.per_second,
        }
    }
}

impl Shards for Pair {
    type Shard = Side;

    fn shard(&self, _: &Batch, operation: &Operation) -> Side {
        if operation.meter.window.as_secs() == 1 { Side::PerSecond } else { Side::Main }
    }

    async fn call(&self, shard: Side, batch: &Batch) -> Counts {
        self.side(shard).apply(batch).await
    }

    fn timeout(&self) -> Duration {
        self.main.config.timeout.max(self.per_second.config.timeout)
    }
}

impl Store for PerSecondStore {
    async fn apply(&self, batch: &Batch) -> Counts {
        split::apply(&self.pair, batch).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let (main, per_second) = tokio::join!(self.pair.main.probe(), self.pair.per_second.probe());
        main.and(per_second)
    }

    fn name(&self) -> &'static str {
        "redis"
    }
}

impl fmt::Debug for PerSecondStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pair { main, per_second } = &*self.pair;
        f.debug_struct("PerSecondStore")
            .field("main", main)
            .field("per_second", per_second)
            .finish()
    }
}

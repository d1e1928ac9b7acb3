//! One replica: the real core with the real decorators, over a simulated link, and a witness
//! between the two halves of each decision.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tidegate::app::Core;
use tidegate::clock::{Clock, ManualClock, Timestamp};
use tidegate::limiter::{Action, Batch};
use tidegate::settings::Settings;
use tidegate::sources::Outcome;
use tidegate::sources::files::FileSet;
use tidegate::store::{
    Abilities, Counts, Fallback, FallbackConfig, HashKeys, LeaseConfig, LeaseTable, Leases,
    RefusalCache, Refusals, Reserve, Store, StoreError,
};

use super::link::{Depth, Link, Weather};
use super::oracle::Oracle;
use super::redis::Redis;

type Stack = Fallback<Leases<RefusalCache<Arc<Link>>>>;

/// What all replicas share.
pub(super) struct Shared {
    pub(super) redis: Arc<Redis>,
    pub(super) oracle: Arc<Oracle>,
    pub(super) weather: Arc<Mutex<Weather>>,
    pub(super) replicas: u32,
    pub(super) depth: Depth,
}

/// A process.
pub(super) struct Replica {
    pub(super) core: Core<Tap>,
    pub(super) stack: Arc<Stack>,
    pub(super) link: Arc<Link>,
    pub(super) deadline: Duration,
    clock: ManualClock,
    redis: Arc<Redis>,
    skew: Mutex<i64>,
}

/// Sees what a decision asks and hears.
pub(super) struct Tap {
    stack: Arc<Stack>,
    oracle: Arc<Oracle>,
    process: u64,
}

/// What a request has seen of its operations.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// One of them that refuses alone was refused.
    pub(super) is_refused: bool,
    /// One of them got no answer.
    pub(super) is_unanswered: bool,
}

tokio::task_local! {
    /// Of the request under way.
    pub(super) static SEEN: Cell<Seen>;
}

impl Replica {
    /// A process that starts, without rules.
    pub(super) fn start(shared: &Shared, process: u64, rng: &mut Rng) -> Arc<Self> {
        let clock = ManualClock::at(shared.redis.smooth());
        let keys = HashKeys::fixed(rng.u64(..));
        let refusals = rng.bool().then(|| Arc::new(Refusals::keyed(0, None, keys)));
        if let (Some(refusals), Depth::Batches) = (&refusals, shared.depth) {
            shared.redis.tell(Arc::clone(refusals));
        }
        let ends = (&shared.redis, &shared.oracle);
        let way = (shared.depth, &shared.weather);
        let link = Link::new(ends, way, refusals.as_ref(), rng.fork());
        let leases = LeaseConfig {
            period: Duration::from_millis(rng.u64(100..1000)),
            max_leases: rng.usize(1..10),
            replicas: shared.replicas,
        };
        let deadline = Duration::from_millis(rng.u64(5..25));
        let fallback = FallbackConfig {
            deadline,
            replicas: shared.replicas,
            max_counters: 1000 + rng.usize(5..50),
        };
        let reserve = Arc::new(Reserve::keyed(fallback, Clock::Manual(clock.clone()), keys));
        let cache = RefusalCache { store: Arc::clone(&link), refusals };
        let table = Some(Arc::new(LeaseTable::keyed(leases, keys)));
        let stack = Arc::new(Fallback::new(Leases::new(cache, table), reserve));
        let tap = Tap { stack: Arc::clone(&stack), oracle: Arc::clone(&shared.oracle), process };
        static SETTINGS: OnceLock<Settings> = OnceLock::new();
        let settings = SETTINGS.get_or_init(|| Settings::from_lookup(&|_| None, &[]).unwrap());
        let core = Core::new(settings, tap, Clock::Manual(clock.clone()));
        let (redis, skew) = (Arc::clone(&shared.redis), Mutex::new(0));
        Arc::new(Self { core, stack, link, deadline, clock, redis, skew })
    }

    /// Puts rules into force.
    pub(super) fn load(&self, rules: FileSet) {
        let outcome = self.core.reloader.apply(Ok(rules));
        assert_eq!(outcome, Outcome::InForce);
    }

    /// Sets its clock that far from the server's, in microseconds.
    pub(super) fn set_clock(&self, skew: i64) {
        *self.skew.lock() = skew;
        self.now();
    }

    /// The time by its clock, which it reads from now on.
    pub(super) fn now(&self) -> Timestamp {
        let skewed = self.redis.smooth().as_micros().saturating_add_signed(*self.skew.lock());
        let now = Timestamp::from_micros(skewed);
        self.clock.set(now);
        now
    }

    /// What it does from time to time: gives back what it does not need, and asks the store
    /// for a sign of life.
    pub(super) async fn tend(self: Arc<Self>) {
        self.stack.store.tend(self.now()).await;
        // What fails here is seen elsewhere.
        let _ = self.stack.probe().await;
    }

    /// Ends it in good order.
    pub(super) async fn drain(self: Arc<Self>) {
        self.stack.store.give_back_all(self.now(), Duration::from_millis(500)).await;
        self.link.die();
    }
}

impl Store for Tap {
    async fn apply(&self, batch: &Batch) -> Counts {
        let asked = self.oracle.asked(batch, self.process);
        let counts = self.stack.apply(batch).await;
        self.oracle.answered(batch, &counts, asked);
        let mut seen = Seen::default();
        for (operation, count) in batch.operations().iter().zip(&counts) {
            let is_shadow = batch.key(operation).windows(6).any(|text| text == b"shadow");
            let may_refuse =
                matches!(operation.action, Action::Spend(_)) && !is_shadow && !operation.part.quota;
            seen.is_unanswered |= count.is_err();
            seen.is_refused |= may_refuse && count.as_ref().is_ok_and(|count| !count.admitted);
        }
        // Nobody else than requests asks through here.
        SEEN.with(|cell| cell.set(seen));
        counts
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.stack.probe().await
    }

    fn name(&self) -> &'static str {
        "redis"
    }

    fn abilities(&self) -> Abilities {
        self.stack.abilities()
    }
}

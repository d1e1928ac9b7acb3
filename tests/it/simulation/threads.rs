//! What the simulation, which has one thread, cannot show: the decorators shared by threads
//! that give way to each other at moments of a seed's choice.
//!
//! Their cells are counters and flags beside locked shards, so what is looked for is a step
//! between two locks in which something is counted twice or left behind.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tidegate::clock::{Clock, ManualClock, Timestamp};
use tidegate::limiter::{Action, Batch, Leeway, Meter, NewOperation, Refused, Window};
use tidegate::rules::{Accuracy, Algorithm, OnStoreError};
use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::store::{
    Counts, Fallback, FallbackConfig, LeaseConfig, LeaseTable, Leases, RefusalCache, Refusals,
    Reserve, Store, StoreError,
};
use tokio::task::JoinSet;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const LIMIT: u32 = 400;
const TASKS: u64 = 8;
const SEEDS: u64 = 60;

/// A store that gives way before and after it counts, and sometimes says that it is not there.
struct Yielding {
    store: MemoryStore,
    rng: Mutex<Rng>,
    fails: u8,
}

impl Yielding {
    fn give_way(&self) {
        let times = self.rng.lock().u8(0..4);
        (0..times).for_each(|_| std::thread::yield_now());
    }
}

impl Store for Yielding {
    async fn apply(&self, batch: &Batch) -> Counts {
        self.give_way();
        tokio::task::yield_now().await;
        if self.rng.lock().u8(0..100) < self.fails {
            let error = StoreError::Unavailable("away".to_owned());
            return batch.operations().iter().map(|_| Err(error.clone())).collect();
        }
        let counts = self.store.apply(batch).await;
        self.give_way();
        tokio::task::yield_now().await;
        counts
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn name(&self) -> &'static str {
        "yielding"
    }
}

type Stack = Fallback<Leases<RefusalCache<Arc<Yielding>>>>;

struct Shared {
    stack: Stack,
    store: Arc<Yielding>,
    refusals: Arc<Refusals>,
    meter: Meter,
    leeway: Leeway,
}

fn shared(seed: u64, leeway: Leeway, fails: u8) -> Arc<Shared> {
    let mut rng = Rng::with_seed(seed);
    let algorithms =
        [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: LIMIT }];
    let algorithm = algorithms[rng.usize(..3)];
    let window = Window::from_secs(1_000_000);
    let meter = Meter { algorithm, rate: LIMIT, window, refused: Refused::Spare };
    let store = MemoryStore::new(MemoryConfig { max_counters: 1000 });
    let store = Arc::new(Yielding { store, rng: Mutex::new(rng), fails });
    let refusals = Arc::new(Refusals::new(0, None));
    let cache = RefusalCache { store: Arc::clone(&store), refusals: Some(Arc::clone(&refusals)) };
    let table = Arc::new(LeaseTable::new(LeaseConfig::default()));
    let fallback =
        FallbackConfig { deadline: Duration::from_secs(20), replicas: 1, max_counters: 100 };
    let reserve = Arc::new(Reserve::new(fallback, Clock::Manual(ManualClock::at(NOW))));
    let stack = Fallback::new(Leases::new(cache, Some(table)), reserve);
    Arc::new(Shared { stack, store, refusals, meter, leeway })
}

impl Shared {
    async fn ask(&self, action: Action) -> u64 {
        let mut batch = Batch::new(NOW);
        let new =
            NewOperation { leeway: self.leeway, ..NewOperation::alone(self.meter, action, 0) };
        batch.push(new, |key| key.extend_from_slice(b"k"));
        let count = self.stack.apply(&batch).await.remove(0);
        match (action, count) {
            (Action::Spend(hits), Ok(count)) if count.admitted && count.spent => hits,
            _ => 0,
        }
    }

    async fn held(&self) -> u64 {
        let mut batch = Batch::new(NOW);
        batch.push(NewOperation::alone(self.meter, Action::Spend(0), 0), |key| {
            key.extend_from_slice(b"k");
        });
        self.store.store.apply(&batch).await.remove(0).unwrap().after
    }

    /// Many ask at once, while some tend and a listener goes deaf and hears again; tells how
    /// many hits were admitted.
    async fn storm(self: &Arc<Self>) -> u64 {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let this = Arc::clone(self);
            tasks.spawn(async move {
                let mut admitted = 0;
                for at in 0..120 {
                    admitted += this.ask(Action::Spend(1 + (task + at) % 3)).await;
                    if at % 16 == task {
                        this.stack.store.tend(NOW).await;
                        let mut listener = this.refusals.listener();
                        listener.set(at % 32 == task);
                    }
                }
                admitted
            });
        }
        tasks.join_all().await.into_iter().sum()
    }
}

fn run(test: impl AsyncFn(u64)) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build();
    let runtime = runtime.expect("a runtime");
    for seed in 0..SEEDS {
        runtime.block_on(test(seed));
    }
}

#[test]
fn threads_that_share_leases_are_never_over_together() {
    run(async |seed| {
        let leeway = Leeway { accuracy: Accuracy::Leased, on_store_error: OnStoreError::Error };
        let shared = shared(seed, leeway, 5);
        let admitted = shared.storm().await;
        let most = u64::from(LIMIT);
        assert!(admitted <= most, "seed {seed}: {admitted} of {most}");
        let held = shared.held().await;
        assert!(held <= most && admitted <= held, "seed {seed}: {admitted} and {held} are held");
        assert!(shared.refusals.is_active(), "seed {seed}: all who listened are gone");
    });
}

#[test]
fn threads_that_count_for_themselves_tell_each_hit_once() {
    run(async |seed| {
        let leeway = Leeway { accuracy: Accuracy::Exact, on_store_error: OnStoreError::Local };
        let shared = shared(seed, leeway, 30);
        let admitted = shared.storm().await;
        let told = async {
            while shared.stack.reserve.stats().owed > 0 {
                shared.ask(Action::Spend(0)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("the end of the debts");
        // The last report may still be under way. (Of a window that is full no more is told
        // than that, and a bucket holds no more than its burst.)
        let least = admitted.min(LIMIT.into());
        let arrived = async {
            while shared.held().await < least {
                tokio::task::yield_now().await;
            }
        };
        let honest = tokio::time::timeout(Duration::from_secs(20), arrived).await;
        let held = shared.held().await;
        assert!(held <= admitted, "seed {seed}: {admitted} admitted, {held} are held");
        honest.unwrap_or_else(|_| panic!("seed {seed}: {admitted} admitted, {held} are held"));
    });
}

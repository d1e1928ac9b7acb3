//! The refusal cache: it refuses what its store would refuse, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tidegate::clock::Timestamp;
use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::{
    Action, Batch, Count, Meter, NewOperation, Refused, RefusedSets, Source, Window,
};
use tidegate::rules::Algorithm;
use tidegate::store::memory::MemoryStore;
use tidegate::store::{Counts, RefusalCache, Refusals, Store, StoreError};
use tokio::sync::Semaphore;

use super::{LIMIT, batch_of_sets, count, counts, meter};
use crate::support::stores;

const START: u64 = 1_700_000_000_000_000;
const SMALLEST: usize = 0;

/// A store that counts its calls, and keeps its answers back until it may give them.
struct Gated {
    store: MemoryStore,
    calls: AtomicUsize,
    answers: Semaphore,
}

impl Gated {
    fn open() -> Self {
        Self { answers: Semaphore::new(Semaphore::MAX_PERMITS), ..Self::closed() }
    }

    fn closed() -> Self {
        Self { store: stores::memory(), calls: AtomicUsize::new(0), answers: Semaphore::new(0) }
    }
}

impl Store for Gated {
    async fn apply(&self, batch: &Batch) -> Counts {
        self.calls.fetch_add(1, SeqCst);
        let counts = self.store.apply(batch).await;
        self.answers.acquire().await.unwrap().forget();
        counts
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.store.probe().await
    }

    fn name(&self) -> &'static str {
        "gated"
    }
}

fn caching<S: Store>(store: S) -> RefusalCache<S> {
    RefusalCache::new(store, Some(Refusals::new(SMALLEST, None)))
}

fn hour() -> Meter {
    Meter { refused: Refused::Spend, ..meter(Algorithm::FixedWindow, 10, 3600) }
}

async fn spend(store: &impl Store, meter: Meter, hits: u64) -> Count {
    count(store, START, ("k", meter), Spend(hits)).await
}

#[tokio::test]
async fn what_is_exhausted_is_refused_without_asking() {
    let store = caching(Gated::open());
    assert!(spend(&store, hour(), 10).await.admitted);
    let first = spend(&store, hour(), 1).await;
    assert_eq!((first.admitted, first.source), (false, Source::Store));
    let asked = store.store.calls.load(SeqCst);
    let again = spend(&store, hour(), 1).await;
    assert_eq!((again.admitted, again.spent, again.source), (false, false, Source::RefusalCache));
    assert_eq!(again.wait, first.wait);
    assert_eq!(store.store.calls.load(SeqCst), asked);
    let stats = store.refusals.as_ref().unwrap().stats();
    assert_eq!((stats.lookups, stats.hits, stats.entries), (3, 1, 1));
}

#[tokio::test]
async fn another_window_limit_or_number_of_hits_is_judged_by_itself() {
    let store = caching(stores::memory());
    spend(&store, hour(), 10).await;
    assert!(!spend(&store, hour(), 5).await.admitted);
    // The counter holds 15, as refused hits count.
    assert!(spend(&store, Meter { rate: 16, ..hour() }, 1).await.admitted);
    assert!(!spend(&store, Meter { rate: 16, ..hour() }, 1).await.admitted);
    let next = count(&store, START + 3_600_000_000, ("k", hour()), Spend(10)).await;
    assert!(next.admitted);
    let sliding = meter(Algorithm::SlidingWindow, 10, 3600);
    assert!(count(&store, START, ("s", sliding), Spend(8)).await.admitted);
    assert!(!count(&store, START, ("s", sliding), Spend(5)).await.admitted);
    assert!(count(&store, START, ("s", sliding), Spend(2)).await.admitted);
}

#[tokio::test]
async fn what_is_given_back_can_be_spent_again() {
    for algorithm in
        [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: 10 }]
    {
        let store = caching(stores::memory());
        let meter = meter(algorithm, 10, 3600);
        spend(&store, meter, 10).await;
        assert!(!spend(&store, meter, 1).await.admitted);
        assert_eq!(spend(&store, meter, 1).await.source, Source::RefusalCache, "{algorithm:?}");
        count(&store, START, ("k", meter), GiveBack(1)).await;
        assert!(spend(&store, meter, 1).await.admitted, "{algorithm:?}");
    }
}

/// How a counter is forgotten while an answer about it is under way.
#[derive(Clone, Copy, Debug)]
enum Forgotten {
    /// Another process says that it gave hits back.
    Told,
    /// This one gives them back.
    GivenBack,
    /// There is a connection again that tells what was not heard in between.
    Listening,
}

async fn is_not_hidden_by_an_old_answer(how: Forgotten) {
    let store = Arc::new(caching(Gated::closed()));
    let refusals = store.refusals.as_ref().unwrap();
    let answer = |n| store.store.answers.add_permits(n);
    answer(1);
    spend(&*store, hour(), 10).await;
    // Refused in the store, the answer still under way.
    let refused = tokio::spawn({
        let store = Arc::clone(&store);
        async move { spend(&*store, hour(), 1).await }
    });
    while store.store.calls.load(SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    // The store has given back, and that is known first.
    let back = batch_of_sets(START, &[&[("k", hour(), GiveBack(5), LIMIT)]]);
    match how {
        Forgotten::Told => {
            store.store.store.apply(&back).await;
            refusals.forget(format!("k{}", 1_700_000_000 / 3600 * 3600).as_bytes());
        }
        Forgotten::GivenBack => {
            // Who came first is answered first: that answer is held back by hand.
            let quick = RefusalCache { store: stores::memory(), refusals: store.refusals.clone() };
            store.store.store.apply(&back).await;
            quick.apply(&back).await;
        }
        Forgotten::Listening => {
            store.store.store.apply(&back).await;
            refusals.listener().set(true);
        }
    }
    answer(1);
    assert!(!refused.await.unwrap().admitted, "{how:?}");
    answer(1);
    assert!(spend(&*store, hour(), 1).await.admitted, "{how:?}");
}

#[tokio::test]
async fn an_old_answer_does_not_hide_what_was_given_back_meanwhile() {
    for how in [Forgotten::Told, Forgotten::GivenBack, Forgotten::Listening] {
        is_not_hidden_by_an_old_answer(how).await;
    }
}

#[tokio::test]
async fn while_a_listener_is_deaf_the_cache_rests_and_then_has_forgotten() {
    let store = caching(stores::memory());
    let refusals = store.refusals.as_ref().unwrap();
    let source = async || spend(&store, hour(), 11).await.source;
    source().await;
    assert_eq!(source().await, Source::RefusalCache);
    let (mut one, mut other) = (refusals.listener(), refusals.listener());
    assert_eq!(source().await, Source::Store, "neither hears yet");
    one.set(true);
    assert_eq!(source().await, Source::Store, "one does not hear yet");
    other.set(true);
    assert_eq!(source().await, Source::Store, "all was forgotten");
    assert_eq!(source().await, Source::RefusalCache);
    one.set(false);
    assert_eq!(source().await, Source::Store);
    drop(one);
    assert_eq!(source().await, Source::RefusalCache, "who is gone need not hear");
    refusals.forget(format!("k{}", 1_700_000_000 / 3600 * 3600).as_bytes());
    assert_eq!(source().await, Source::Store);
}

#[tokio::test]
async fn a_fact_grows_no_older_than_it_may() {
    let refusals = Refusals::new(SMALLEST, Some(Duration::from_secs(1)));
    let store = RefusalCache::new(stores::memory(), Some(refusals));
    let source = async |micros| count(&store, micros, ("k", hour()), Spend(11)).await.source;
    assert_eq!(source(START).await, Source::Store);
    assert_eq!(source(START + 999_999).await, Source::RefusalCache);
    assert_eq!(source(START + 1_000_000).await, Source::Store);
    assert_eq!(source(START + 999_999).await, Source::Store, "a clock that went back");
}

#[tokio::test]
async fn all_or_nothing_always_asks() {
    let store = caching(Gated::open());
    let spare = meter(Algorithm::FixedWindow, 10, 3600);
    spend(&store, spare, 10).await;
    spend(&store, spare, 1).await;
    let asked = store.store.calls.load(SeqCst);
    let set: &[_] = &[("k", spare, Spend(1), LIMIT), ("other", spare, Spend(4), LIMIT)];
    let both = counts(&store, START, &[set]).await;
    assert_eq!((both[0].admitted, both[1].admitted, both[1].spent), (false, true, false));
    assert_eq!(store.store.calls.load(SeqCst), asked + 1);
}

#[tokio::test]
async fn beside_one_that_is_known_to_be_over_others_only_look() {
    let store = caching(stores::memory());
    spend(&store, hour(), 11).await;
    let set: &[_] = &[("k", hour(), Spend(1), LIMIT), ("other", hour(), Spend(4), LIMIT)];
    let mut batch = batch_of_sets(START, &[set]);
    batch.refused_sets = RefusedSets::SpendWhatIsOver;
    for _ in 0..3 {
        let both: Vec<Count> = store.apply(&batch).await.into_iter().map(Result::unwrap).collect();
        assert_eq!((both[0].admitted, both[0].source), (false, Source::RefusalCache));
        assert_eq!((both[1].admitted, both[1].spent, both[1].after), (true, false, 0));
    }
}

#[tokio::test]
async fn a_flood_of_counters_leaves_it_as_small_as_it_is() {
    let store = caching(stores::memory());
    let zero = Meter { rate: 0, ..hour() };
    for n in 0..50_000 {
        count(&store, START, (&format!("k{n}"), zero), Spend(1)).await;
    }
    let stats = store.refusals.as_ref().unwrap().stats();
    let bound = 512 * 1024 / 64;
    assert!(stats.entries > bound / 4 && stats.entries <= bound, "{stats:?}");
    assert_eq!(stats.entries + stats.evicted, 50_000, "{stats:?}");
}

/// Microseconds forward, microseconds back, key, meter, action.
type Line = (u64, u64, u8, Meter, Action);

fn line() -> impl Strategy<Value = Line> {
    let algorithm = prop::sample::select(vec![
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
        Algorithm::TokenBucket { burst: 4 },
        Algorithm::TokenBucket { burst: 6 },
    ]);
    let refused = prop::sample::select(vec![Refused::Spend, Refused::Spare]);
    let meter = (algorithm, 0_u32..7, refused).prop_map(|(algorithm, rate, refused)| Meter {
        algorithm,
        rate,
        window: Window::from_secs(60),
        refused,
    });
    let action = prop_oneof![6 => (0_u64..5).prop_map(Spend), 1 => (0_u64..5).prop_map(GiveBack)];
    let forward = prop_oneof![2 => Just(0_u64), 2 => 0_u64..3_000_000, 1 => 0_u64..90_000_000];
    let back = prop_oneof![5 => Just(0_u64), 1 => 0_u64..2_000_000];
    (forward, back, 0_u8..2, meter, action)
}

/// Whether the hits would fit, asked without a trace.
fn fits(runtime: &tokio::runtime::Runtime, store: &MemoryStore, batch: &Batch) -> bool {
    let mut probe = Batch::new(batch.now);
    let operation = &batch.operations()[0];
    let meter = Meter { refused: Refused::Spare, ..operation.meter };
    // Beside one that never fits, nothing is spent.
    let never = Meter { rate: 0, ..meter };
    let new = |meter, action| NewOperation { part: LIMIT, ..NewOperation::alone(meter, action, 0) };
    probe.push(new(meter, operation.action), |key| key.extend_from_slice(batch.key(operation)));
    probe.push(new(never, Spend(u64::MAX)), |key| key.extend_from_slice(b"never"));
    runtime.block_on(store.apply(&probe))[0].as_ref().unwrap().admitted
}

#[test]
fn every_refusal_is_one_that_the_store_would_give() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let refusals = AtomicUsize::new(0);
    let settings = ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() };
    let histories = prop::collection::vec(line(), 1..60);
    let checked = TestRunner::new(settings).run(&histories, |history| {
        let store = caching(stores::memory());
        let mut now = START;
        for (forward, back, key, meter, action) in history {
            now += forward;
            // A store whose clock went back behind a border counts in the later window on:
            // what it says is not about the window that the counter's name has then.
            now = (now - back).max(now - now % 60_000_000);
            let algorithm = std::mem::discriminant(&meter.algorithm);
            let key = format!("{key}:{algorithm:?}:");
            let mut batch = Batch::new(Timestamp::from_micros(now));
            batch.push(NewOperation::alone(meter, action, 0), |to| {
                to.extend_from_slice(key.as_bytes());
            });
            let would_fit = fits(&runtime, &store.store, &batch);
            let count = *runtime.block_on(store.apply(&batch))[0].as_ref().unwrap();
            if matches!(action, Spend(_)) {
                prop_assert_eq!(count.admitted, would_fit, "{:?} at {}", meter, now);
            }
            if count.source == Source::RefusalCache {
                refusals.fetch_add(1, SeqCst);
            }
        }
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(refusals.load(SeqCst) > 300, "{refusals:?}");
}

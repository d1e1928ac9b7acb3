//! The memory store: its bound, its sweep, and many hands on one counter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate::clock::Timestamp;
use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::{Meter, Refused, Window};
use tidegate::rules::Algorithm;
use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::store::{Store, StoreError};

use super::{Entry, LIMIT, apply, batch_of_sets, count, five_in_ten, values};

/// More keys than any shard has to itself.
const MANY: u64 = 2_000;
/// The first microsecond of a window of ten seconds.
const MOMENT: u64 = 1_700_000_000_000_000;

fn store(max_counters: usize) -> MemoryStore {
    MemoryStore::new(MemoryConfig { max_counters })
}

fn keys() -> impl Iterator<Item = String> {
    (0..MANY).map(|at| format!("key_{at}_"))
}

/// A round of sweeps: every shard is visited.
fn sweep_all(store: &MemoryStore, secs: u64) -> usize {
    (0..store.sweeps()).map(|_| store.sweep(Timestamp::from_secs(secs))).sum()
}

#[tokio::test]
async fn at_the_cap_new_counters_are_refused_and_old_ones_count() {
    let store = store(2);
    assert_eq!(values(&store, 60, &[("a", 60, Spend(1)), ("b", 60, Spend(1))]).await, [1, 1]);
    assert_eq!(
        apply(&store, 60, &[("c", 60, Spend(1)), ("a", 60, Spend(1))]).await,
        [Err(StoreError::Full(2)), Ok(2)]
    );
    assert_eq!(
        apply(&store, 60, &[("c", 60, Spend(0)), ("c", 60, GiveBack(1))]).await,
        [Ok(0), Ok(0)],
        "what leaves nothing behind needs no room"
    );
    assert_eq!(store.held(), 2);
}

#[tokio::test]
async fn without_room_for_any_counter_every_hit_is_refused() {
    assert_eq!(apply(&store(0), 60, &[("a", 60, Spend(1))]).await, [Err(StoreError::Full(0))]);
}

#[tokio::test]
async fn the_cap_holds_under_a_flood_of_keys() {
    let store = store(100);
    let mut full = 0;
    for key in keys() {
        full += usize::from(apply(&store, 60, &[(&key, 60, Spend(1))]).await[0].is_err());
    }
    assert_eq!((store.held(), full), (100, MANY as usize - 100));
}

#[tokio::test]
async fn at_the_cap_expired_counters_of_the_shard_make_room() {
    let store = store(MANY as usize);
    for key in keys() {
        values(&store, 60, &[(&key, 60, Spend(1))]).await;
    }
    assert!(apply(&store, 119, &[("new", 60, Spend(1))]).await[0].is_err());
    assert_eq!(values(&store, 120, &[("new", 60, Spend(1))]).await, [1]);
    assert!(store.held() < MANY as usize);
}

#[tokio::test]
async fn a_look_and_a_give_back_create_no_counter() {
    let store = store(10);
    values(&store, 60, &[("a", 60, Spend(0)), ("b", 60, GiveBack(3))]).await;
    assert_eq!(store.held(), 0);
    values(&store, 60, &[("a", 60, Spend(1)), ("a", 60, GiveBack(3))]).await;
    assert_eq!(store.held(), 1);
}

#[tokio::test]
async fn a_round_of_sweeps_drops_what_has_expired_and_nothing_else() {
    let store = store(100_000);
    for key in keys() {
        values(&store, 60, &[(&key, 60, Spend(1)), (&key, 3600, Spend(1))]).await;
    }
    assert_eq!(store.held(), 2 * MANY as usize);
    assert_eq!(sweep_all(&store, 119), 0);
    assert_eq!(sweep_all(&store, 120), MANY as usize);
    assert_eq!(store.held(), MANY as usize);
    for key in keys() {
        assert_eq!(values(&store, 121, &[(&key, 3600, Spend(1))]).await, [2]);
    }
    assert_eq!(sweep_all(&store, 3600), MANY as usize);
    assert_eq!(store.held(), 0);
}

#[tokio::test]
async fn a_forgotten_window_does_not_come_back_with_the_clock() {
    let store = store(10);
    values(&store, 60, &[("a", 60, Spend(5))]).await;
    assert_eq!(sweep_all(&store, 120), 1);
    // Both moments count in the window of the sweep.
    assert_eq!(values(&store, 61, &[("a", 60, Spend(5))]).await, [5]);
    assert_eq!(values(&store, 121, &[("a", 60, Spend(1))]).await, [6]);
}

#[tokio::test]
async fn a_set_without_room_for_all_of_its_counters_counts_nothing() {
    for meter in five_in_ten() {
        let store = store(2);
        let name = |name: &str| format!("{name}{:?}", meter.algorithm);
        let (a, b, c) = (name("a"), name("b"), name("c"));
        let spend = async |keys: &[&str], hits| {
            let set: Vec<Entry<'_>> =
                keys.iter().map(|key| (*key, meter, Spend(hits), LIMIT)).collect();
            let counts = store.apply(&batch_of_sets(MOMENT, &[&set])).await;
            counts.into_iter().map(|count| count.map(|count| count.after)).collect::<Vec<_>>()
        };
        let full = || Err(StoreError::Full(2));
        assert_eq!(spend(&[&a, &b, &c], 1).await, [full(), full(), full()]);
        assert_eq!(store.held(), 0);
        assert_eq!(spend(&[&a, &b, &a], 1).await, [Ok(1), Ok(1), Ok(2)]);
        assert_eq!(spend(&[&a, &c], 1).await, [full(), full()]);
        assert_eq!(spend(&[&a, &c], 9).await, [Ok(2), Ok(0)], "a refused set needs no room");
        assert_eq!(spend(&[&a, &b], 1).await, [Ok(3), Ok(2)]);
    }
}

#[tokio::test]
async fn expired_counters_of_a_set_make_room_for_it() {
    for meter in five_in_ten() {
        let store = store(2);
        let spend = async |secs, hits| {
            let set: &[Entry<'_>] =
                &[("a", meter, Spend(hits), LIMIT), ("b", meter, Spend(hits), LIMIT)];
            let now = MOMENT + secs * 1_000_000_u64;
            let counts = store.apply(&batch_of_sets(now, &[set])).await;
            counts.into_iter().map(|count| count.map(|count| count.after)).collect::<Vec<_>>()
        };
        count(&store, MOMENT, ("a", meter), Spend(1)).await;
        count(&store, MOMENT, ("c", meter), Spend(1)).await;
        assert_eq!(spend(0, 1).await, [Err(StoreError::Full(2)), Err(StoreError::Full(2))]);
        // Whether `c` leaves depends on the shard it lives in; `a` is part of the set.
        let later = spend(100, 2).await;
        assert!(later == [Ok(2), Ok(2)] || later.iter().all(Result::is_err), "{later:?}");
        assert!(store.held() <= 2);
    }
}

#[tokio::test]
async fn a_counter_leaves_when_it_says_nothing_any_more() {
    for (meter, secs) in five_in_ten().into_iter().zip([10, 20, 5]) {
        let store = store(10);
        count(&store, MOMENT, ("a", meter), Spend(2)).await;
        assert_eq!(sweep_all(&store, MOMENT / 1_000_000 + secs - 1), 0, "{meter:?}");
        assert_eq!(sweep_all(&store, MOMENT / 1_000_000 + secs), 1, "{meter:?}");
    }
}

#[tokio::test]
async fn a_round_visits_every_shard_of_a_store_of_any_size() {
    for max_counters in [0, 1, 100, 65_536, 65_537, 1_000_000, 10_000_000] {
        let store = store(max_counters);
        let keys: Vec<String> = keys().take(max_counters).collect();
        for key in &keys {
            values(&store, 60, &[(key, 60, Spend(1))]).await;
        }
        assert_eq!(sweep_all(&store, 119), 0, "{max_counters}");
        assert_eq!(sweep_all(&store, 120), keys.len(), "{max_counters}");
    }
}

#[tokio::test]
async fn a_counter_of_years_is_not_forgotten_before_they_have_passed() {
    const YEAR: u64 = 31_536_000;
    /// The last second that 32 bits hold, and that stands for those they do not.
    const LAST: u64 = u32::MAX as u64;
    let now = MOMENT / 1_000_000;
    let check = async |meter: Meter, expires: u64| {
        let store = store(10);
        count(&store, MOMENT, ("a", meter), Spend(1)).await;
        assert_eq!(sweep_all(&store, expires - 1), 0, "{meter:?}");
        // Late is as good: some counters are held for good.
        let is_held = expires >= LAST;
        assert_eq!(sweep_all(&store, expires), usize::from(!is_held), "{meter:?}");
        assert_eq!(sweep_all(&store, u64::MAX / 1_000_000), 0, "{meter:?}");
        assert_eq!(store.held(), usize::from(is_held), "{meter:?}");
    };
    let fixed = |secs| meter(Algorithm::FixedWindow, secs);
    for secs in [YEAR, 70 * YEAR, LAST - 1, LAST, LAST + 1, 1000 * YEAR, u64::MAX / 4_000_000] {
        let start = now - now % secs;
        check(fixed(secs), start + secs).await;
        check(meter(Algorithm::SlidingWindow, secs), start + 2 * secs).await;
        // One of two tokens, and the second that is begun.
        check(meter(Algorithm::TokenBucket { burst: 2 }, secs * 2), now + secs + 1).await;
    }
}

/// Two in so many seconds.
fn meter(algorithm: Algorithm, secs: u64) -> Meter {
    Meter { algorithm, rate: 2, window: Window::from_secs(secs), refused: Refused::Spend }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hands_never_admit_more_than_the_limit() {
    const LIMIT: u64 = 50;
    const WINDOWS: u64 = 40;
    let store = Arc::new(store(1_000));
    let admitted = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let (store, admitted) = (Arc::clone(&store), Arc::clone(&admitted));
        tasks.spawn(async move {
            // Every task has its own idea of the time, and sweeps with it.
            for at in 0..WINDOWS * 100 {
                let secs = 60 + (at / 100 * 10 + at % 10 + task * 3) % (WINDOWS * 10);
                let after = values(&*store, secs, &[("a", 10, Spend(1))]).await[0];
                admitted.fetch_add(u64::from(after <= LIMIT), Ordering::Relaxed);
                store.sweep(Timestamp::from_secs(secs));
            }
        });
    }
    tasks.join_all().await;
    let admitted = admitted.load(Ordering::Relaxed);
    assert!(admitted <= LIMIT * WINDOWS, "{admitted} admitted");
}

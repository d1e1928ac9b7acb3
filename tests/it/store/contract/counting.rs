//! Fixed windows that count every hit, as envoyproxy/ratelimit knows them.

use std::sync::Arc;

use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::COUNT_MAX;
use tidegate::store::Store;

use crate::store::{apply, values};

contract!(
    adds_up,
    applies_a_batch_in_order,
    a_look_changes_nothing,
    gives_back_but_not_below_zero,
    saturates_and_stays_exact,
    starts_anew_in_the_next_window,
    keeps_counters_apart,
    a_clock_that_steps_back_gives_nothing_away,
    runs_concurrent_operations_one_after_the_other,
    gives_signs_of_life,
);

contract_of_fixed_windows!(
    adds_up,
    applies_a_batch_in_order,
    a_look_changes_nothing,
    gives_back_but_not_below_zero,
    saturates_and_stays_exact,
    starts_anew_in_the_next_window,
    keeps_counters_apart,
    a_clock_that_steps_back_gives_nothing_away,
    runs_concurrent_operations_one_after_the_other,
    gives_signs_of_life,
);

async fn adds_up(store: Arc<impl Store>) {
    assert_eq!(values(&*store, 60, &[("a", 60, Spend(1))]).await, [1]);
    assert_eq!(values(&*store, 61, &[("a", 60, Spend(4))]).await, [5]);
    assert_eq!(values(&*store, 119, &[("a", 60, Spend(1_000_000))]).await, [1_000_005]);
    assert!(values(&*store, 60, &[]).await.is_empty());
}

async fn applies_a_batch_in_order(store: Arc<impl Store>) {
    let lines = [
        ("a", 60, Spend(1)),
        ("b", 60, Spend(10)),
        ("a", 60, Spend(2)),
        ("b", 60, GiveBack(4)),
        ("a", 60, Spend(0)),
        ("b", 3600, Spend(7)),
    ];
    assert_eq!(values(&*store, 60, &lines).await, [1, 10, 3, 6, 3, 7]);
    assert_eq!(values(&*store, 60, &lines).await, [4, 16, 6, 12, 6, 14]);
}

async fn a_look_changes_nothing(store: Arc<impl Store>) {
    assert_eq!(values(&*store, 60, &[("a", 60, Spend(0))]).await, [0]);
    assert_eq!(values(&*store, 60, &[("a", 60, Spend(3))]).await, [3]);
    assert_eq!(values(&*store, 60, &[("a", 60, Spend(0)); 3]).await, [3, 3, 3]);
}

async fn gives_back_but_not_below_zero(store: Arc<impl Store>) {
    assert_eq!(values(&*store, 60, &[("a", 60, GiveBack(3))]).await, [0]);
    let lines = [Spend(5), GiveBack(2), GiveBack(0), GiveBack(4), Spend(1), GiveBack(u64::MAX)];
    let lines = lines.map(|action| ("a", 60, action));
    assert_eq!(values(&*store, 60, &lines).await, [5, 3, 3, 0, 1, 0]);
}

async fn saturates_and_stays_exact(store: Arc<impl Store>) {
    // Above 2^53 a double would round; above 2^63 - 1 an integer would wrap.
    let lines = [
        Spend((1 << 53) + 1),
        Spend(2),
        GiveBack(1),
        Spend(u64::MAX),
        Spend(1),
        Spend(0),
        GiveBack(2),
        Spend(1),
        Spend(u64::MAX),
        GiveBack(COUNT_MAX - 1),
    ];
    let exact = (1 << 53) + 1;
    let top = COUNT_MAX;
    assert_eq!(
        values(&*store, 60, &lines.map(|action| ("a", 60, action))).await,
        [exact, exact + 2, exact + 1, top, top, top, top - 2, top - 1, top, 1]
    );
}

async fn starts_anew_in_the_next_window(store: Arc<impl Store>) {
    assert_eq!(values(&*store, 119, &[("a", 60, Spend(9))]).await, [9]);
    assert_eq!(values(&*store, 120, &[("a", 60, Spend(1))]).await, [1]);
    assert_eq!(values(&*store, 180, &[("a", 60, Spend(0))]).await, [0]);
    assert_eq!(values(&*store, 240, &[("a", 60, GiveBack(1))]).await, [0]);
    assert_eq!(values(&*store, 300, &[("a", 60, Spend(2))]).await, [2]);
}

async fn keeps_counters_apart(store: Arc<impl Store>) {
    // Windows of one counter key start at different seconds here; where they start at the
    // same one, the keys of a plan differ.
    let lines = [
        ("a", 60, Spend(1)),
        ("a", 7, Spend(2)),
        ("ab", 60, Spend(3)),
        ("", 60, Spend(4)),
        ("a\0", 60, Spend(5)),
        ("ä", 60, Spend(6)),
    ];
    assert_eq!(values(&*store, 60, &lines).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(values(&*store, 60, &lines).await, [2, 4, 6, 8, 10, 12]);
}

async fn a_clock_that_steps_back_gives_nothing_away(store: Arc<impl Store>) {
    const LIMIT: u64 = 5;
    let mut admitted = 0;
    for secs in [60, 119, 120, 61, 121, 60, 120, 119, 179].repeat(3) {
        admitted += u64::from(values(&*store, secs, &[("a", 60, Spend(1))]).await[0] <= LIMIT);
    }
    // Two windows were seen.
    assert!(admitted <= 2 * LIMIT, "{admitted} admitted");
    assert!(values(&*store, 179, &[("a", 60, Spend(0))]).await[0] > LIMIT);
}

async fn runs_concurrent_operations_one_after_the_other(store: Arc<impl Store>) {
    const TASKS: u64 = 8;
    const EACH: u64 = 200;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..EACH {
                seen.extend(values(&*store, 60, &[("a", 60, Spend(1))]).await);
            }
            seen
        });
    }
    let mut seen: Vec<u64> = tasks.join_all().await.concat();
    seen.sort_unstable();
    assert_eq!(seen, (1..=TASKS * EACH).collect::<Vec<_>>());
}

async fn gives_signs_of_life(store: Arc<impl Store>) {
    assert_eq!(store.probe().await, Ok(()));
    assert!(["memory", "redis", "memcached"].contains(&store.name()));
    assert!(apply(&*store, 0, &[("a", 1, Spend(1))]).await[0].is_ok());
}

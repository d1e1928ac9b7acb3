//! The memcached store: what it leaves there, what it cannot count, and what it does when
//! memcached fails.

mod abilities;
mod agreement;
mod dns;
mod failure;
mod sharding;
mod tls;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidegate::clock::Timestamp;
use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::{Batch, COUNT_MAX, Meter, NewOperation, Refused};
use tidegate::rules::Algorithm;
use tidegate::store::memcached::{MemcachedConfig, MemcachedStore};
use tidegate::store::{Abilities, Store, StoreError};
use tokio::task::JoinSet;

use super::{LIMIT, apply, batch_of_sets, meter, values};
use crate::support::memcached::MemcachedServer;
use crate::support::stores;

/// Far more than anything here takes on a busy machine, far less than for ever.
const SOON: Duration = Duration::from_secs(20);

/// A store that is connected to that many servers.
async fn connect(config: MemcachedConfig, servers: usize) -> MemcachedStore {
    let store = MemcachedStore::connect(config);
    becomes(&store, servers).await;
    store
}

/// Waits until that many servers are connected.
async fn becomes(store: &MemcachedStore, servers: usize) {
    let mut connected = store.connected();
    let change = tokio::time::timeout(SOON, connected.wait_for(|now| *now == servers)).await;
    change.unwrap_or_else(|_| panic!("never {servers} servers")).expect("a living store");
}

/// A batch with one counter whose key is bytes.
fn hit(secs: u64, key: &[u8]) -> Batch {
    let mut batch = Batch::new(Timestamp::from_secs(secs));
    let meter = Meter { refused: Refused::Spend, ..meter(Algorithm::FixedWindow, 10, 60) };
    batch.push(NewOperation::alone(meter, Spend(1), 0), |out| out.extend_from_slice(key));
    batch
}

#[tokio::test]
async fn a_key_is_the_counter_key_and_the_start_of_the_window() {
    let server = MemcachedServer::start();
    let store = connect(server.config(), 1).await;
    let now = 1_700_000_000;
    values(&store, now, &[("shop_tier_gold_op_write_", 1, Spend(2))]).await;
    values(&store, now, &[("shop_", 86_400, Spend(3)), ("", 60, Spend(1))]).await;
    values(&store, now, &[("shop_path_/%ä_", 60, Spend(4))]).await;
    let expected = [
        ("1699999980", 1),
        ("shop_1699920000", 3),
        ("shop_path_/%ä_1699999980", 4),
        ("shop_tier_gold_op_write_1700000000", 2),
    ];
    assert_eq!(server.counters(), expected.map(|(key, count)| (key.to_owned(), count)));
}

#[tokio::test]
async fn keys_that_memcached_cannot_hold_count_all_the_same() {
    let server = MemcachedServer::start();
    let store = connect(server.config(), 1).await;
    let other = connect(server.config(), 1).await;
    let long = [b'x'; 1000];
    let keys: [&[u8]; 7] =
        [&long, &long[1..], b"a b_", b"a\tb_", b"\r\nflush_all\r\n_", b"\0_", b"\x7f\xff_"];
    for round in 1..=3 {
        for key in keys {
            for store in [&store, &other] {
                let count = store.apply(&hit(60, key)).await.remove(0).expect("a count");
                assert!(count.after.div_ceil(2) == round, "{key:?}: {count:?}");
            }
        }
    }
    assert_eq!(server.stat("curr_items"), keys.len() as u64);
}

#[tokio::test]
async fn every_counter_has_an_end_after_its_window() {
    let server = MemcachedServer::start();
    let store = connect(server.config(), 1).await;
    const DAY: u64 = 86_400;
    // Now, for the ends of lives are memcached's to keep.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = now.as_secs();
    for window in [60, DAY, 30 * DAY, 365 * DAY] {
        for (hits, sum) in [(3, 3), (4, 7), (u64::MAX, COUNT_MAX), (0, COUNT_MAX)] {
            let key = format!("w{window}_");
            assert_eq!(values(&store, now, &[(&key, window, Spend(hits))]).await, [sum]);
            let ttl = server.ttl(&format!("{key}{}", now - now % window));
            // Two seconds for memcached's clock, and one by which that is behind when it is
            // given a date; some that the test took.
            let most = i64::try_from(window).unwrap() + 3;
            assert!((most - 20..=most).contains(&ttl), "{window}: {ttl}");
        }
    }
    // Nobody lives to see the end of these.
    values(&store, now, &[("long_", 40 * 365 * DAY, Spend(1)), ("ever_", u64::MAX, Spend(2))])
        .await;
    assert_eq!(server.ttl("ever_0"), -1);
    assert_eq!(values(&store, now, &[("ever_", u64::MAX, Spend(2))]).await, [4]);
}

#[tokio::test]
async fn a_counter_lives_to_the_end_of_its_second() {
    let server = MemcachedServer::start();
    let store = connect(server.config(), 1).await;
    for second in 0..3 {
        let key = format!("k{second}_");
        values(&store, 60, &[(&key, 1, Spend(1))]).await;
        let ttl = server.ttl(&format!("{key}60"));
        assert!((1..=3).contains(&ttl), "{ttl}");
    }
}

#[tokio::test]
async fn slack_and_jitter_lengthen_lives_within_their_range() {
    let server = MemcachedServer::start();
    let mut config = server.config();
    config.key_slack_secs = 100;
    config.expiration_jitter_max_secs = 10;
    let store = connect(config, 1).await;
    let mut ttls = BTreeSet::new();
    for key in 0..100 {
        values(&store, 60, &[(&format!("{key}_"), 60, Spend(1))]).await;
        ttls.insert(server.ttl(&format!("{key}_60")));
    }
    // From 162 to 171 seconds, of which at most a few have passed.
    assert!(ttls.iter().all(|ttl| (142..=171).contains(ttl)), "{ttls:?}");
    assert!(ttls.len() > 2, "{ttls:?}");
}

#[tokio::test]
async fn looks_and_give_backs_leave_nothing_behind() {
    let server = MemcachedServer::start();
    let store = connect(server.config(), 1).await;
    values(&store, 60, &[("a_", 60, Spend(0)), ("b_", 60, GiveBack(3))]).await;
    assert_eq!(server.stat("curr_items"), 0);
}

#[tokio::test]
async fn what_it_cannot_count_is_an_error_and_counts_nothing() {
    let server = MemcachedServer::start();
    let store = connect(server.config(), 1).await;
    assert_eq!(store.abilities(), Abilities::FixedWindows);
    let fixed = meter(Algorithm::FixedWindow, 5, 60);
    let all = Meter { refused: Refused::Spend, ..fixed };
    let sliding = meter(Algorithm::SlidingWindow, 5, 60);
    let bucket = meter(Algorithm::TokenBucket { burst: 5 }, 5, 60);
    let sets: [&[_]; 6] = [
        &[("sliding_", sliding, Spend(1), LIMIT)],
        &[("bucket_", bucket, GiveBack(1), LIMIT)],
        &[("spared_", fixed, Spend(1), LIMIT)],
        &[("one_", all, Spend(1), LIMIT), ("other_", all, Spend(1), LIMIT)],
        &[("good_", all, Spend(1), LIMIT)],
        &[("good_", fixed, GiveBack(1), LIMIT)],
    ];
    let counts = store.apply(&batch_of_sets(60_000_000, &sets)).await;
    for count in &counts[..5] {
        assert!(matches!(count, Err(StoreError::Refused(_))), "{count:?}");
    }
    let after = |at: usize| counts[at].as_ref().map(|count| count.after);
    assert_eq!((after(5), after(6)), (Ok(1), Ok(0)));
    assert_eq!(server.stat("total_items"), 1);
    assert_eq!(store.stats().errors, 5);
}

#[tokio::test]
async fn an_error_of_one_key_hides_no_other_answer() {
    let server = MemcachedServer::start();
    let store = connect(server.config(), 1).await;
    assert_eq!(server.command("set text_60 0 0 1\r\nx"), ["STORED"]);
    let lines = [
        ("a_", 60, Spend(1)),
        ("text_", 60, Spend(1)),
        ("text_", 60, GiveBack(1)),
        ("b_", 60, Spend(2)),
    ];
    let counts = apply(&store, 60, &lines).await;
    assert_eq!((&counts[0], &counts[3]), (&Ok(1), &Ok(2)));
    for count in &counts[1..3] {
        let Err(StoreError::Refused(text)) = count else { panic!("{count:?}") };
        assert!(text.contains("non-numeric"), "{text}");
    }
    assert_eq!(store.stats().opened, 1, "a refusal is no reason to reconnect");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_admit_exactly_the_limit_together() {
    const LIMIT: u64 = 300;
    let server = MemcachedServer::start_tcp();
    let stores =
        [Arc::new(stores::memcached(&server).await), Arc::new(stores::memcached(&server).await)];
    for key in ["one_", "two_", "three_"] {
        let mut tasks = JoinSet::new();
        for task in 0..16 {
            let store = Arc::clone(&stores[task % 2]);
            tasks.spawn(async move {
                let mut admitted = 0;
                for _ in 0..40 {
                    let sum = values(&*store, 60, &[(key, 3600, Spend(1))]).await[0];
                    admitted += u64::from(sum <= LIMIT);
                }
                admitted
            });
        }
        assert_eq!(tasks.join_all().await.iter().sum::<u64>(), LIMIT, "{key}");
        assert_eq!(values(&*stores[0], 60, &[(key, 3600, Spend(0))]).await, [640], "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_that_many_begin_at_once_lose_no_hit() {
    let server = MemcachedServer::start();
    let store = Arc::new(stores::memcached(&server).await);
    for round in 0..50 {
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let store = Arc::clone(&store);
            let key = format!("{round}_");
            tasks.spawn(async move { values(&*store, 60, &[(&key, 60, Spend(1))]).await[0] });
        }
        let mut sums = tasks.join_all().await;
        sums.sort_unstable();
        assert_eq!(sums, (1..=8).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn huge_hits_never_make_a_counter_begin_anew() {
    let server = MemcachedServer::start();
    let store = connect(server.config(), 1).await;
    assert_eq!(values(&store, 60, &[("a_", 3600, Spend(2))]).await, [2]);
    for hits in [1 << 60, u64::MAX, 1 << 54, 1 << 54, u64::MAX - 1, 1] {
        assert_eq!(values(&store, 60, &[("a_", 3600, Spend(hits))]).await, [COUNT_MAX], "{hits}");
    }
    // As if many had come at once, before one of them set it right.
    assert_eq!(server.command("set a_0 0 0 20\r\n18446744073709551615"), ["STORED"]);
    assert_eq!(values(&store, 60, &[("a_", 3600, Spend(1))]).await, [COUNT_MAX]);
    assert_eq!(values(&store, 60, &[("a_", 3600, Spend(0))]).await, [COUNT_MAX]);
}

#[tokio::test]
async fn stats_tell_what_was_asked_and_what_came_of_it() {
    let mut server = MemcachedServer::start();
    let store = connect(server.config(), 1).await;
    let lines = [("a_", 60, Spend(1)), ("a_", 60, Spend(1)), ("b_", 60, Spend(0))];
    values(&store, 60, &lines).await;
    let stats = store.stats();
    assert_eq!((stats.opened, stats.active, stats.errors), (1, 1, 0));
    assert_eq!((stats.keys_requested(), stats.keys_found()), (3, 1));
    let (increments, adds) = (stats.increments, stats.adds);
    assert_eq!((increments.success, increments.miss, increments.error), (1, 2, 0));
    assert_eq!((adds.success, adds.not_stored, adds.error), (1, 0, 0));
    server.kill();
    becomes(&store, 0).await;
    assert!(apply(&store, 60, &lines[..1]).await[0].is_err());
    let stats = store.stats();
    assert_eq!((stats.active, stats.errors, stats.increments.error), (0, 1, 1));
}

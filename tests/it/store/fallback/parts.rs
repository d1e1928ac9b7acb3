//! A part of the store is silent: what the others have said by the deadline stands.

use std::fmt::Debug;

use tidegate::rules::Accuracy;
use tidegate::store::{LeaseConfig, LeaseTable, Leases, RefusalCache, Refusals};

use super::*;
use crate::support::cluster::RedisCluster;
use crate::support::memcached::MemcachedServer;
use crate::support::redis::RedisServer;

/// Time enough for a server that answers, and nothing to one that does not.
const DEADLINE: Duration = Duration::from_millis(500);
/// The parts themselves would wait this long.
const LONG: Duration = Duration::from_secs(20);

fn in_time<S: Store>(store: S) -> Fallback<S> {
    let config = FallbackConfig { deadline: LONG, replicas: 1, max_counters: 10 };
    Fallback::new(store, Arc::new(Reserve::new(config, Clock::System)))
}

fn counting(rate: u32, window: u64) -> Meter {
    let refused = tidegate::limiter::Refused::Spend;
    Meter { refused, ..meter(Algorithm::FixedWindow, rate, window) }
}

/// Who answered for each operation, and whether it passes; `None` is a time-out.
type Said = Vec<Option<(Source, bool)>>;

async fn said<S: Store + Debug>(store: &Fallback<S>, mut batch: Batch) -> Said {
    batch.patience = Some(DEADLINE);
    let (start, late) = (Instant::now(), store.reserve.stats().late);
    let counts = store.apply(&batch).await;
    assert!(start.elapsed() < LONG, "{store:?}: {:?}", start.elapsed());
    assert_eq!(store.reserve.stats().late, late + 1, "{store:?}");
    let one = |count: Result<Count, StoreError>| match count {
        Ok(count) => Some((count.source, count.admitted)),
        Err(StoreError::Timeout(_)) => None,
        Err(error) => panic!("{store:?}: {error}"),
    };
    counts.into_iter().map(one).collect()
}

fn spends(lines: &[(&str, Meter, u64)]) -> Batch {
    let line = |&(key, meter, hits)| (key, meter, Spend(hits), OnStoreError::Error);
    let lines: Vec<Line<'_>> = lines.iter().map(line).collect();
    batch(START, &lines)
}

const OVER: Option<(Source, bool)> = Some((Source::Store, false));
const FITS: Option<(Source, bool)> = Some((Source::Store, true));

#[tokio::test]
async fn the_other_of_two_redis() {
    let (main, second) = (RedisServer::start(), RedisServer::start());
    let store = in_time(stores::per_second(&main, &second).await);
    let (no_more, some) = (counting(0, 1), counting(9, 1));
    main.pause();
    let asked = spends(&[("a_", counting(9, 60), 1), ("b_", no_more, 1), ("c_", some, 1)]);
    assert_eq!(said(&store, asked).await, [None, OVER, FITS]);
    main.resume();
    second.pause();
    let asked = spends(&[("b_", no_more, 1), ("d_", counting(0, 60), 1)]);
    assert_eq!(said(&store, asked).await, [None, OVER]);
}

#[tokio::test]
async fn the_other_of_two_redis_beside_a_set_in_both() {
    let (main, second) = (RedisServer::start(), RedisServer::start());
    let store = in_time(stores::per_second(&main, &second).await);
    let (seconds, minutes) =
        (meter(Algorithm::FixedWindow, 5, 1), meter(Algorithm::FixedWindow, 5, 60));
    main.pause();
    let mut asked = Batch::new(START);
    let says = OnStoreError::Error;
    push(&mut asked, ("a_", seconds, Spend(3), says), (0, LIMIT));
    push(&mut asked, ("b_", minutes, Spend(3), says), (0, LIMIT));
    push(&mut asked, ("c_", counting(0, 1), Spend(1), says), (1, LIMIT));
    push(&mut asked, ("d_", counting(9, 1), Spend(1), says), (2, LIMIT));
    assert_eq!(said(&store, asked).await, [None, None, OVER, FITS]);
    // The set goes on without its caller, and is kept.
    main.resume();
    let holds = async || {
        let look = batch(START, &[("b_", minutes, Spend(0), says)]);
        store.apply(&look).await[0].as_ref().expect("an answer").after
    };
    assert_eq!(holds().await, 3);
    let look = batch(START, &[("a_", seconds, Spend(0), says)]);
    assert_eq!(store.apply(&look).await[0].as_ref().expect("an answer").after, 3);
}

#[tokio::test]
async fn the_other_nodes_of_a_cluster() {
    let cluster = RedisCluster::start();
    let store = in_time(stores::cluster(&cluster).await);
    // One key for each node, as slots are dealt in three parts.
    let on = |node: usize| {
        let is_there = |key: &String| {
            let slot: u16 = cluster.nodes[0].command(&[
                "CLUSTER",
                "KEYSLOT",
                &format!("{key}{}", window(START)),
            ]);
            usize::from(slot) / 5462 == node
        };
        (0..).map(|i| format!("key{i}_")).find(is_there).expect("a key")
    };
    let [a, b, c] = [on(0), on(1), on(2)];
    let meters = [counting(9, 60), counting(0, 60), counting(9, 60)];
    let lines = [(&*a, meters[0], 1), (&*b, meters[1], 1), (&*c, meters[2], 1)];
    cluster.nodes[0].pause();
    assert_eq!(said(&store, spends(&lines)).await, [None, OVER, FITS]);
    cluster.nodes[0].resume();
}

fn window(now: Timestamp) -> u64 {
    now.as_secs() / 60 * 60
}

#[tokio::test]
async fn what_is_known_to_be_exhausted_beside_a_silent_server() {
    let redis = RedisServer::start();
    let config = crate::store::config(&redis);
    let store = in_time(stores::remembering(config).await);
    let exhausted = ("a_", counting(0, 60), 1);
    store.apply(&spends(&[exhausted])).await;
    redis.pause();
    let asked = spends(&[("b_", counting(9, 60), 1), exhausted]);
    assert_eq!(said(&store, asked).await, [None, Some((Source::RefusalCache, false))]);
    redis.resume();
}

#[tokio::test]
async fn what_is_known_to_be_exhausted_beside_a_silent_memcached() {
    let memcached = MemcachedServer::start();
    let refusals = Refusals::new(0, None);
    let store = in_time(RefusalCache::new(stores::memcached(&memcached).await, Some(refusals)));
    let exhausted = ("a_", counting(0, 60), 1);
    store.apply(&spends(&[exhausted])).await;
    memcached.pause();
    let asked = spends(&[("b_", counting(9, 60), 1), exhausted]);
    assert_eq!(said(&store, asked).await, [None, Some((Source::RefusalCache, false))]);
    memcached.resume();
}

#[tokio::test]
async fn what_is_leased_beside_a_silent_server() {
    let redis = RedisServer::start();
    let table = LeaseTable::new(LeaseConfig { period: LONG, ..LeaseConfig::default() });
    let store = stores::redis(&redis).await;
    let store = in_time(Leases::new(store, Some(Arc::new(table))));
    let leased = || {
        let leeway = Leeway { accuracy: Accuracy::Leased, ..Leeway::default() };
        NewOperation { leeway, ..NewOperation::alone(fixed(1_000_000), Spend(1), 0) }
    };
    let mut asked = Batch::new(START);
    asked.push(leased(), |key| key.extend_from_slice(b"a_"));
    let held = async {
        while store.apply(&asked).await[0].as_ref().expect("an answer").source != Source::Lease {}
    };
    tokio::time::timeout(LONG, held).await.expect("a block");
    redis.pause();
    let line = ("b_", counting(9, 60), Spend(1), OnStoreError::Error);
    push(&mut asked, line, (1, LIMIT));
    assert_eq!(said(&store, asked).await, [Some((Source::Lease, true)), None]);
    redis.resume();
}

//! What leases save: how often the store is asked.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tidegate::store::redis::RedisStore;

use super::*;
use crate::support::redis::RedisServer;
use crate::support::stores;

#[tokio::test(start_paused = true)]
async fn a_hot_counter_asks_for_one_hit_in_a_hundred_at_most() {
    for (meter, most) in meters(1_000_000).into_iter().zip([30, 30, 150]) {
        let server = Server::new(EPOCH, 0);
        let replica = Replica::fine(&server, 1);
        assert_eq!(replica.hits(meter, 100).await, 100);
        let warm = replica.leases.store.calls();
        assert!(warm < 20, "{warm}: {meter:?}");
        assert_eq!(replica.hits(meter, 5000).await, 5000);
        let calls = replica.leases.store.calls() - warm;
        println!("{:?}: {warm} calls for 100 hits, {calls} for 5000", meter.algorithm);
        assert!(calls <= most, "{calls}: {meter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_counters_in_demand_ask_for_one_hit_in_ten_at_most() {
    const KEYS: usize = 200;
    let server = Server::new(EPOCH, 0);
    let replica = Replica::fine(&server, 1);
    let meter = meters(100_000)[0];
    let names: Vec<String> = (0..KEYS).map(|key| format!("k{key}")).collect();
    let mut before = 0;
    for round in 0..100 {
        for name in &names {
            let batch = leased(server.now(), &[&[(name, meter, Spend(1), LIMIT)]]);
            assert!(replica.leases.apply(&batch).await.remove(0).expect("a count").admitted);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if round == 20 {
            before = replica.leases.store.calls();
        }
    }
    let (calls, hits) = (replica.leases.store.calls() - before, 79 * KEYS);
    println!("{KEYS} counters of 50 hits a second: {calls} calls for {hits} hits");
    assert!(calls * 10 <= hits, "{calls} calls for {hits} hits");
}

#[tokio::test(start_paused = true)]
async fn a_counter_in_low_demand_is_counted_exactly() {
    let server = Server::new(EPOCH, 0);
    let replica = Replica::fine(&server, 1);
    for _ in 0..50 {
        assert_eq!(replica.hit(meters(1000)[0]).await.source, Source::Store);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(replica.stats().taken, 0);
}

#[test]
fn spending_from_a_block_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let server = Server::new(EPOCH, 0);
        let replica = Replica::fine(&server, 1);
        let meter = meters(1_000_000)[0];
        replica.hits(meter, 500).await;
        let batch = leased(server.now(), &[&[("k", meter, Spend(1), LIMIT)]]);
        let info = allocation_counter::measure(|| {
            let mut answer = pin!(replica.leases.apply(&batch));
            match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(counts) => {
                    assert!(counts[0].as_ref().is_ok_and(|count| count.source == Source::Lease));
                }
                Poll::Pending => panic!("a block waits for nobody"),
            }
        });
        assert_eq!(info.count_total, 0);
    });
}

/// How many scripts Redis has run.
fn scripts(redis: &RedisServer) -> usize {
    let stats: String = redis.command(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|line| line.split(',').next()).map(str::parse);
    calls.map_or(0, |calls| calls.expect("a number"))
}

#[tokio::test]
async fn redis_is_seldom_asked_and_agrees_once_all_is_given_back() {
    let redis = RedisServer::start();
    let table = Arc::new(LeaseTable::new(LeaseConfig::default()));
    let store: RedisStore = stores::redis(&redis).await;
    let leases = Leases::new(store, Some(Arc::clone(&table)));
    for (index, meter) in meters(100_000).into_iter().enumerate() {
        let key = format!("k{index}_");
        let before = scripts(&redis);
        for _ in 0..5000 {
            let batch = leased(EPOCH, &[&[(&key, meter, Spend(1), LIMIT)]]);
            assert!(leases.apply(&batch).await.remove(0).expect("a count").admitted);
            tokio::task::yield_now().await;
        }
        let calls = scripts(&redis) - before;
        println!("{:?}: {calls} scripts for 5000 hits", meter.algorithm);
        assert!(calls <= 200, "{calls}: {meter:?}");
    }
    leases.give_back_all(EPOCH, Duration::from_secs(20)).await;
    let stats = table.stats(EPOCH);
    assert_eq!((stats.unspent, stats.lost), (0, 0), "{stats:?}");
    for (index, meter) in meters(100_000).into_iter().enumerate().take(2) {
        let key = format!("k{index}_");
        let look = leased(EPOCH, &[&[(&key, meter, Spend(0), LIMIT)]]);
        let count = leases.store.apply(&look).await.remove(0).expect("a count");
        assert_eq!(count.after, 5000, "{meter:?}");
    }
}

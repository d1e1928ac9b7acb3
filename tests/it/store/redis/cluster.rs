//! Redis Cluster: counters by slot, and what becomes of them when nodes and slots move.

mod failover;
mod moving;
mod sharing;
mod together;

use std::time::Duration;

use tidegate::limiter::Action::Spend;
use tidegate::rules::Algorithm;
use tidegate::store::redis::{RedisConfig, RedisStore};
use tidegate::store::{Store, StoreError};

use super::super::{Entry, LIMIT, apply, batch_of_sets, becomes, meter, values};
use crate::support::cluster::{ClusterNode, RedisCluster, config, free_port, poll};
use crate::support::stores;

/// More keys than a few, over all nodes.
fn keys(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("key{i}_")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_counts_wherever_its_slots_are() {
    let cluster = RedisCluster::start();
    let store = stores::cluster(&cluster).await;
    let keys = keys(60);
    let lines: Vec<_> = (1..).zip(&keys).map(|(hits, key)| (&**key, 3600, Spend(hits))).collect();
    for round in 1..=3 {
        let expected: Vec<u64> = (1..=60).map(|hits| hits * round).collect();
        assert_eq!(values(&store, 60, &lines).await, expected);
    }
    for node in &cluster.nodes {
        let held: u64 = node.command(&["DBSIZE"]);
        assert!((5..55).contains(&held), "one node holds {held} of 60");
    }
    assert_eq!(cluster.held("key7_0"), [24], "the key is that of a single Redis");

    let calls = cluster.calls();
    let tagged = ["{a}1_", "{a}2_", "{a}3_", "{b}1_"].map(|key| (key, 3600, Spend(1)));
    assert_eq!(values(&store, 60, &tagged).await, [1; 4]);
    assert_eq!(cluster.calls() - calls, 2, "one call for each slot");
    assert_eq!((cluster.errors("CROSSSLOT"), cluster.errors("MOVED")), (0, 0));
    assert_eq!(store.probe().await, Ok(()));
    let stats = store.stats();
    assert_eq!((stats.opened, stats.active, stats.errors), (3, 3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_found_by_whatever_the_cluster_calls_them() {
    let by_name: &[&str] = &[
        "--cluster-preferred-endpoint-type",
        "hostname",
        "--cluster-announce-hostname",
        "localhost",
    ];
    let by_port: &[&str] = &["--cluster-preferred-endpoint-type", "unknown-endpoint"];
    let nameless: &[&str] = &["--cluster-preferred-endpoint-type", "hostname"];
    for settings in [by_name, by_port, nameless] {
        let cluster = RedisCluster::with(settings);
        let store = stores::cluster(&cluster).await;
        let slot: u16 = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "{moving}"]);
        let home = usize::from(slot / 5462);
        cluster.migrate(slot, home, (home + 1) % 3);
        let lines = [("{moving}a_", 3600, Spend(1)), ("a_", 60, Spend(1)), ("b_", 60, Spend(1))];
        assert_eq!(values(&store, 60, &lines).await, [1; 3], "{settings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_scripts_are_loaded_again() {
    let cluster = RedisCluster::start();
    let store = stores::cluster(&cluster).await;
    let keys = keys(9);
    let lines: Vec<_> = keys.iter().map(|key| (&**key, 3600, Spend(1))).collect();
    for round in 1..=3 {
        assert_eq!(values(&store, 60, &lines).await, [round; 9]);
        cluster.nodes.iter().for_each(|node| node.command(&["SCRIPT", "FLUSH"]));
    }
}

#[tokio::test]
async fn an_absent_cluster_is_answered_for_at_once() {
    let mut config = config(free_port());
    config.timeout = Duration::from_secs(60);
    let store = RedisStore::connect(config);
    let ask = async {
        for _ in 0..100 {
            let counts = apply(&store, 60, &[("a_", 60, Spend(1)), ("b_", 60, Spend(1))]).await;
            assert!(counts.iter().all(|c| matches!(c, Err(StoreError::Unavailable(_)))));
            assert!(matches!(store.probe().await, Err(StoreError::Unavailable(_))));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ask).await.expect("answers at once");
    assert!(!*store.connected().borrow());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_no_cluster_is_no_cluster() {
    let server = crate::support::redis::RedisServer::start_tcp();
    let port = server.url().rsplit_once(':').expect("a port").1.parse().expect("a number");
    let store = RedisStore::connect(config(port));
    assert!(matches!(store.probe().await, Err(StoreError::Unavailable(_))));
    assert!(!*store.connected().borrow());
}

/// The set of one hit on each key.
fn set_of<'k>(keys: &'k [String], rate: u32) -> Vec<Entry<'k>> {
    let meter = meter(Algorithm::FixedWindow, rate, 3600);
    keys.iter().map(|key| (&**key, meter, Spend(1), LIMIT)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_fails_to_say_is_the_error_of_its_counters_only() {
    let mut cluster = RedisCluster::start();
    let store = stores::cluster(&cluster).await;
    let keys = keys(30);
    let lines: Vec<_> = keys.iter().map(|key| (&**key, 3600, Spend(1))).collect();
    assert_eq!(values(&store, 60, &lines).await, [1; 30]);
    let lost: Vec<String> = cluster.nodes[1].command(&["KEYS", "*"]);
    cluster.nodes[1].kill();
    becomes(&store, false).await;

    let counts = apply(&store, 60, &lines).await;
    let mut errors = 0;
    for (key, count) in keys.iter().zip(&counts) {
        if lost.contains(&format!("{key}0")) {
            assert!(matches!(count, Err(StoreError::Unavailable(_))), "{key}: {count:?}");
            errors += 1;
        } else {
            assert_eq!(*count, Ok(2), "{key}");
        }
    }
    assert_eq!(errors, lost.len() as u64);
    assert_eq!(store.stats().errors, errors);
    assert!(store.probe().await.is_err());

    // A set fails whole, and what it had reserved comes back.
    let counts = store.apply(&batch_of_sets(60_000_000, &[&set_of(&keys, 100)])).await;
    assert!(counts.iter().all(Result::is_err), "{counts:?}");
    let counts = apply(&store, 60, &lines).await;
    assert!(counts.iter().all(|count| count.as_ref().is_err() || *count == Ok(3)), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_dropped_closes_its_connections() {
    let cluster = RedisCluster::start();
    let store = stores::cluster(&cluster).await;
    let clients = |node: &ClusterNode| {
        let list: String = node.command(&["CLIENT", "LIST", "TYPE", "normal"]);
        list.lines().count()
    };
    // The one who asks is a client too.
    assert!(cluster.nodes.iter().all(|node| clients(node) == 2));
    drop(store);
    for node in &cluster.nodes {
        poll("the connection closes", || clients(node) == 1);
    }
}

/// A store that gives up soon, as in production.
async fn impatient(mut config: RedisConfig) -> RedisStore {
    config.timeout = Duration::from_millis(500);
    config.key_slack_secs = 3600;
    let store = RedisStore::connect(config);
    becomes(&store, true).await;
    store
}

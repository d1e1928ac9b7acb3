//! Nodes that die, are replaced, or are all gone.

use std::time::{Duration, Instant};

use tidegate::limiter::Action::Spend;
use tidegate::store::Store;
use tidegate::store::redis::RedisStore;

use super::{apply, becomes, impatient, keys};
use crate::support::cluster::{RedisCluster, config, poll};
use crate::support::forward::Forwarder;

/// Asks until all counters are answered; whatever is answered before must be right.
async fn until_answered(store: &RedisStore, names: &[String], least: &mut [u64]) {
    let start = Instant::now();
    loop {
        let lines: Vec<_> = names.iter().map(|name| (&**name, 3600, Spend(1))).collect();
        let counts = apply(store, 60, &lines).await;
        for ((name, least), count) in names.iter().zip(least.iter_mut()).zip(&counts) {
            if let Ok(after) = count {
                assert_eq!(*after, *least + 1, "{name}");
                *least = *after;
            }
        }
        if counts.iter().all(Result::is_ok) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(40), "{counts:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until all that was counted is with the replica, or it could not count on from there.
fn replicated(cluster: &RedisCluster) {
    poll("the replica has it all", || {
        let size = |node: usize| cluster.nodes[node].command::<u64>(&["DBSIZE"]);
        size(0) == size(3)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_takes_over_is_found_and_counts_on() {
    let mut cluster = RedisCluster::start();
    cluster.add_replica(0);
    let store = impatient(cluster.config()).await;
    let (names, mut held) = (keys(12), vec![0; 12]);
    until_answered(&store, &names, &mut held).await;
    assert_eq!(held, [1; 12]);
    replicated(&cluster);
    cluster.nodes[0].kill();
    becomes(&store, false).await;
    until_answered(&store, &names, &mut held).await;
    becomes(&store, true).await;
    assert_eq!(store.probe().await, Ok(()));
    until_answered(&store, &names, &mut held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_falls_silent_is_left_for_its_replica() {
    let mut cluster = RedisCluster::start();
    cluster.add_replica(0);
    let store = impatient(cluster.config()).await;
    let (names, mut held) = (keys(12), vec![0; 12]);
    until_answered(&store, &names, &mut held).await;
    replicated(&cluster);
    cluster.nodes[0].pause();
    let start = Instant::now();
    let lines: Vec<_> = names.iter().map(|name| (&**name, 3600, Spend(1))).collect();
    let mut attempts = 1;
    loop {
        attempts += 1;
        let counts = apply(&store, 60, &lines).await;
        // What timed out may have been counted, once.
        assert!(counts.iter().flatten().all(|after| (2..=attempts).contains(after)), "{counts:?}");
        if counts.iter().all(Result::is_ok) {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(40), "{counts:?}");
    }
    assert!(cluster.nodes[3].is_primary());
    cluster.nodes[0].resume();
    poll("the old primary follows the new one", || !cluster.nodes[0].is_primary());
    let counts = apply(&store, 60, &lines).await;
    assert!(counts.iter().all(Result::is_ok), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_nodes_are_all_replaced_is_never_lost() {
    let mut cluster = RedisCluster::start();
    let store = impatient(cluster.config()).await;
    let (names, mut held) = (keys(12), vec![0; 12]);
    until_answered(&store, &names, &mut held).await;
    for old in 0..3 {
        cluster.add_replica(old);
        let new = &cluster.nodes[3 + old];
        new.command::<()>(&["CLUSTER", "FAILOVER"]);
        poll("the new node takes over", || new.is_primary());
        until_answered(&store, &names, &mut held).await;
    }
    let old: Vec<_> = cluster.nodes.drain(..3).collect();
    for node in &old {
        for other in &cluster.nodes {
            other.command::<()>(&["CLUSTER", "FORGET", &node.id()]);
        }
    }
    drop(old);
    cluster.settles(3);
    becomes(&store, true).await;
    until_answered(&store, &names, &mut held).await;
    let new: Vec<u64> = cluster.nodes.iter().map(|node| node.command(&["DBSIZE"])).collect();
    assert_eq!(new.iter().sum::<u64>(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_gone_is_looked_for_where_the_settings_say() {
    let cluster = RedisCluster::start();
    let seed = Forwarder::to(cluster.nodes[1].port()).await;
    let store = impatient(config(seed.port())).await;
    let names = keys(12);
    until_answered(&store, &names, &mut [0; 12]).await;
    drop(cluster);
    becomes(&store, false).await;
    let counts = apply(&store, 60, &[(&names[0], 3600, Spend(1))]).await;
    assert!(counts[0].is_err());

    let other = RedisCluster::start();
    seed.point_to(other.nodes[2].port());
    becomes(&store, true).await;
    until_answered(&store, &names, &mut [0; 12]).await;
    assert_eq!(store.probe().await, Ok(()));
}

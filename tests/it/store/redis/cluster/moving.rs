//! Slots that move from node to node under load: every hit counts once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate::limiter::Action::Spend;
use tokio::task::JoinSet;

use super::{apply, keys, stores, values};
use crate::support::cluster::{ClusterNode, RedisCluster};

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_under_load_loses_and_doubles_nothing() {
    const COUNTERS: usize = 40;
    let cluster = Arc::new(RedisCluster::start());
    let store = Arc::new(stores::cluster(&cluster).await);
    let slot: u16 = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "{moving}"]);
    let home = usize::from(slot / 5462);
    let names: Vec<String> = (0..COUNTERS).map(|i| format!("{{moving}}{i}_")).collect();
    for name in &names {
        values(&*store, 60, &[(name, 3600, Spend(1))]).await;
    }

    let done = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 0..24 {
        let (store, names, done) = (Arc::clone(&store), names.clone(), Arc::clone(&done));
        callers.spawn(async move {
            let mut random = fastrand::Rng::with_seed(caller);
            let mut counted = vec![0; COUNTERS];
            while !done.load(Ordering::Relaxed) {
                let i = random.usize(0..COUNTERS);
                let answer = apply(&*store, 60, &[(&names[i], 3600, Spend(1))]).await;
                assert!(answer[0].is_ok(), "{answer:?}");
                counted[i] += 1;
            }
            counted
        });
    }
    let (moved, mover) = (Arc::clone(&cluster), Arc::clone(&done));
    let moving = tokio::task::spawn_blocking(move || {
        for step in 0..6 {
            moved.migrate(slot, (home + step) % 3, (home + step + 1) % 3);
        }
        mover.store(true, Ordering::Relaxed);
    });
    moving.await.expect("the slot moves");
    let mut counted = vec![1; COUNTERS];
    for caller in callers.join_all().await {
        counted.iter_mut().zip(caller).for_each(|(sum, more)| *sum += more);
    }
    for (name, counted) in names.iter().zip(counted) {
        assert_eq!(cluster.held(&format!("{name}0")), [counted], "{name}");
    }
    assert!(cluster.errors("ASK") > 0, "callers met the slot on its way");
    assert!(cluster.errors("MOVED") > 0);
    assert_eq!((store.stats().errors, cluster.errors("CROSSSLOT")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_moves_to_a_node_that_nobody_knew() {
    let mut cluster = RedisCluster::start();
    let store = stores::cluster(&cluster).await;
    values(&store, 60, &[("{moving}a_", 3600, Spend(3))]).await;
    let slot: u16 = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "{moving}"]);
    let new = ClusterNode::start(&[]);
    cluster.nodes[0].meet(&new);
    cluster.nodes.push(new);
    cluster.settles(4);
    let home = usize::from(slot / 5462);
    let (from, to) = (&cluster.nodes[home], &cluster.nodes[3]);
    let slot_text = slot.to_string();
    to.command::<()>(&["CLUSTER", "SETSLOT", &slot_text, "IMPORTING", &from.id()]);
    from.command::<()>(&["CLUSTER", "SETSLOT", &slot_text, "MIGRATING", &to.id()]);
    // The first is still where it was; the second begins where it will be.
    assert_eq!(values(&store, 60, &[("{moving}a_", 3600, Spend(1))]).await, [4]);
    assert_eq!(values(&store, 60, &[("{moving}b_", 3600, Spend(1))]).await, [1]);
    let begun: Vec<String> = to.command(&["KEYS", "*"]);
    assert_eq!(begun, ["{moving}b_0"]);
    // Where one has moved and the other has not, nothing is counted.
    let both = [("{moving}a_", 3600, Spend(1)), ("{moving}b_", 3600, Spend(1))];
    let counts = apply(&store, 60, &both).await;
    assert!(counts.iter().all(Result::is_err), "{counts:?}");

    cluster.migrate(slot, home, 3);
    assert_eq!(values(&store, 60, &both).await, [5, 2]);
    assert_eq!(cluster.errors("CROSSSLOT"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_calls_of_a_batch_follow_their_slots() {
    let cluster = RedisCluster::start();
    let store = stores::cluster(&cluster).await;
    let keys = keys(20);
    let lines: Vec<_> = keys.iter().map(|key| (&**key, 3600, Spend(1))).collect();
    values(&store, 60, &lines).await;
    let of_first: Vec<String> = cluster.nodes[0].command(&["KEYS", "*"]);
    assert!(of_first.len() > 2, "{of_first:?}");
    for key in &of_first {
        let slot: u16 = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", key]);
        cluster.migrate(slot, 0, 1);
    }
    assert_eq!(values(&store, 60, &lines).await, [2; 20]);
    assert_eq!(store.stats().errors, 0);
}

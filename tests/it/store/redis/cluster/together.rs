//! All calls of a decision are under way together; sets over several slots stay exact.

use std::sync::Arc;
use std::time::Duration;

use tidegate::limiter::Action::Spend;
use tidegate::rules::Algorithm;
use tidegate::store::Store;
use tokio::task::JoinSet;

use super::{keys, stores};
use crate::store::{Entry, LIMIT, batch_of_sets, counts, meter, values};
use crate::support::cluster::{RedisCluster, config, free_port};
use crate::support::forward::Forwarder;

/// A cluster that clients reach through forwarders only.
pub(super) async fn behind_forwarders() -> (RedisCluster, [Forwarder; 3]) {
    let ports = [free_port(), free_port(), free_port()];
    let forwarders = [
        Forwarder::to(ports[0]).await,
        Forwarder::to(ports[1]).await,
        Forwarder::to(ports[2]).await,
    ];
    let announced = forwarders.each_ref().map(Forwarder::port);
    (RedisCluster::announced(ports, announced), forwarders)
}

// On one thread, as workers are: all calls of a request are there when the first one leaves.
#[tokio::test]
async fn a_decision_over_all_nodes_waits_for_one_round_trip() {
    let (_cluster, forwarders) = behind_forwarders().await;
    let store = Arc::new(stores::connected(config(forwarders[0].port())).await);
    let keys = keys(10);
    forwarders.iter().for_each(|forwarder| forwarder.let_replies_through(false));
    let answers = {
        let (store, keys) = (Arc::clone(&store), keys.clone());
        tokio::spawn(async move {
            let lines: Vec<_> = keys.iter().map(|key| (&**key, 3600, Spend(1))).collect();
            values(&*store, 60, &lines).await
        })
    };
    // No call waits for the reply to another one, not even on one node.
    let sent = || forwarders.iter().map(Forwarder::calls).sum::<u64>();
    let all = async {
        while sent() < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("ten calls under way");
    assert!(forwarders.iter().all(|forwarder| forwarder.calls() > 0), "all nodes are asked");
    assert!(!answers.is_finished());
    forwarders.iter().for_each(|forwarder| forwarder.let_replies_through(true));
    assert_eq!(answers.await.expect("answers"), [1; 10]);
    assert_eq!(sent(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_over_all_nodes_is_reserved_in_one_round_trip_and_undone_in_another() {
    let (_cluster, forwarders) = behind_forwarders().await;
    let store = stores::connected(config(forwarders[0].port())).await;
    let keys = keys(10);
    let set: Vec<Entry<'_>> = keys
        .iter()
        .map(|key| (&**key, meter(Algorithm::FixedWindow, 1, 3600), Spend(1), LIMIT))
        .collect();
    let sent = || forwarders.iter().map(Forwarder::calls).sum::<u64>();
    assert!(counts(&store, 60_000_000, &[&set]).await.iter().all(|count| count.spent));
    assert_eq!(sent(), 10);
    // All are over: there is nothing to undo.
    assert!(counts(&store, 60_000_000, &[&set]).await.iter().all(|count| !count.spent));
    assert_eq!(sent(), 20);
}

// On one thread, as workers are: all calls of a request are there when the first one leaves.
#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_reserved() {
    let (_cluster, forwarders) = behind_forwarders().await;
    let store = Arc::new(stores::connected(config(forwarders[0].port())).await);
    let keys = keys(10);
    let fixed = |rate| meter(Algorithm::FixedWindow, rate, 3600);
    values(&*store, 60, &[(&keys[0], 3600, Spend(5))]).await;
    forwarders.iter().for_each(|forwarder| forwarder.let_replies_through(false));
    let gone = {
        let (store, keys) = (Arc::clone(&store), keys.clone());
        tokio::spawn(async move {
            let set: Vec<Entry<'_>> =
                keys.iter().map(|key| (&**key, fixed(5), Spend(1), LIMIT)).collect();
            counts(&*store, 60_000_000, &[&set]).await
        })
    };
    let sent = || forwarders.iter().map(Forwarder::calls).sum::<u64>();
    let until = async |calls| {
        let all = async {
            while sent() < calls {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("calls");
    };
    until(11).await;
    gone.abort();
    assert!(gone.await.is_err_and(|error| error.is_cancelled()));
    forwarders.iter().for_each(|forwarder| forwarder.let_replies_through(true));
    // Nine hits had fitted. What is asked now comes after their undo on each connection.
    until(20).await;
    let looks: Vec<_> = keys.iter().map(|key| (&**key, 3600, Spend(0))).collect();
    assert_eq!(values(&*store, 60, &looks).await, [5, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_over_several_slots_are_never_over_and_leave_nothing_behind() {
    let cluster = RedisCluster::start();
    let store = Arc::new(stores::cluster(&cluster).await);
    let keys = Arc::new(keys(6));
    let start = 1_700_000_000_000_000;
    for algorithm in
        [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: 40 }]
    {
        cluster.flush();
        let meter = meter(algorithm, 40, 3600);
        let mut tasks = JoinSet::new();
        for seed in 0..8 {
            let (store, keys) = (Arc::clone(&store), Arc::clone(&keys));
            tasks.spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut spent = vec![0; keys.len()];
                for _ in 0..60 {
                    let mut chosen: Vec<usize> = (0..keys.len()).collect();
                    random.shuffle(&mut chosen);
                    chosen.truncate(random.usize(2..=4));
                    let set: Vec<Entry<'_>> = chosen
                        .iter()
                        .map(|key| (&*keys[*key], meter, Spend(random.u64(1..4)), LIMIT))
                        .collect();
                    let counts = counts(&*store, start, &[&set]).await;
                    let admitted = counts.iter().all(|count| count.admitted);
                    assert!(counts.iter().all(|count| count.spent == admitted), "{counts:?}");
                    for ((key, (.., action, _)), _) in
                        chosen.iter().zip(&set).zip(&counts).filter(|(_, count)| count.spent)
                    {
                        let Spend(hits) = action else { unreachable!() };
                        spent[*key] += hits;
                    }
                }
                spent
            });
        }
        let all = tasks.join_all().await;
        let mut fullest = 0;
        for (i, key) in keys.iter().enumerate() {
            let spent: u64 = all.iter().map(|spent| spent[i]).sum();
            let look: [Entry<'_>; 1] = [(key, meter, Spend(0), LIMIT)];
            let held = store.apply(&batch_of_sets(start, &[&look])).await[0].clone().unwrap().after;
            assert_eq!(held, spent, "{key} of {algorithm:?}: nothing stays reserved");
            assert!(held <= 40, "{key} of {algorithm:?} holds {held}");
            fullest = fullest.max(held);
        }
        // Far more was asked than there is room for, in sets of at most three hits a key.
        assert!(fullest >= 38, "the fullest of {algorithm:?} holds {fullest}");
    }
}

//! Callers of a cluster who share calls: nobody can tell from the answers, and nobody's
//! trouble is another one's.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tidegate::limiter::Action::Spend;
use tidegate::limiter::Batch;
use tidegate::store::redis::RedisStore;
use tidegate::store::{Counts, Store, StoreError};
use tokio::task::JoinHandle;

use super::super::group::schedules::answers_as_one_after_the_other;
use super::super::group::storms::{hasty, storm};
use super::super::group::with_time;
use super::together::behind_forwarders;
use super::{RedisCluster, apply, config, keys, stores, values};
use crate::store::{batch, connect};

/// Stops all nodes and has a call to each under way, which others have to wait for. To be
/// used on a runtime of one thread.
async fn stop(cluster: &RedisCluster, store: &Arc<RedisStore>) -> JoinHandle<Counts> {
    cluster.nodes.iter().for_each(|node| node.pause());
    let store = Arc::clone(store);
    // With the first, the second and the third node.
    let plugs = ["{bar}plug_", "{c}plug_", "{foo}plug_"].map(|key| (key, 60, Spend(1)));
    let plug = tokio::spawn(async move { store.apply(&batch(60, &plugs)).await });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    plug
}

/// The answers to batches that were asked for one after the other while none was sent.
async fn together(
    cluster: &RedisCluster,
    store: &Arc<RedisStore>,
    batches: &[Batch],
) -> Vec<Counts> {
    let plug = stop(cluster, store).await;
    let resume = async {
        tokio::task::yield_now().await;
        cluster.nodes.iter().for_each(|node| node.resume());
    };
    let (answers, ()) = tokio::join!(join_all(batches.iter().map(|b| store.apply(b))), resume);
    let plugs = plug.await.expect("the first caller");
    assert!(plugs.iter().all(Result::is_ok), "{plugs:?}");
    answers
}

fn after(counts: &Counts) -> u64 {
    counts[0].as_ref().expect("a count").after
}

#[tokio::test]
async fn one_hot_counter_takes_few_calls() {
    let cluster = RedisCluster::start();
    let store = Arc::new(stores::cluster(&cluster).await);
    let batches: Vec<Batch> = (0..200).map(|_| batch(60, &[("hot_", 60, Spend(1))])).collect();
    let before = cluster.calls();
    let answers = together(&cluster, &store, &batches).await;
    let seen: Vec<u64> = answers.iter().map(after).collect();
    assert_eq!(seen, (1..=200).collect::<Vec<_>>(), "in the order in which they came");
    // Three plugs, what came in the first turn of the runtime, and the rest.
    let calls = cluster.calls() - before;
    assert!((4..=6).contains(&calls), "{calls} calls");
    assert_eq!(cluster.held("hot_60"), [200]);
}

#[tokio::test]
async fn groups_answer_as_one_after_the_other() {
    let cluster = RedisCluster::start();
    for seed in 0..12 {
        cluster.flush();
        let store = Arc::new(stores::cluster(&cluster).await);
        let together = async |batches: &[Batch]| together(&cluster, &store, batches).await;
        answers_as_one_after_the_other(seed, together).await;
    }
    assert_eq!(cluster.errors("CROSSSLOT"), 0);
}

#[tokio::test]
async fn who_goes_away_before_the_call_is_left_out() {
    let cluster = RedisCluster::start();
    let store = Arc::new(stores::cluster(&cluster).await);
    let plug = stop(&cluster, &store).await;
    let one = batch(60, &[("a_", 60, Spend(1)), ("b_", 60, Spend(1))]);
    let mut first = Box::pin(store.apply(&one));
    assert!(first.as_mut().now_or_never().is_none());
    for _ in 0..10 {
        assert!(store.apply(&one).now_or_never().is_none(), "it waits, and goes away");
    }
    let mut last = Box::pin(store.apply(&one));
    assert!(last.as_mut().now_or_never().is_none());
    cluster.nodes.iter().for_each(|node| node.resume());
    assert_eq!((after(&first.await), after(&last.await)), (1, 2));
    assert!(plug.await.expect("the plug").iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_or_is_silent_fails_its_own_callers_only() {
    let mut cluster = RedisCluster::start();
    let mut hasty = with_time(cluster.config());
    hasty.timeout = Duration::from_millis(1500);
    let store = Arc::new(connect(hasty).await);
    let keys = keys(30);
    let lines: Vec<_> = keys.iter().map(|key| (&**key, 3600, Spend(1))).collect();
    values(&*store, 60, &lines).await;
    let lost: Vec<String> = cluster.nodes[1].command(&["KEYS", "*"]);
    cluster.nodes[1].pause();
    let ask = || {
        let asked = keys.iter().cycle().take(300).cloned().map(|key| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let count = apply(&*store, 60, &[(&key, 3600, Spend(1))]).await[0].clone();
                (key, count)
            })
        });
        join_all(asked.collect::<Vec<_>>())
    };
    let is_lost = |key: &str| lost.contains(&format!("{key}0"));
    for (key, count) in ask().await.into_iter().map(|asked| asked.expect("an answer")) {
        assert_eq!(count.is_err(), is_lost(&key), "{key}: {count:?}");
    }
    let asked = ask();
    drop(cluster.nodes.remove(1));
    for (key, count) in asked.await.into_iter().map(|asked| asked.expect("an answer")) {
        assert_eq!(count.is_err(), is_lost(&key), "{key}: {count:?}");
    }
    for key in keys.iter().filter(|key| !is_lost(key)) {
        assert_eq!(cluster.held(&format!("{key}0")), [21], "{key}");
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_keeps_whom_it_has() {
    let cluster = RedisCluster::start();
    let mut config = with_time(cluster.config());
    (config.max_waiting, config.max_operations_per_call) = (20, 7);
    let store = Arc::new(connect(config).await);
    let plug = stop(&cluster, &store).await;
    let one = batch(60, &[("a_", 60, Spend(1))]);
    let mut waiting = Vec::new();
    let refused = loop {
        let mut caller = Box::pin(store.apply(&one));
        match caller.as_mut().now_or_never() {
            Some(counts) => break counts,
            None => waiting.push(caller),
        }
    };
    assert!(matches!(&refused[0], Err(StoreError::Unavailable(text)) if text.contains("20")));
    assert_eq!(waiting.len(), 20);
    cluster.nodes.iter().for_each(|node| node.resume());
    let seen: Vec<u64> = join_all(waiting).await.iter().map(after).collect();
    assert_eq!(seen, (1..=20).collect::<Vec<_>>(), "in order, in several calls");
    assert!(plug.await.expect("the plug").iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_counts_twice_in_a_storm() {
    let (cluster, forwarders) = behind_forwarders().await;
    let mut passed = 0;
    for seed in 0..8 {
        cluster.flush();
        let store = Arc::new(connect(hasty(config(forwarders[0].port()))).await);
        // It goes through the forwarders too, once the storm is over.
        let witness = connect(with_time(config(forwarders[0].port()))).await;
        passed += storm(seed, (store, &witness), &forwarders).await;
    }
    assert!(passed > 0);
}

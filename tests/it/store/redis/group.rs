//! Group commit: who comes while a call is under way shares the next one, and nobody can
//! tell from the answers.
//!
//! A stopped server holds a call for as long as a test needs; what is asked meanwhile waits
//! in the order in which it was asked.

mod failure;
pub(super) mod schedules;
pub(super) mod storms;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tidegate::limiter::Action::{self, GiveBack, Spend};
use tidegate::limiter::{Batch, COUNT_MAX};
use tidegate::store::redis::{RedisConfig, RedisStore, ScriptClock};
use tidegate::store::{Counts, Store};
use tokio::task::JoinHandle;

use super::super::{RedisServer, apply, batch, config, connect, five_in_ten};
use crate::support::stores;

/// Nobody is to be late here.
fn patient(server: &RedisServer) -> RedisConfig {
    with_time(config(server))
}

/// The same, wherever it is.
pub(super) fn with_time(mut config: RedisConfig) -> RedisConfig {
    config.timeout = Duration::from_secs(60);
    config.key_slack_secs = 3600;
    config.clock = ScriptClock::Batch;
    config
}

/// Stops the server and has a call under way, which others have to wait for. To be used on
/// a runtime of one thread.
async fn stop(server: &RedisServer, store: &Arc<RedisStore>) -> JoinHandle<Counts> {
    server.pause();
    let store = Arc::clone(store);
    let plug =
        tokio::spawn(async move { store.apply(&batch(60, &[("plug_", 60, Spend(1))])).await });
    // The caller asks, then the call is made, in turns of this one thread.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    plug
}

/// The answers to batches that were asked for one after the other while none was sent.
async fn together(server: &RedisServer, store: &Arc<RedisStore>, batches: &[Batch]) -> Vec<Counts> {
    let plug = stop(server, store).await;
    let resume = async {
        tokio::task::yield_now().await;
        server.resume();
    };
    let asked = join_all(batches.iter().map(|batch| store.apply(batch)));
    let (answers, ()) = tokio::join!(asked, resume);
    assert!(plug.await.expect("the first caller")[0].is_ok());
    answers
}

/// How often Redis has run a command.
fn ran(server: &RedisServer, name: &str) -> u64 {
    let text: String = server.command(&["INFO", "commandstats"]);
    let head = format!("cmdstat_{name}:calls=");
    let line = text.lines().find_map(|line| line.strip_prefix(&head)?.split(',').next());
    line.map_or(0, |calls| calls.parse().expect("a number"))
}

#[tokio::test]
async fn hits_on_one_counter_go_as_one_sum() {
    let server = RedisServer::start();
    let store = Arc::new(connect(patient(&server)).await);
    let batches: Vec<Batch> = (0..200).map(|_| batch(60, &[("a_", 60, Spend(1))])).collect();
    server.command::<()>(&["CONFIG", "RESETSTAT"]);
    let answers = together(&server, &store, &batches).await;
    for (before, counts) in answers.into_iter().enumerate() {
        let count = counts[0].clone().expect("a count");
        assert_eq!(count.after, before as u64 + 1);
        assert_eq!(count.admitted, before < 10, "each by its own count");
    }
    // The plug, what came in the first turn of the runtime, and the rest.
    let (calls, sums) = (ran(&server, "evalsha"), ran(&server, "incrby"));
    assert!((2..=3).contains(&calls) && (2..=4).contains(&sums), "{calls} calls, {sums} sums");
    assert!((1..=3_660_000).contains(&server.pttl(b"a_60")), "a sum gets its end");
}

#[tokio::test]
async fn a_batch_asks_for_a_counter_once() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    server.command::<()>(&["CONFIG", "RESETSTAT"]);
    let lines =
        [("a_", 60, Spend(1)), ("b_", 60, Spend(5)), ("a_", 60, Spend(2)), ("a_", 60, Spend(0))];
    let after = apply(&store, 60, &lines).await;
    assert_eq!(after, [Ok(1), Ok(5), Ok(3), Ok(3)]);
    assert_eq!((ran(&server, "evalsha"), ran(&server, "incrby")), (1, 2));
}

#[tokio::test]
async fn sums_end_at_what_is_no_sum_and_at_what_a_counter_holds() {
    let histories: [&[Action]; 6] = [
        &[Spend(3), GiveBack(9), Spend(3), Spend(4)],
        &[GiveBack(1), Spend(9), Spend(0), Spend(9)],
        &[Spend(COUNT_MAX - 2), Spend(1), Spend(9), Spend(0), GiveBack(1), Spend(0)],
        &[Spend(u64::MAX), Spend(u64::MAX), Spend(1)],
        &[Spend(0), Spend(0)],
        &[Spend(7), Spend(u64::MAX), Spend(1), GiveBack(5), Spend(2), Spend(2)],
    ];
    let server = RedisServer::start();
    let store = Arc::new(connect(patient(&server)).await);
    for history in histories {
        let memory = stores::memory();
        // Twice: from nothing, and from what the first left.
        for _ in 0..2 {
            let batches: Vec<Batch> =
                history.iter().map(|action| batch(60, &[("a_", 60, *action)])).collect();
            let there = together(&server, &store, &batches).await;
            for ((batch, there), action) in batches.iter().zip(there).zip(history) {
                assert_eq!(there, memory.apply(batch).await, "{action:?} of {history:?}");
            }
        }
        server.command::<()>(&["FLUSHALL"]);
    }
}

#[tokio::test]
async fn what_others_have_written_below_zero_stays_nobodys() {
    let server = RedisServer::start();
    let store = Arc::new(connect(patient(&server)).await);
    server.command::<()>(&["SET", "a_60", "-3"]);
    let batches: Vec<Batch> = (0..5).map(|_| batch(60, &[("a_", 60, Spend(1))])).collect();
    let answers = together(&server, &store, &batches).await;
    let after: Vec<u64> =
        answers.iter().map(|counts| counts[0].as_ref().expect("a count").after).collect();
    assert_eq!(after, [0, 0, 0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_count_every_hit_once() {
    let server = RedisServer::start();
    let store = Arc::new(connect(patient(&server)).await);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..100 {
                let own = format!("own{task}_");
                let lines = [("hot_", 60, Spend(1)), (&*own, 60, Spend(1))];
                seen.push(apply(&*store, 60, &lines).await[0].clone().expect("a count"));
            }
            seen
        });
    }
    let mut seen: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=1600).collect::<Vec<_>>(), "no two see the same count");
    assert_eq!(server.command::<u64>(&["GET", "own7_60"]), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_are_admitted_the_limit_of_every_algorithm() {
    let server = RedisServer::start();
    let store = Arc::new(connect(patient(&server)).await);
    for meter in five_in_ten() {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let count = super::super::count(&*store, 60_000_000, ("k_", meter), Spend(1));
                u64::from(count.await.admitted)
            });
        }
        let admitted: u64 = tasks.join_all().await.iter().sum();
        assert_eq!(admitted, 5, "{meter:?}");
    }
}

//! Callers that go away or are late, errors, a lost connection, a full queue.

use std::time::Instant;

use futures_util::FutureExt;
use tidegate::store::StoreError;

use super::*;
use crate::store::becomes;

fn one() -> Batch {
    batch(60, &[("a_", 60, Spend(1))])
}

fn value(counts: &Counts) -> u64 {
    counts[0].as_ref().expect("a count").after
}

#[tokio::test]
async fn who_goes_away_before_the_call_is_left_out() {
    let server = RedisServer::start();
    let store = Arc::new(connect(patient(&server)).await);
    let plug = stop(&server, &store).await;
    let one = one();
    let first = store.apply(&one);
    tokio::pin!(first);
    assert!(first.as_mut().now_or_never().is_none());
    for _ in 0..10 {
        assert!(store.apply(&one).now_or_never().is_none(), "it waits, and goes away");
    }
    let last = store.apply(&one);
    tokio::pin!(last);
    assert!(last.as_mut().now_or_never().is_none());
    server.resume();
    assert_eq!((value(&first.await), value(&last.await)), (1, 2));
    assert!(plug.await.unwrap()[0].is_ok());
}

#[tokio::test]
async fn who_goes_away_during_the_call_harms_nobody() {
    let server = RedisServer::start();
    let store = Arc::new(connect(patient(&server)).await);
    let plug = stop(&server, &store).await;
    plug.abort();
    assert!(plug.await.unwrap_err().is_cancelled());
    let one = one();
    let next = store.apply(&one);
    server.resume();
    assert_eq!(value(&next.await), 1);
    assert_eq!(server.command::<u64>(&["GET", "plug_60"]), 1, "it was counted");
}

#[tokio::test]
async fn who_waits_behind_a_lost_call_is_answered_when_it_is_lost() {
    let server = RedisServer::start();
    let mut config = patient(&server);
    config.timeout = Duration::from_millis(300);
    let store = Arc::new(connect(config.clone()).await);
    let plug = stop(&server, &store).await;
    let late = async {
        tokio::time::sleep(config.timeout / 2).await;
        let (start, answer) = (Instant::now(), store.apply(&one()).await);
        (start.elapsed(), answer)
    };
    let (elapsed, answer) = late.await;
    assert!(matches!(answer[0], Err(StoreError::Unavailable(_))), "{answer:?}: not asked");
    assert!(elapsed < config.timeout * 10, "{elapsed:?}");
    assert_eq!(plug.await.unwrap()[0], Err(StoreError::Timeout(config.timeout)));
    server.resume();
    becomes(&store, true).await;
    assert_eq!(value(&store.apply(&one()).await), 1, "nothing is sent later");
}

#[tokio::test]
async fn an_error_is_that_of_its_operations_alone() {
    let server = RedisServer::start();
    let store = Arc::new(connect(patient(&server)).await);
    server.command::<()>(&["LPUSH", "list_60", "x"]);
    let lines = [("a_", 60, Spend(1)), ("list_", 60, Spend(1)), ("b_", 60, Spend(1))];
    let batches: Vec<Batch> = (0..20).map(|_| batch(60, &lines)).collect();
    let answers = together(&server, &store, &batches).await;
    for (before, counts) in answers.iter().enumerate() {
        assert_eq!(counts[0].as_ref().unwrap().after, before as u64 + 1);
        assert!(matches!(&counts[1], Err(StoreError::Refused(text)) if text.contains("WRONGTYPE")));
        assert_eq!(counts[2].as_ref().unwrap().after, before as u64 + 1);
    }
    assert_eq!(store.stats().errors, 20);
}

#[tokio::test]
async fn a_lost_connection_is_everybodys_error_once() {
    let mut server = RedisServer::start();
    let store = Arc::new(connect(patient(&server)).await);
    let plug = stop(&server, &store).await;
    let one = one();
    let mut waiting: Vec<_> = (0..3000).map(|_| Box::pin(store.apply(&one))).collect();
    for caller in &mut waiting {
        assert!(caller.as_mut().now_or_never().is_none());
    }
    server.kill();
    let answers = tokio::time::timeout(Duration::from_secs(20), join_all(waiting)).await;
    for counts in answers.expect("an end without the deadline") {
        let error = counts[0].as_ref().expect_err("no answer");
        assert!(matches!(error, StoreError::Broken(_) | StoreError::Unavailable(_)), "{error:?}");
    }
    assert!(matches!(plug.await.unwrap()[0], Err(StoreError::Broken(_))));
    assert_eq!(store.stats().errors, 3001);
    server.restart();
    becomes(&store, true).await;
    assert_eq!(value(&store.apply(&one).await), 1, "nothing is sent later");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_keeps_whom_it_has() {
    let server = RedisServer::start();
    let store = Arc::new(connect(patient(&server)).await);
    let plug = stop(&server, &store).await;
    let one = one();
    let mut waiting = Vec::new();
    let refused = loop {
        let mut caller = Box::pin(store.apply(&one));
        match caller.as_mut().now_or_never() {
            Some(counts) => break counts,
            None => waiting.push(caller),
        }
    };
    let Err(StoreError::Unavailable(text)) = &refused[0] else { panic!("{refused:?}") };
    assert!(text.contains("16384") && waiting.len() == 16_384, "{text}: {}", waiting.len());
    server.resume();
    let answers = join_all(waiting).await;
    let after: Vec<u64> = answers.iter().map(value).collect();
    assert_eq!(after, (1..=16_384).collect::<Vec<_>>(), "in order, in several calls");
    assert!(plug.await.unwrap()[0].is_ok());
}

//! The Redis store: what it leaves in Redis, and what it does when Redis fails.

mod address;
mod algorithms;
mod clocks;
mod cluster;
mod failure;
mod group;
mod login;
mod roll;
mod sentinel;
mod tls;
mod told;

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate::clock::Timestamp;
use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::{Batch, Meter, NewOperation, Refused};
use tidegate::rules::Algorithm;
use tidegate::store::redis::RedisStore;
use tidegate::store::{Store, StoreError};

use super::{RedisServer, apply, becomes, config, connect, meter, values};

#[tokio::test]
async fn a_key_is_the_counter_key_and_the_start_of_the_window() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    let now = 1_700_000_000;
    values(&store, now, &[("shop_tier_gold_op_write_", 1, Spend(2))]).await;
    values(&store, now, &[("shop_", 86_400, Spend(3)), ("", 60, Spend(1))]).await;
    let mut binary = Batch::new(Timestamp::from_secs(now));
    let meter = Meter { refused: Refused::Spend, ..meter(Algorithm::FixedWindow, 1, 1) };
    let operation = NewOperation::alone(meter, Spend(4), 0);
    binary.push(operation, |out| out.extend_from_slice(b"\xff\r\n\0_"));
    store.apply(&binary).await;

    let expected: [&[u8]; 4] = [
        b"1699999980",
        b"shop_1699920000",
        b"shop_tier_gold_op_write_1700000000",
        b"\xff\r\n\x00_1700000000",
    ];
    assert_eq!(server.keys(), expected);
    assert_eq!(server.command::<u64>(&["GET", "shop_1699920000"]), 3);
}

#[tokio::test]
async fn every_counter_has_an_end() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    let lines = [
        ("spent_", 60, Spend(3)),
        ("seen_", 60, Spend(0)),
        ("full_", 60, Spend(u64::MAX)),
        ("full_", 60, Spend(u64::MAX)),
        ("returned_", 60, Spend(2)),
        ("returned_", 60, GiveBack(9)),
        ("never_", 60, GiveBack(1)),
        ("long_", u64::MAX, Spend(1)),
    ];
    values(&store, 60, &lines).await;
    let keys = server.keys();
    assert_eq!(keys.len(), 5, "a give-back creates nothing, a look does");
    for key in keys {
        let (ttl, name) = (server.pttl(&key), String::from_utf8_lossy(&key));
        let most = if name.starts_with("long_") { (1 << 40) * 1000 } else { 60_000 };
        assert!((1..=most).contains(&ttl), "{name} lives {ttl} ms");
    }
}

#[tokio::test]
async fn a_counter_that_exists_keeps_its_end() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    values(&store, 60, &[("a_", 60, Spend(5))]).await;
    server.command::<()>(&["EXPIRE", "a_60", "5000"]);
    for action in [Spend(1), Spend(0), GiveBack(1), GiveBack(9), Spend(7), Spend(u64::MAX)] {
        // At zero it begins anew, and may.
        let anew = server.command::<u64>(&["GET", "a_60"]) == 0;
        values(&store, 60, &[("a_", 60, action)]).await;
        assert_eq!(server.pttl(b"a_60") > 60_000, !anew, "after {action:?}");
        server.command::<()>(&["EXPIRE", "a_60", "5000"]);
    }
}

#[tokio::test]
async fn slack_and_jitter_lengthen_lives_within_their_range() {
    let server = RedisServer::start();
    let mut config = config(&server);
    config.key_slack_secs = 100;
    config.expiration_jitter_max_secs = 10;
    let store = connect(config).await;
    for key in 0..100 {
        values(&store, 60, &[(&format!("{key}_"), 60, Spend(1))]).await;
    }
    let ttls: Vec<i64> = server.keys().iter().map(|key| server.pttl(key)).collect();
    // From 160 to 169 seconds, of which at most a few have passed.
    assert!(ttls.iter().all(|ttl| (130_000..=169_000).contains(ttl)), "{ttls:?}");
    let different: BTreeSet<i64> = ttls.iter().map(|ttl| ttl / 1000).collect();
    assert!(different.len() > 2, "{different:?}");
}

#[tokio::test]
async fn an_error_of_one_key_hides_no_other_answer() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    server.command::<()>(&["LPUSH", "list_60", "x"]);
    server.command::<()>(&["SET", "text_60", "x"]);
    let lines = [
        ("a_", 60, Spend(1)),
        ("list_", 60, Spend(1)),
        ("list_", 60, GiveBack(1)),
        ("text_", 60, Spend(1)),
        ("text_", 60, GiveBack(1)),
        ("b_", 60, Spend(2)),
    ];
    let counts = apply(&store, 60, &lines).await;
    assert_eq!((&counts[0], &counts[5]), (&Ok(1), &Ok(2)));
    for (count, word) in counts[1..5].iter().zip(["WRONGTYPE", "WRONGTYPE", "integer", "integer"]) {
        let Err(StoreError::Refused(text)) = count else { panic!("{count:?}") };
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(store.stats().errors, 4);
    assert_eq!(store.stats().opened, 1, "a refusal is no reason to reconnect");
}

#[tokio::test]
async fn a_flush_of_scripts_is_survived() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    for expected in 1..=3 {
        assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [expected]);
        server.command::<()>(&["SCRIPT", "FLUSH"]);
    }
}

#[tokio::test]
async fn stores_on_one_redis_share_its_counters() {
    let server = RedisServer::start_tcp();
    let (one, other) = (connect(config(&server)).await, connect(config(&server)).await);
    assert_eq!(values(&one, 60, &[("a_", 60, Spend(1))]).await, [1]);
    assert_eq!(values(&other, 60, &[("a_", 60, Spend(2))]).await, [3]);
    assert_eq!(values(&one, 60, &[("a_", 60, Spend(0))]).await, [3]);
}

#[tokio::test]
async fn a_batch_is_one_call() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    values(&store, 60, &[("a_", 60, Spend(1)), ("b_", 60, Spend(0)), ("c_", 60, GiveBack(1))])
        .await;
    let stats: String = server.command(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_evalsha:calls=1,"), "{stats}");
}

#[tokio::test]
async fn stats_tell_of_connections_and_errors() {
    let mut server = RedisServer::start();
    let store = connect(config(&server)).await;
    let stats = |store: &super::RedisStore| {
        let stats = store.stats();
        (stats.opened, stats.active, stats.errors)
    };
    assert_eq!(stats(&store), (1, 1, 0));
    server.kill();
    becomes(&store, false).await;
    apply(&store, 60, &[("a_", 60, Spend(1)), ("b_", 60, Spend(1))]).await;
    assert_eq!(stats(&store), (1, 0, 2));
    server.restart();
    becomes(&store, true).await;
    assert_eq!(stats(&store), (2, 1, 2));
}

/// Why the store has no connection, once it has tried.
async fn refusal(store: &RedisStore) -> String {
    let tried = async {
        loop {
            match store.probe().await {
                Err(StoreError::Unavailable(text)) if text != "not connected yet" => return text,
                Err(_) => tokio::task::yield_now().await,
                Ok(()) => panic!("the door was open"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), tried).await.expect("an attempt to connect")
}

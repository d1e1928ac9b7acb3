//! The roll: how many replicas are told to be alive, as they come, go, die and forget.

use std::time::Duration;

use tidegate::limiter::Action::Spend;
use tidegate::store::redis::{RedisStore, Roll};
use tidegate::store::{Store, StoreError};

use super::login::NEEDED;
use super::{RedisServer, config, connect, values};
use crate::support::cluster::RedisCluster;
use crate::support::process::PATIENCE;
use crate::support::stores;

/// Nobody goes missing while a test takes its time.
const LONG: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_millis(100);
const KEY: &str = "tidegate:replicas";

async fn call(store: &RedisStore, roll: &Roll) -> Option<u32> {
    store.call_roll(roll).await.expect("an answer")
}

/// Calls the roll until it tells that number.
async fn becomes(store: &RedisStore, roll: &Roll, number: u32) {
    let calls = async { while call(store, roll).await != Some(number) {} };
    let done = tokio::time::timeout(PATIENCE, calls).await;
    done.unwrap_or_else(|_| panic!("the roll does not tell {number}"));
}

#[tokio::test]
async fn all_are_told_who_comes_and_who_goes() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    let [one, two, three] = [(); 3].map(|()| Roll::new("", LONG));
    assert_eq!(call(&store, &one).await, None, "others do not know of it yet");
    assert_eq!(call(&store, &one).await, Some(1));
    assert_eq!(call(&store, &two).await, None);
    assert_eq!(call(&store, &one).await, Some(2), "at once");
    assert_eq!(call(&store, &two).await, Some(2));
    call(&store, &three).await;
    for roll in [&one, &two, &three] {
        assert_eq!(call(&store, roll).await, Some(3));
    }
    store.leave_roll(&three).await.expect("it hears that");
    for (roll, answers) in [(&one, [3, 3, 2]), (&two, [3, 3, 2])] {
        for expected in answers {
            assert_eq!(call(&store, roll).await, Some(expected), "after three answers");
        }
    }
    // A call that was under way does not bring it back.
    call(&store, &three).await;
    assert_eq!(call(&store, &one).await, Some(2));
    assert_eq!(server.keys(), [KEY.as_bytes()]);
    assert!((1..=600_000).contains(&server.pttl(KEY.as_bytes())), "the key ends by itself");
    for roll in [&one, &two] {
        store.leave_roll(roll).await.expect("it hears that");
    }
    let nobody = async { while !server.keys().is_empty() {} };
    tokio::time::timeout(PATIENCE, nobody).await.expect("nothing is left");
}

#[tokio::test]
async fn one_that_is_silent_is_gone_after_a_while() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    let (stays, dies) = (Roll::new("", LONG), Roll::new("", SHORT));
    call(&store, &dies).await;
    call(&store, &stays).await;
    assert_eq!(call(&store, &stays).await, Some(2));
    becomes(&store, &stays, 1).await;
    // It was only slow.
    call(&store, &dies).await;
    becomes(&store, &stays, 2).await;
}

#[tokio::test]
async fn a_redis_that_has_forgotten_is_not_believed_at_once() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    let [one, two] = [(); 2].map(|()| Roll::new("", LONG));
    for roll in [&one, &two, &one, &two] {
        call(&store, roll).await;
    }
    server.command::<()>(&["FLUSHALL"]);
    assert_eq!(call(&store, &one).await, Some(2), "it says one");
    assert_eq!(call(&store, &two).await, Some(2));
    for _ in 0..3 {
        assert_eq!(call(&store, &one).await, Some(2));
    }
}

#[tokio::test]
async fn fleets_of_other_prefixes_are_others_and_a_user_needs_no_more_for_it() {
    let server = RedisServer::start_tcp();
    let mut user = vec!["ACL", "SETUSER", "gate", "on", ">pass", "~a:*"];
    user.extend(NEEDED);
    server.command::<()>(&user);
    let store = connect(config(&server)).await;
    let url = format!("redis://gate:pass@{}", server.url());
    let gate = tidegate::store::redis::RedisConfig::new(&url, Default::default(), None);
    let gate = connect(gate.expect("an address")).await;
    let (a, b) = (Roll::new("a:", LONG), Roll::new("b:", LONG));
    for _ in 0..2 {
        call(&gate, &a).await;
        call(&store, &b).await;
    }
    assert_eq!((call(&gate, &a).await, call(&store, &b).await), (Some(1), Some(1)));
    assert_eq!(server.keys(), [b"a:tidegate:replicas", b"b:tidegate:replicas"]);
}

#[tokio::test]
async fn whatever_stands_there_ends_nothing() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    let time: [u64; 2] = server.command(&["TIME"]);
    let till = |secs: u64| (time[0] + secs) * 1_000_000;
    let check = async |held: String, expected: u32| {
        server.command::<()>(&["SET", KEY, &held]);
        let roll = Roll::new("", LONG);
        call(&store, &roll).await;
        assert_eq!(call(&store, &roll).await, Some(expected), "{held:.80}");
    };
    check("noise".to_owned(), 1).await;
    check(format!("ab {}\n", till(100)), 2).await;
    check(format!("ab {}\ncd {}\n\n ", till(100), till(0) - 1), 2).await;
    // The clock was set back since.
    check(format!("ab {}\n", till(3600)), 1).await;
    // It holds ten thousand and no more.
    check((0..10_100).map(|id| format!("{id:x} {}\n", till(100))).collect(), 10_000).await;
    server.command::<()>(&["DEL", KEY]);
    server.command::<()>(&["LPUSH", KEY, "1"]);
    let refused = store.call_roll(&Roll::new("", LONG)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [1]);
}

#[tokio::test]
async fn redis_may_be_away_and_lose_the_script() {
    let mut server = RedisServer::start();
    let store = connect(config(&server)).await;
    let roll = Roll::new("", LONG);
    call(&store, &roll).await;
    server.command::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(call(&store, &roll).await, Some(1));
    server.kill();
    super::becomes(&store, false).await;
    let away = store.call_roll(&roll).await;
    assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
    server.restart();
    super::becomes(&store, true).await;
    assert_eq!(call(&store, &roll).await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_and_two_redis_have_one_roll() {
    let cluster = RedisCluster::start();
    let (here, there) = (stores::cluster(&cluster).await, stores::cluster(&cluster).await);
    let [one, two] = [(); 2].map(|()| Roll::new("", LONG));
    for _ in 0..2 {
        call(&here, &one).await;
        call(&there, &two).await;
    }
    assert_eq!(call(&here, &one).await, Some(2));
    // After the slot has moved, the next call or one after finds it.
    let slot: u16 = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", KEY]);
    let from = usize::from(slot) / 5462;
    cluster.migrate(slot, from, (from + 1) % 3);
    let found = async { while there.call_roll(&two).await.is_err() {} };
    tokio::time::timeout(PATIENCE, found).await.expect("the key where it is");
    assert_eq!(here.probe().await, Ok(()));

    let (main, second) = (RedisServer::start(), RedisServer::start());
    let both = stores::per_second(&main, &second).await;
    call(both.main(), &Roll::new("", LONG)).await;
    assert_eq!((main.keys().len(), second.keys().len()), (1, 0));
}

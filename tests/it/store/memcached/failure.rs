//! Memcached gone, silent, confused, back again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::limiter::Action::Spend;
use tidegate::store::memcached::{MemcachedConfig, MemcachedStore, Servers};
use tidegate::store::{Store, StoreError};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::super::{apply, values};
use super::{SOON, becomes, connect};
use crate::support::memcached::MemcachedServer;

const TIMEOUT: Duration = Duration::from_millis(200);

async fn spend(store: &MemcachedStore) -> Result<u64, StoreError> {
    apply(store, 60, &[("a_", 3600, Spend(1))]).await.remove(0)
}

#[tokio::test]
async fn an_absent_server_is_answered_for_at_once_and_joined_when_it_comes() {
    let mut server = MemcachedServer::start();
    server.kill();
    let mut config = server.config();
    config.timeout = Duration::from_secs(60);
    let store = MemcachedStore::connect(config);
    let start = Instant::now();
    for _ in 0..100 {
        assert!(matches!(spend(&store).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(store.probe().await, Err(StoreError::Unavailable(_))));
    }
    assert!(start.elapsed() < SOON);
    server.restart();
    becomes(&store, 1).await;
    assert_eq!(spend(&store).await, Ok(1));
}

#[tokio::test]
async fn a_restarted_server_begins_empty_and_the_store_goes_on() {
    let mut server = MemcachedServer::start_tcp();
    let store = connect(server.config(), 1).await;
    for _ in 0..2 {
        assert_eq!(spend(&store).await, Ok(1));
        assert_eq!(spend(&store).await, Ok(2));
        server.kill();
        becomes(&store, 0).await;
        for _ in 0..100 {
            assert!(matches!(spend(&store).await, Err(StoreError::Unavailable(_))));
        }
        server.restart();
        becomes(&store, 1).await;
    }
}

#[tokio::test]
async fn a_killed_server_ends_what_was_under_way() {
    let mut server = MemcachedServer::start();
    let mut config = server.config();
    config.timeout = Duration::from_secs(60);
    let store = Arc::new(connect(config, 1).await);
    server.pause();
    let asked = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { spend(&store).await })
    };
    // Once polled, the call is on its way or finds no connection.
    tokio::task::yield_now().await;
    server.kill();
    let answer = tokio::time::timeout(SOON, asked).await.expect("an end").expect("an answer");
    assert!(matches!(answer, Err(StoreError::Broken(_))), "{answer:?}");
}

#[tokio::test]
async fn a_silent_server_times_out_then_loses_the_connection() {
    let server = MemcachedServer::start();
    let mut config = server.config();
    config.timeout = TIMEOUT;
    config.connect_timeout = TIMEOUT;
    let store = connect(config, 1).await;
    assert_eq!(spend(&store).await, Ok(1));

    server.pause();
    let start = Instant::now();
    assert_eq!(spend(&store).await, Err(StoreError::Timeout(TIMEOUT)));
    assert!((TIMEOUT..SOON).contains(&start.elapsed()));
    assert_eq!(store.probe().await, Err(StoreError::Timeout(TIMEOUT)));
    let mut attempts = 2;
    while *store.connected().borrow() == 1 {
        let answer = spend(&store).await;
        assert!(answer.is_err(), "{answer:?}");
        attempts += 1;
        assert!(start.elapsed() < SOON, "still connected after {attempts} attempts");
    }
    assert!(matches!(spend(&store).await, Err(StoreError::Unavailable(_))));

    server.resume();
    becomes(&store, 1).await;
    let held = values(&store, 60, &[("a_", 3600, Spend(0))]).await[0];
    assert!((1..=attempts).contains(&held), "nothing counts twice");
}

#[tokio::test]
async fn one_stall_of_many_callers_costs_neither_the_connection_nor_the_order() {
    let server = MemcachedServer::start();
    let mut config = server.config();
    config.timeout = TIMEOUT;
    let store = Arc::new(connect(config, 1).await);
    server.pause();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let store = Arc::clone(&store);
        callers.spawn(async move { spend(&store).await });
    }
    for answer in callers.join_all().await {
        assert_eq!(answer, Err(StoreError::Timeout(TIMEOUT)));
    }
    server.resume();
    // Late replies belong to callers that went away, and to nobody else.
    assert_eq!(values(&*store, 60, &[("b_", 3600, Spend(7))]).await, [7]);
    assert!((1..=51).contains(&spend(&store).await.expect("the same connection")));
    assert_eq!(store.stats().opened, 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_no_harm() {
    let server = MemcachedServer::start();
    let store = connect(server.config(), 1).await;
    server.pause();
    for _ in 0..10 {
        let gone = tokio::time::timeout(Duration::from_millis(1), spend(&store)).await;
        assert!(gone.is_err());
    }
    server.resume();
    assert!((1..=11).contains(&spend(&store).await.expect("an answer")));
    assert_eq!(store.stats().opened, 1);
}

#[tokio::test]
async fn a_dropped_store_closes_its_connections() {
    let server = MemcachedServer::start();
    let store = connect(server.config(), 1).await;
    let mut connected = store.connected();
    drop(store);
    let ended = async { while connected.changed().await.is_ok() {} };
    tokio::time::timeout(SOON, ended).await.expect("the end of the link");
    assert_eq!(*connected.borrow(), 0);
}

/// Something that greets like memcached and answers the next commands with `reply`, on one
/// connection after the other.
async fn impostor(reply: &'static str) -> MemcachedConfig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut answer = "VERSION 0\r\n";
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
                answer = reply;
            }
        }
    });
    let mut config = MemcachedConfig::new(Servers::listed(&address).unwrap());
    config.timeout = SOON;
    config
}

#[tokio::test]
async fn an_answer_that_does_not_fit_ends_the_connection() {
    for reply in ["STORED\r\n", "7", "ERROR\r\n", "\r\n", "7\r\n8\r\n", "-1\r\n", "VERSION 1\r\n"] {
        let store = connect(impostor(reply).await, 1).await;
        if reply == "7" {
            // Half an answer is none until its end comes, which is never.
            let gone = tokio::time::timeout(TIMEOUT, spend(&store)).await;
            assert!(gone.is_err());
            continue;
        }
        let answer = spend(&store).await;
        if reply == "7\r\n8\r\n" {
            assert_eq!(answer, Ok(7));
        } else {
            assert!(matches!(answer, Err(StoreError::Broken(_))), "{reply:?}: {answer:?}");
        }
        let mut connected = store.connected();
        let replaced = connected.wait_for(|_| store.stats().opened > 1);
        tokio::time::timeout(SOON, replaced).await.expect("a new connection").unwrap();
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    const LONG: &str = include_str!("../../../../Cargo.lock");
    let long: &'static str = Box::leak(LONG.replace('\n', " ").into_boxed_str());
    let store = connect(impostor(long).await, 1).await;
    let answer = spend(&store).await;
    assert!(matches!(answer, Err(StoreError::Broken(_))), "{answer:?}");
}

#[tokio::test]
async fn what_does_not_greet_like_memcached_is_not_used() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let store = MemcachedStore::connect(MemcachedConfig::new(Servers::listed(&address).unwrap()));
    let start = Instant::now();
    loop {
        let Err(StoreError::Unavailable(text)) = spend(&store).await else { panic!("it counts") };
        if text.contains("400 Bad Request") {
            break;
        }
        assert!(start.elapsed() < SOON, "{text}");
        tokio::task::yield_now().await;
    }
}

/// Something that answers only once it has three commands at hand, with as many counts;
/// `first` stands in for the answers to the first three.
async fn counts_by_three(first: &'static str) -> MemcachedConfig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        lines.next_line().await.unwrap();
        writer.write_all(b"VERSION 0\r\n").await.unwrap();
        for answers in [first, "STORED\r\nSTORED\r\nSTORED\r\n"] {
            let mut commands = 0;
            while commands < 3 {
                let line = lines.next_line().await.unwrap().expect("three commands");
                // An `add` has a second line.
                commands += usize::from(line.starts_with("incr") || line.starts_with("add"));
            }
            writer.write_all(answers.as_bytes()).await.unwrap();
        }
    });
    let mut config = MemcachedConfig::new(Servers::listed(&address).unwrap());
    config.timeout = SOON;
    config
}

#[tokio::test]
async fn a_batch_is_one_round_trip_and_a_second_where_counters_begin() {
    let lines = ["a_", "b_", "c_"].map(|key| (key, 60, Spend(4)));
    let store = connect(counts_by_three("5\r\n6\r\n7\r\n").await, 1).await;
    assert_eq!(values(&store, 60, &lines).await, [5, 6, 7]);
    let absent = "NOT_FOUND\r\nNOT_FOUND\r\nNOT_FOUND\r\n";
    let store = connect(counts_by_three(absent).await, 1).await;
    assert_eq!(values(&store, 60, &lines).await, [4, 4, 4]);
}

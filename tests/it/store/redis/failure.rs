//! Redis gone, silent, read-only, back again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::limiter::Action::Spend;
use tidegate::store::redis::{RedisConfig, RedisStore, SocketType};
use tidegate::store::{Store, StoreError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::super::{RedisServer, apply, becomes, config, connect, values};
use super::refusal;

const TIMEOUT: Duration = Duration::from_millis(200);
/// Far more than anything here takes on a busy machine, far less than for ever.
const SOON: Duration = Duration::from_secs(5);

async fn spend(store: &RedisStore) -> Result<u64, StoreError> {
    apply(store, 60, &[("a_", 3600, Spend(1))]).await.remove(0)
}

async fn look(store: &RedisStore) -> u64 {
    values(store, 60, &[("a_", 3600, Spend(0))]).await[0]
}

#[tokio::test]
async fn an_absent_server_is_answered_for_at_once_and_joined_when_it_comes() {
    let mut server = RedisServer::start();
    server.kill();
    let mut config = config(&server);
    config.timeout = Duration::from_secs(60);
    let store = RedisStore::connect(config);
    let start = Instant::now();
    for _ in 0..100 {
        assert!(matches!(spend(&store).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(store.probe().await, Err(StoreError::Unavailable(_))));
    }
    assert!(start.elapsed() < SOON);
    server.restart();
    becomes(&store, true).await;
    assert_eq!(spend(&store).await, Ok(1));
}

#[tokio::test]
async fn a_killed_server_is_noticed_without_traffic_and_joined_again() {
    let mut server = RedisServer::start_tcp();
    let store = connect(config(&server)).await;
    assert_eq!(spend(&store).await, Ok(1));
    for _ in 0..2 {
        server.kill();
        becomes(&store, false).await;
        let start = Instant::now();
        for _ in 0..100 {
            assert!(matches!(spend(&store).await, Err(StoreError::Unavailable(_))));
        }
        assert!(start.elapsed() < SOON);
        server.restart();
        let start = Instant::now();
        becomes(&store, true).await;
        assert!(start.elapsed() < SOON);
        assert_eq!(spend(&store).await, Ok(1), "a restarted server begins empty");
    }
}

#[tokio::test]
async fn a_killed_server_ends_what_was_under_way() {
    let mut server = RedisServer::start();
    let mut config = config(&server);
    config.timeout = Duration::from_secs(60);
    let store = Arc::new(connect(config).await);
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
    let server = RedisServer::start();
    let mut config = config(&server);
    config.timeout = TIMEOUT;
    config.dialing.connect_timeout = TIMEOUT;
    let store = connect(config).await;
    assert_eq!(spend(&store).await, Ok(1));

    server.pause();
    let start = Instant::now();
    assert_eq!(spend(&store).await, Err(StoreError::Timeout(TIMEOUT)));
    assert!((TIMEOUT..SOON).contains(&start.elapsed()));
    assert_eq!(store.probe().await, Err(StoreError::Timeout(TIMEOUT)));
    let mut attempts = 2;
    while *store.connected().borrow() {
        let answer = spend(&store).await;
        assert!(answer.is_err(), "{answer:?}");
        attempts += 1;
        assert!(start.elapsed() < SOON, "still connected after {attempts} attempts");
    }
    assert!(matches!(spend(&store).await, Err(StoreError::Unavailable(_))));

    server.resume();
    becomes(&store, true).await;
    assert!((1..=attempts).contains(&look(&store).await), "nothing counts twice");
}

#[tokio::test]
async fn one_stall_of_many_callers_does_not_cost_the_connection() {
    let server = RedisServer::start();
    let mut config = config(&server);
    config.timeout = TIMEOUT;
    let store = Arc::new(connect(config).await);
    server.pause();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let store = Arc::clone(&store);
        callers.spawn(async move { spend(&store).await });
    }
    for answer in callers.join_all().await {
        assert_eq!(answer, Err(StoreError::Timeout(TIMEOUT)));
    }
    assert!(matches!(spend(&store).await, Err(StoreError::Unavailable(_))), "the circuit is open");
    server.resume();
    becomes(&store, true).await;
    assert!((1..=51).contains(&spend(&store).await.expect("the same connection")));
    assert_eq!(store.stats().opened, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_count_at_most_once() {
    let server = RedisServer::start();
    let store = Arc::new(connect(config(&server)).await);
    let (mut sure, mut attempts) = (0, 0);
    for _ in 0..6 {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let store = Arc::clone(&store);
            callers.spawn(async move { spend(&store).await });
        }
        server.command::<()>(&["CLIENT", "KILL", "SKIPME", "yes"]);
        let answers = callers.join_all().await;
        attempts += answers.len() as u64;
        sure += answers.iter().filter(|answer| answer.is_ok()).count() as u64;
        becomes(&store, true).await;
    }
    let counted: u64 = server.command(&["GET", "a_0"]);
    assert!((sure..=attempts).contains(&counted), "{sure} <= {counted} <= {attempts}");
}

#[tokio::test]
async fn a_caller_that_goes_away_does_no_harm() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
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
async fn a_server_turned_replica_is_left_and_tried_again() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    server.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let Err(StoreError::Refused(text)) = spend(&store).await else { panic!("a replica counted") };
    assert!(text.to_lowercase().contains("read"), "{text}");
    becomes(&store, false).await;
    server.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    becomes(&store, true).await;
    assert_eq!(spend(&store).await, Ok(1));
}

#[tokio::test]
async fn a_server_cut_off_from_its_primary_is_left_and_tried_again() {
    let server = RedisServer::start();
    server.command::<()>(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    let store = connect(config(&server)).await;
    server.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let Err(StoreError::Refused(text)) = spend(&store).await else { panic!("it counted") };
    assert!(text.contains("MASTER is down"), "{text}");
    becomes(&store, false).await;
    server.command::<()>(&["REPLICAOF", "NO", "ONE"]);
    becomes(&store, true).await;
    assert_eq!(spend(&store).await, Ok(1));
}

#[tokio::test]
async fn answers_that_another_connection_may_change_replace_this_one() {
    for error in ["NOAUTH no", "WRONGPASS no", "LOADING data", "MASTERDOWN gone", "READONLY no"] {
        let address = impostor(error).await;
        let config = RedisConfig::new(&address, SocketType::Tcp, None).unwrap();
        let store = connect(config).await;
        let Err(StoreError::Refused(text)) = spend(&store).await else { panic!("it counted") };
        assert!(text.contains(error.split_once(' ').unwrap().1), "{text}");
        becomes(&store, false).await;
        becomes(&store, true).await;
        assert_eq!(store.stats().opened, 2, "{error}");
    }
    let address = impostor("NOPERM no").await;
    let store = connect(RedisConfig::new(&address, SocketType::Tcp, None).unwrap()).await;
    assert!(matches!(spend(&store).await, Err(StoreError::Refused(_))));
    assert!(matches!(spend(&store).await, Err(StoreError::Refused(_))));
    assert_eq!(store.stats().opened, 1, "a new connection would not be allowed more");
}

/// A server that takes every greeting and answers every script with that error.
async fn impostor(error: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Some(words) = command(&mut stream).await {
                    let answer = match words.first().map(String::as_str) {
                        Some("EVALSHA") => format!("-{error}\r\n"),
                        Some("SCRIPT") => {
                            format!("+{}\r\n", redis::Script::new(&words[2]).get_hash())
                        }
                        _ => "+OK\r\n".to_owned(),
                    };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

/// The words of the next command, while there is one.
async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let count: usize = line.trim().strip_prefix('*')?.parse().ok()?;
    let mut words = Vec::new();
    for _ in 0..count {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let length: usize = line.trim().strip_prefix('$')?.parse().ok()?;
        let mut word = vec![0; length + 2];
        stream.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8_lossy(&word[..length]).into_owned());
    }
    Some(words)
}

#[tokio::test]
async fn an_address_that_swallows_packets_holds_nobody_up() {
    // A full backlog answers no more than a host that is gone.
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = full.local_addr().unwrap();
    let listener = full.listen(0).unwrap();
    let _first = TcpStream::connect(address).await.unwrap();
    let mut config = RedisConfig::new(&address.to_string(), SocketType::Tcp, None).unwrap();
    config.dialing.connect_timeout = Duration::from_secs(600);
    let store = RedisStore::connect(config);
    let text = tokio::time::timeout(SOON, refusal(&store)).await.expect("an end of the attempt");
    assert!(text.contains("timed out"), "{text}");
    drop(listener);
}

#[tokio::test]
async fn a_dropped_store_closes_its_connection() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    let mut connected = store.connected();
    drop(store);
    // The task ends with the store, and the link with the task.
    let ended = async { while connected.changed().await.is_ok() {} };
    tokio::time::timeout(SOON, ended).await.expect("the end of the link");
}

//! Sentinels: the primary is found, followed, and believed only if it says so itself.

use std::time::Duration;

use tidegate::limiter::Action::Spend;
use tidegate::store::redis::{RedisConfig, RedisStore, Topology};
use tidegate::store::{Store, StoreError};
use tidegate::tls::ClientTls;

use super::super::{apply, becomes, connect};
use super::refusal;
use crate::support::certs::Authority;
use crate::support::process::{PATIENCE, eventually};
use crate::support::redis::RedisServer;
use crate::support::sentinels::{NAME, Watched};
use crate::support::stores;

async fn spend(store: &RedisStore) -> Result<u64, StoreError> {
    apply(store, 60, &[("a_", 3600, Spend(1))]).await.remove(0)
}

/// Waits until the store has lost one connection and opened another.
async fn replaced(store: &RedisStore, opened: u64) {
    let mut connected = store.connected();
    let replaced = async {
        while store.stats().opened == opened || !*connected.borrow_and_update() {
            connected.changed().await.expect("a living store");
        }
    };
    tokio::time::timeout(PATIENCE, replaced).await.expect("another connection");
}

/// The number that the server itself holds.
fn held(server: &RedisServer) -> Option<u64> {
    server.command(&["GET", "a_0"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_is_followed_by_another() {
    let mut watched = Watched::start();
    let store = connect(watched.config()).await;
    assert_eq!(spend(&store).await, Ok(1));
    assert_eq!(held(&watched.servers[0]), Some(1));

    watched.servers[0].kill();
    becomes(&store, false).await;
    assert!(matches!(spend(&store).await, Err(StoreError::Unavailable(_))));
    becomes(&store, true).await;
    let primary = eventually("the sentinels agree", || {
        Some(watched.primary()).filter(|primary| *primary != 0)
    });
    let counted = spend(&store).await.expect("a decision");
    assert_eq!(held(&watched.servers[primary]), Some(counted));

    // It comes back as it was, and calls itself a primary until it is told otherwise.
    let opened = store.stats().opened;
    watched.servers[0].restart();
    eventually("the sentinels see it", || (!watched.is_down(0)).then_some(()));
    for expected in 1..=20 {
        assert_eq!(spend(&store).await, Ok(counted + expected));
    }
    assert_eq!(store.stats().opened, opened);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_noticed_though_the_old_primary_lives() {
    let watched = Watched::start();
    // One sentinel is configured, and falls silent; the others are learnt of.
    let store = connect(watched.config_through(&watched.sentinels[..1])).await;
    assert_eq!(spend(&store).await, Ok(1));
    watched.sentinels[0].pause();
    let opened = store.stats().opened;
    watched.sentinels[1].command::<()>(&["SENTINEL", "FAILOVER", NAME]);
    replaced(&store, opened).await;
    eventually("the sentinels agree", || (watched.primary() != 0).then_some(()));
    let counted = spend(&store).await.expect("a decision");
    assert_eq!(held(&watched.servers[watched.primary()]), Some(counted));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_all_configured_sentinels_is_survived() {
    let mut watched = Watched::start();
    let store = connect(watched.config_through(&watched.sentinels[..1])).await;
    watched.sentinels[0].kill();
    let opened = store.stats().opened;
    watched.sentinels[1].command::<()>(&["SENTINEL", "FAILOVER", NAME]);
    replaced(&store, opened).await;
    assert!(spend(&store).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_servers_share_tls() {
    let authority = Authority::new();
    let mut watched = Watched::start_tls(&authority);
    let mut config = watched.config();
    config.dialing.tls = Some(ClientTls {
        ca: Some(authority.ca()),
        identity: Some(authority.issue("client", &["tidegate"])),
        ..ClientTls::default()
    });
    let store = connect(config).await;
    assert_eq!(spend(&store).await, Ok(1));
    watched.servers[0].kill();
    becomes(&store, false).await;
    becomes(&store, true).await;
    assert!(spend(&store).await.is_ok());
}

#[tokio::test]
async fn what_sentinels_say_is_checked() {
    let primary = RedisServer::start_tcp();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", "1"]);
    let monitor = |server: &RedisServer| {
        let port = server.port();
        RedisServer::start_sentinel("sesame", &format!("sentinel monitor shop 127.0.0.1 {port} 1"))
    };
    let (right, wrong) = (monitor(&primary), monitor(&replica));
    let with = |addresses: &str, password: &str| {
        let logins = addresses.split(' ').map(|address| format!("redis://:{password}@{address}"));
        let all: Vec<String> = logins.collect();
        RedisConfig::sentinel(&format!("shop,{}", all.join(","))).unwrap()
    };
    // The first is absent, the second believes in a server that is a replica.
    let some = format!("127.0.0.1:1 {} {}", wrong.url(), right.url());
    let store = connect(with(&some, "sesame")).await;
    assert_eq!(spend(&store).await, Ok(1));

    let refused = async |config, words: &str| {
        let store = RedisStore::connect(config);
        let text = refusal(&store).await;
        assert!(text.contains(words) && !text.contains("hunter2"), "{text}");
    };
    refused(with(&wrong.url(), "sesame"), "replica").await;
    refused(with(&right.url(), "hunter2"), "Password authentication failed").await;
    let mut other = with(&right.url(), "sesame");
    let Topology::Sentinel { name, .. } = &mut other.topology else { unreachable!() };
    *name = "other".to_owned();
    refused(other, "no primary called \"other\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_is_left_for_another_though_it_answers() {
    let servers = [RedisServer::start_tcp(), RedisServer::start_tcp()];
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", "1"]);
    let sentinel = RedisServer::start_sentinel("sesame", "");
    let names = |server: &RedisServer| {
        let port = server.port().to_string();
        sentinel.command::<()>(&["SENTINEL", "MONITOR", NAME, "127.0.0.1", &port, "1"]);
    };
    let forgets = || sentinel.command::<()>(&["SENTINEL", "REMOVE", NAME]);
    names(&servers[0]);
    let url = format!("{NAME},redis://:sesame@{}", sentinel.url());
    let store = connect(RedisConfig::sentinel(&url).unwrap()).await;
    assert_eq!(spend(&store).await, Ok(1));

    // Without a word from it the connection is lent as before, and so it is while the
    // sentinel believes in a server that does not call itself a primary.
    forgets();
    names(&replica);
    eventually("the replica is asked twice", || (calls(&replica, "role") > 1).then_some(()));
    assert_eq!(spend(&store).await, Ok(2));
    assert_eq!(store.stats().opened, 1);

    forgets();
    names(&servers[1]);
    replaced(&store, 1).await;
    assert_eq!(spend(&store).await, Ok(1));
    assert_eq!((held(&servers[0]), held(&servers[1])), (Some(2), Some(1)));
}

/// How often a server was given a command.
fn calls(server: &RedisServer, command: &str) -> u64 {
    let info: String = server.command(&["INFO", "commandstats"]);
    let line =
        info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn sentinels_that_are_gone_leave_a_good_connection_alone() {
    let mut watched = Watched::start();
    let store = stores::over_sentinel(&watched).await;
    watched.sentinels.iter_mut().for_each(RedisServer::kill);
    // Longer than two looks at the sentinels take.
    let lost = tokio::time::timeout(Duration::from_millis(1500), becomes(&store, false)).await;
    assert!(lost.is_err());
    assert!(store.probe().await.is_ok());
    assert_eq!(store.stats().opened, 1);
}

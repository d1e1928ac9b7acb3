//! TLS to memcached, which speaks it itself.

use std::time::Instant;

use tidegate::limiter::Action::Spend;
use tidegate::store::memcached::{MemcachedConfig, MemcachedStore};
use tidegate::store::{Store, StoreError};
use tidegate::tls::{ClientTls, NameCheck};

use super::super::values;
use super::{SOON, connect};
use crate::support::certs::Authority;
use crate::support::memcached::MemcachedServer;

fn config(server: &MemcachedServer, tls: ClientTls) -> MemcachedConfig {
    let mut config = server.config();
    config.tls = Some(tls);
    config.connect_timeout = SOON;
    config
}

/// Waits until connecting has failed for a reason with `word` in it.
async fn fails(config: MemcachedConfig, word: &str) {
    let store = MemcachedStore::connect(config);
    let start = Instant::now();
    loop {
        let Err(StoreError::Unavailable(text)) = store.probe().await else { panic!("connected") };
        if text.contains(word) {
            return;
        }
        assert!(start.elapsed() < SOON, "{text}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn counts_over_tls_where_the_server_can_be_trusted() {
    let authority = Authority::new();
    let server = MemcachedServer::start_tls(&authority.issue("server", &["127.0.0.1"]), None);
    let trusting = ClientTls { ca: Some(authority.ca()), ..ClientTls::default() };
    let store = connect(config(&server, trusting), 1).await;
    for expected in 1..=3 {
        assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [expected]);
    }
    fails(config(&server, ClientTls::default()), "certificate").await;
}

#[tokio::test]
async fn the_name_of_the_server_counts_unless_it_is_not_looked_at() {
    let authority = Authority::new();
    let server = MemcachedServer::start_tls(&authority.issue("server", &["memcached.test"]), None);
    let tls = ClientTls { ca: Some(authority.ca()), ..ClientTls::default() };
    fails(config(&server, tls.clone()), "not valid for name").await;
    let tls = ClientTls { name_check: NameCheck::Skip, ..tls };
    let store = connect(config(&server, tls), 1).await;
    assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [1]);
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_told() {
    let authority = Authority::new();
    let ca = authority.ca();
    let identity = authority.issue("server", &["127.0.0.1"]);
    let server = MemcachedServer::start_tls(&identity, Some(&ca));
    let anonymous = ClientTls { ca: Some(ca), ..ClientTls::default() };
    fails(config(&server, anonymous.clone()), "127.0.0.1").await;
    let known = ClientTls { identity: Some(authority.issue("client", &["client"])), ..anonymous };
    let store = connect(config(&server, known), 1).await;
    assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [1]);
}

//! Several servers: each key where envoyproxy/ratelimit looks for it, and each server on
//! its own.

use tidegate::limiter::Action::Spend;
use tidegate::store::memcached::{MemcachedConfig, MemcachedStore, Servers};
use tidegate::store::{Store, StoreError};

use super::super::{Line, apply, values};
use super::{becomes, connect};
use crate::support::memcached::MemcachedServer;

/// Counter keys and where they are in windows of a minute at 1699999980, of two servers and
/// of three: `zlib.crc32(key)` modulo their number.
const PLACES: [(&str, usize, usize); 6] = [
    ("shop_user_alice_", 1, 1),
    ("shop_user_bob_", 0, 1),
    ("shop_user_carol_", 1, 1),
    ("shop_tier_gold_op_write_", 0, 2),
    ("tg1:f60:shop:user=alice:", 0, 1),
    ("é_", 1, 1),
];

fn config(servers: &[MemcachedServer]) -> MemcachedConfig {
    let addresses: Vec<String> = servers.iter().map(MemcachedServer::address).collect();
    MemcachedConfig::new(Servers::listed(&addresses.join(",")).unwrap())
}

async fn spend_all(store: &MemcachedStore) -> Vec<Result<u64, StoreError>> {
    let lines: Vec<Line<'_>> = PLACES.iter().map(|(key, ..)| (*key, 60, Spend(1))).collect();
    apply(store, 1_700_000_000, &lines).await
}

#[tokio::test]
async fn a_key_is_on_the_server_that_its_checksum_names() {
    for number in [2, 3] {
        let servers: Vec<_> = (0..number).map(|_| MemcachedServer::start()).collect();
        let store = connect(config(&servers), number).await;
        assert!(spend_all(&store).await.iter().all(|count| *count == Ok(1)));
        for (key, of_two, of_three) in PLACES {
            let place = if number == 2 { of_two } else { of_three };
            for (at, server) in servers.iter().enumerate() {
                let held = server.get(&format!("{key}1699999980"));
                assert_eq!(held.is_some(), at == place, "{key} of {number}, server {at}");
            }
        }
        assert_eq!(store.probe().await, Ok(()));
    }
}

#[tokio::test]
async fn a_killed_server_takes_its_own_counters_along_and_no_others() {
    let mut servers = [MemcachedServer::start(), MemcachedServer::start()];
    let store = connect(config(&servers), 2).await;
    spend_all(&store).await;
    servers[1].kill();
    becomes(&store, 1).await;
    for _ in 0..2 {
        for ((key, place, _), count) in PLACES.iter().zip(spend_all(&store).await) {
            assert_eq!(count.is_ok(), *place == 0, "{key}: {count:?}");
        }
    }
    let Err(StoreError::Unavailable(text)) = store.probe().await else { panic!("half is there") };
    assert!(text.contains(&servers[1].address()), "{text}");
    servers[1].restart();
    becomes(&store, 2).await;
    for ((key, place, _), count) in PLACES.iter().zip(spend_all(&store).await) {
        assert_eq!(count, Ok(if *place == 0 { 4 } else { 1 }), "{key}");
    }
    assert_eq!(store.probe().await, Ok(()));
}

#[tokio::test]
async fn a_silent_server_holds_up_no_counter_of_another() {
    let servers = [MemcachedServer::start(), MemcachedServer::start()];
    let mut config = config(&servers);
    config.timeout = std::time::Duration::from_secs(2);
    let store = connect(config, 2).await;
    servers[0].pause();
    for ((key, place, _), count) in PLACES.iter().zip(spend_all(&store).await) {
        assert_eq!(count.is_ok(), *place == 1, "{key}: {count:?}");
    }
    servers[0].resume();
}

#[tokio::test]
async fn a_large_batch_is_counted_whole() {
    let servers = [MemcachedServer::start(), MemcachedServer::start()];
    let mut config = config(&servers);
    config.timeout = super::SOON;
    let store = connect(config, 2).await;
    let keys: Vec<String> = (0..5_000).map(|at| format!("key{at}_")).collect();
    let lines: Vec<Line<'_>> = keys.iter().map(|key| (key.as_str(), 60, Spend(1))).collect();
    for round in 1..=2 {
        assert!(values(&store, 60, &lines).await.iter().all(|count| *count == round));
    }
}

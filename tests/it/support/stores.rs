//! Stores for tests.

use std::sync::Arc;
use std::time::Duration;

use tidegate::clock::Clock;
use tidegate::store::memcached::MemcachedStore;
use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::store::redis::{PerSecondStore, RedisConfig, RedisStore, ScriptClock, SocketType};
use tidegate::store::{Fallback, FallbackConfig, RefusalCache, Refusals, Reserve};
use tidegate::tls::ClientTls;

use super::certs::Authority;
use super::cluster::RedisCluster;
use super::memcached::MemcachedServer;
use super::redis::RedisServer;
use super::sentinels::Watched;

/// A memory store of the default size.
pub(crate) fn memory() -> MemoryStore {
    MemoryStore::new(MemoryConfig::default())
}

/// The same, with what stands in for it when it cannot say.
pub(crate) fn falling_back() -> Fallback<MemoryStore> {
    let deadline = Duration::from_secs(20);
    let config = FallbackConfig { deadline, replicas: 1, max_counters: 1000 };
    Fallback::new(memory(), Arc::new(Reserve::new(config, Clock::System)))
}

/// A connected Redis store, patient with a busy machine. It goes by the clock of its
/// batches, and counters outlive a test that takes its time.
pub(crate) async fn redis(server: &RedisServer) -> RedisStore {
    connected(RedisConfig::new(&server.url(), SocketType::Tcp, None).unwrap()).await
}

/// The same over TLS, with a certificate of the authority that the server trusts. (A server
/// of that kind is made by [`RedisServer::start_tls`].)
pub(crate) async fn over_tls(server: &RedisServer, authority: &Authority) -> RedisStore {
    let mut config = RedisConfig::new(&server.url(), SocketType::Tcp, None).unwrap();
    config.dialing.tls = Some(ClientTls {
        ca: Some(authority.ca()),
        identity: Some(authority.issue("client", &["tidegate"])),
        ..ClientTls::default()
    });
    connected(config).await
}

/// The same with the primary that sentinels name.
pub(crate) async fn over_sentinel(watched: &Watched) -> RedisStore {
    connected(watched.config()).await
}

/// The same, over a cluster.
pub(crate) async fn cluster(cluster: &RedisCluster) -> RedisStore {
    connected(cluster.config()).await
}

/// The same, with a second server for the counters of one second.
pub(crate) async fn per_second(main: &RedisServer, per_second: &RedisServer) -> PerSecondStore {
    let config =
        |server: &RedisServer| RedisConfig::new(&server.url(), SocketType::Tcp, None).unwrap();
    let store = PerSecondStore::connect(patient(config(main)), patient(config(per_second)));
    store.connected().wait_for(|up| *up).await.unwrap();
    store
}

/// A connected store of a test that has time.
pub(crate) async fn connected(config: RedisConfig) -> RedisStore {
    let store = RedisStore::connect(patient(config));
    store.connected().wait_for(|up| *up).await.unwrap();
    store
}

/// The same, with refusals that are remembered for as long as they may hold.
pub(crate) async fn remembering(config: RedisConfig) -> RefusalCache<RedisStore> {
    let refusals = Arc::new(Refusals::new(0, None));
    let store = RedisStore::connect_for(patient(config), Some(Arc::clone(&refusals)));
    store.connected().wait_for(|up| *up).await.unwrap();
    RefusalCache { store, refusals: Some(refusals) }
}

fn patient(mut config: RedisConfig) -> RedisConfig {
    config.timeout = Duration::from_secs(20);
    config.dialing.connect_timeout = Duration::from_secs(20);
    config.key_slack_secs = 3600;
    config.clock = ScriptClock::Batch;
    config
}

/// A connected memcached store, patient with a busy machine. Counters outlive a test that
/// takes its time.
pub(crate) async fn memcached(server: &MemcachedServer) -> MemcachedStore {
    let mut config = server.config();
    config.timeout = Duration::from_secs(20);
    config.connect_timeout = Duration::from_secs(20);
    config.key_slack_secs = 3600;
    let store = MemcachedStore::connect(config);
    store.connected().wait_for(|servers| *servers == 1).await.unwrap();
    store
}

//! Stores for tests.

use std::time::Duration;

use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::store::redis::{RedisConfig, RedisStore, SocketType};

use super::redis::RedisServer;

/// A memory store of the default size.
pub(crate) fn memory() -> MemoryStore {
    MemoryStore::new(MemoryConfig::default())
}

/// A connected Redis store, patient with a busy machine.
pub(crate) async fn redis(server: &RedisServer) -> RedisStore {
    let mut config = RedisConfig::new(&server.url(), SocketType::Tcp, None).unwrap();
    config.timeout = Duration::from_secs(20);
    config.connect_timeout = Duration::from_secs(20);
    let store = RedisStore::connect(config);
    store.connected().wait_for(|up| *up).await.unwrap();
    store
}

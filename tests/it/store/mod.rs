//! The stores: one contract for all, then what is particular to each.

mod agreement;
mod contract;
mod memory;
mod redis;

use tidegate::clock::Timestamp;
use tidegate::limiter::{Action, Batch, Window};
use tidegate::store::redis::{RedisConfig, RedisStore, SocketType};
use tidegate::store::{Store, StoreError};

use crate::support::redis::RedisServer;

/// One operation: key, window in seconds, action.
type Line<'a> = (&'a str, u64, Action);

fn batch(secs: u64, lines: &[Line<'_>]) -> Batch {
    let mut batch = Batch::new(Timestamp::from_secs(secs));
    for &(key, window, action) in lines {
        batch.push(10, Window::from_secs(window), action, |out| {
            out.extend_from_slice(key.as_bytes());
        });
    }
    batch
}

async fn apply(store: &impl Store, secs: u64, lines: &[Line<'_>]) -> Vec<Result<u64, StoreError>> {
    let counts = store.apply(&batch(secs, lines)).await;
    counts.into_iter().map(|count| count.map(|count| count.after)).collect()
}

/// The values after, where nothing may fail.
async fn values(store: &impl Store, secs: u64, lines: &[Line<'_>]) -> Vec<u64> {
    let counts = apply(store, secs, lines).await;
    counts.into_iter().collect::<Result<_, _>>().expect("every operation counts")
}

/// The address of a server, to be changed as a test needs it.
fn config(server: &RedisServer) -> RedisConfig {
    RedisConfig::new(&server.url(), SocketType::Tcp, None).expect("a good address")
}

/// A store that is connected.
async fn connect(config: RedisConfig) -> RedisStore {
    let store = RedisStore::connect(config);
    becomes(&store, true).await;
    store
}

/// Waits until the store is connected, or is not.
async fn becomes(store: &RedisStore, up: bool) {
    let mut connected = store.connected();
    let change = connected.wait_for(|now| *now == up);
    let change = tokio::time::timeout(std::time::Duration::from_secs(20), change).await;
    change.unwrap_or_else(|_| panic!("connected did not become {up}")).expect("a living store");
}

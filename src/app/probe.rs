//! Keeps the facts about the store true, and the memory store small.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::health::Health;
use crate::store::memory::MemoryStore;
use crate::store::{AnyStore, Store};

/// How old what health tells about a working store may be.
const FRESH: Duration = Duration::from_secs(10);
/// How often a silent store is asked again.
const RETRY: Duration = Duration::from_millis(250);
/// How often expired counters are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Probes `store` for ever. A connection that comes or goes is a reason to look at once.
pub(super) async fn watch_store(store: &AnyStore, health: Arc<Health>) {
    let mut changes = match store {
        AnyStore::Redis(redis) => redis.connected(),
        AnyStore::PerSecond(both) => both.connected(),
        AnyStore::Memory(_) => watch::Sender::new(true).subscribe(),
    };
    loop {
        let started = Instant::now();
        let probe = store.probe().await;
        let latency = started.elapsed();
        let wait = if probe.is_ok() { FRESH } else { RETRY };
        health.update(|facts| {
            facts.store.has_answered |= probe.is_ok();
            facts.store.fault = probe.err().map(|error| error.to_string());
            facts.store.latency = Some(latency);
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Ok(()) = changes.changed() => {}
        }
    }
}

/// Lets expired counters leave, for ever.
pub(super) async fn sweep(store: Arc<MemoryStore>, clock: Clock) {
    loop {
        tokio::time::sleep(SWEEP).await;
        store.sweep(clock.now());
    }
}

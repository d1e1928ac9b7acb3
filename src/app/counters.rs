//! The counters that the settings ask for.

use std::sync::Arc;
use std::time::Duration;

use super::Counters;
use crate::clock::Clock;
use crate::limiter::KeyFormat;
use crate::settings::{self, Settings, Sharers, Store};
use crate::store::memcached::MemcachedStore;
use crate::store::memory::{MemoryConfig, MemoryStore};
use crate::store::redis::{Breaking, PerSecondStore, RedisConfig, RedisStore, Roll};
use crate::store::{
    AnyStore, Fallback, FallbackConfig, LeaseConfig, LeaseTable, Leases, RefusalCache, Refusals,
    Reserve,
};
use crate::telemetry::{RoundTrips, Tracer};

/// How far the clocks of replicas may be apart before a slow one misses a counter that a
/// fast one began. With the envoyproxy key format counters live as long as they do there.
const CLOCK_SLACK_SECS: u64 = 10;

/// The counters of a process, to be called within its runtime.
pub(super) fn open(settings: &Settings, clock: Clock, tracer: &Arc<Tracer>) -> Counters {
    match &settings.store {
        Store::Memory { max_counters } => {
            tracing::info!(max_counters, "counting in memory: counters end with this process");
        }
        Store::Redis { main, per_second, .. } => {
            tracing::info!(address = main.describe(), "counting in Redis");
            if let Some(per_second) = per_second {
                tracing::info!(address = per_second.describe(), "and limits per second in another");
            }
        }
        Store::Memcached(config) => {
            tracing::info!(servers = config.describe(), "counting in memcached");
        }
    }
    let refusals = refusals(settings).map(Arc::new);
    let config = FallbackConfig {
        deadline: settings.faults.decision_timeout,
        replicas: replicas(settings),
        max_counters: settings.faults.max_counters,
    };
    let reserve = Arc::new(Reserve::new(config, clock));
    let leases = leases(settings).map(Arc::new);
    let store = store((settings, tracer), refusals.clone());
    assemble((store, refusals), leases, reserve)
}

/// The same counters for another runtime, reached by connections of its own. What is
/// refused from memory, what is leased, memory itself and what stands in for the store are
/// shared.
pub(super) fn again(counters: &Counters, settings: &Settings, tracer: &Arc<Tracer>) -> Counters {
    let refusals = cache(counters).refusals.clone();
    let store = match innermost(counters) {
        AnyStore::Memory(memory) => AnyStore::Memory(Arc::clone(memory)),
        _ => store((settings, tracer), refusals.clone()),
    };
    let leases = leased(counters).table.clone();
    assemble((store, refusals), leases, Arc::clone(&counters.reserve))
}

/// Where the counters live.
pub(super) fn innermost(counters: &Counters) -> &AnyStore {
    &cache(counters).store
}

/// What spends from leases.
pub(super) fn leased(counters: &Counters) -> &Leases<RefusalCache<AnyStore>> {
    &counters.store
}

/// What remembers refusals.
pub(super) fn cache(counters: &Counters) -> &RefusalCache<AnyStore> {
    &leased(counters).store
}

fn assemble(
    (store, refusals): (AnyStore, Option<Arc<Refusals>>),
    leases: Option<Arc<LeaseTable>>,
    reserve: Arc<Reserve>,
) -> Counters {
    Fallback::new(Leases::new(RefusalCache { store, refusals }, leases), reserve)
}

/// Where replicas are counted, if they are.
pub(super) fn roll(settings: &Settings) -> Option<Roll> {
    let is_redis = matches!(settings.store, Store::Redis { .. });
    let is_counted = is_redis && settings.replicas.sharers == Sharers::Counted;
    let prefix = &settings.limiter.keys.prefix;
    is_counted.then(|| Roll::new(prefix, settings.replicas.heartbeat))
}

/// How many replicas there are; 0 if the store is yet to tell.
fn replicas(settings: &Settings) -> u32 {
    match (settings.replicas.sharers, &settings.store) {
        (Sharers::Given(number), _) => number,
        (Sharers::Counted, Store::Redis { .. }) => 0,
        (Sharers::Counted, Store::Memory { .. } | Store::Memcached(_)) => 1,
    }
}

/// Where blocks are held. Memory is asked as quickly as they are; memcached cannot say
/// whether a block fits without counting it.
fn leases(settings: &Settings) -> Option<LeaseTable> {
    let is_redis = matches!(settings.store, Store::Redis { .. });
    let settings::Leases { period, max_leases } = settings.leases;
    let config = LeaseConfig { period, max_leases, replicas: replicas(settings) };
    is_redis.then(|| LeaseTable::new(config))
}

/// What is refused from memory. Redis tells what other processes give back, though messages
/// may be lost between the nodes of a cluster; memcached does not.
fn refusals(settings: &Settings) -> Option<Refusals> {
    let max_age = match &settings.store {
        Store::Memory { .. } => None,
        Store::Redis { .. } => Some(Duration::from_secs(10)),
        Store::Memcached(_) => Some(Duration::from_secs(1)),
    };
    settings.refusal_cache_bytes.map(|bytes| Refusals::new(bytes, max_age))
}

fn store(
    (settings, tracer): (&Settings, &Arc<Tracer>),
    refusals: Option<Arc<Refusals>>,
) -> AnyStore {
    let key_slack_secs = match settings.limiter.keys.format {
        KeyFormat::Tidegate => CLOCK_SLACK_SECS,
        KeyFormat::Envoyproxy => 0,
    };
    let redis = |config: &RedisConfig| {
        let mut config = RedisConfig { key_slack_secs, ..config.clone() };
        config.dialing.breaking = Breaking {
            slow_after: settings.faults.decision_timeout,
            slow_calls: settings.faults.slow_calls,
        };
        config.round_trips = RoundTrips::of(Arc::clone(tracer));
        config
    };
    match &settings.store {
        Store::Memory { max_counters } => {
            let max_counters = *max_counters;
            AnyStore::Memory(Arc::new(MemoryStore::new(MemoryConfig { max_counters })))
        }
        Store::Redis { main, per_second: None, .. } => {
            AnyStore::Redis(RedisStore::connect_for(redis(main), refusals))
        }
        Store::Redis { main, per_second: Some(per_second), .. } => {
            let both = PerSecondStore::connect_for(redis(main), redis(per_second), refusals);
            AnyStore::PerSecond(both)
        }
        Store::Memcached(config) => {
            let mut config = config.clone();
            config.key_slack_secs = key_slack_secs;
            AnyStore::Memcached(MemcachedStore::connect(config))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::app::Core;
    use crate::telemetry::Call;

    /// The bytes of a call under way, its answers to come included. Each call has so many of its
    /// own, and they are copied once or twice: it is a good part of what a decision costs.
    const MOST: usize = 6 * 1024;

    #[tokio::test]
    async fn a_call_under_way_is_small() {
        let lookup = |name: &str| (name == "REDIS_URL").then(|| "127.0.0.1:1".to_owned());
        let settings = Settings::from_lookup(&lookup, &[]).unwrap();
        let counters = open(&settings, Clock::System, &Arc::default());
        let core = Core::new(&settings, counters, Clock::System);
        let (message, mut call) = (Default::default(), Call::unheard());
        let bytes = size_of_val(&core.front.answer_call(&message, &mut call));
        assert!(bytes <= MOST, "{bytes}");
    }
}

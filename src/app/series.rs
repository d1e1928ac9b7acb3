//! What is read off the parts when the metrics page is asked for, or statsd is due.

use std::collections::BTreeMap;

use super::{Fronts, counters, process, redis};
use crate::clock::{Clock, Timestamp};
use crate::health::{Facts, RulesFacts};
use crate::store::memcached::MemcachedStats;
use crate::store::refusals::RefusalsStats;
use crate::store::{AnyStore, Waits};
use crate::telemetry::logs::LogHandle;
use crate::telemetry::{
    CacheStats, LoadStats, MemcacheStats, Observed, Page, PoolStats, Snapshot, own,
};
use crate::tls::{Acceptor, TlsStatus};

/// Adds what envoyproxy/ratelimit has too, for statsd and the page.
pub(super) fn read(fronts: &Fronts, tls: Option<&Acceptor>, snapshot: &mut Snapshot) {
    if let Some(tls) = tls {
        of_certificates(&tls.status()).read("certs", snapshot);
    }
    if let Some(refusals) = &counters::cache(&fronts[0].service.store).refusals {
        of_refusals(&refusals.stats()).read(snapshot);
    }
    let mut pools: BTreeMap<&str, PoolStats> = BTreeMap::new();
    let mut memcache = None;
    for front in fronts.iter() {
        let mut add = |pool, active, opened| {
            let sum: &mut PoolStats = pools.entry(pool).or_default();
            *sum = PoolStats { active: sum.active + active, opened: sum.opened + opened };
        };
        match counters::innermost(&front.service.store) {
            AnyStore::Memory(_) => {}
            AnyStore::Redis(redis) => {
                let stats = redis.stats();
                add("redis_pool", stats.active, stats.opened);
            }
            AnyStore::PerSecond(both) => {
                let [main, per_second] = both.stats();
                add("redis_pool", main.active, main.opened);
                add("redis_per_second_pool", per_second.active, per_second.opened);
            }
            AnyStore::Memcached(memcached) => {
                let stats = memcached.stats();
                add("memcache_pool", stats.active, stats.opened);
                *memcache.get_or_insert_with(MemcacheStats::default) += of_memcached(&stats);
            }
        }
    }
    pools.iter().for_each(|(name, pool)| pool.read(name, snapshot));
    if let Some(memcache) = memcache {
        memcache.read(snapshot);
    }
}

/// Adds what is Tidegate's own, for the page.
pub(super) fn collect(facts: &Facts, fronts: &Fronts, page: &mut Page) {
    let store = &fronts[0].service.store;
    let build = [env!("CARGO_PKG_VERSION"), env!("BUILD_REVISION"), env!("BUILD_RUSTC")];
    page.sample(&own::BUILD_INFO, &build, 1.0);
    page.sample(&own::READY, &[], truth(facts.overall().is_serving()));
    collect_rules(&facts.rules, page);
    let is_up = facts.store.has_answered && facts.store.fault.is_none();
    page.sample(&own::STORE_UP, &[], truth(is_up));
    if let Some(leases) = &counters::leased(store).table {
        leases.stats(Clock::System.now()).collect(page);
    }
    if let AnyStore::Memory(memory) = counters::innermost(store) {
        page.sample(&own::MEMORY_COUNTERS, &[], memory.held() as f64);
    }
    let stats = store.reserve.stats();
    for (family, value) in [
        (&own::REPLICAS, store.reserve.replicas().into()),
        (&own::LATE, stats.late),
        (&own::LOCAL_COUNTERS, stats.counters),
        (&own::LOCAL_OWED, stats.owed),
        (&own::LOCAL_REPAID, stats.repaid),
        (&own::LOCAL_UNPAID, stats.unpaid),
    ] {
        page.sample(family, &[], value as f64);
    }
    collect_waits(fronts, page);
    redis::collect(fronts, page);
    process::collect(page);
}

fn truth(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn seconds(at: Option<Timestamp>) -> f64 {
    at.map_or(0.0, |at| at.as_micros() as f64 / 1e6)
}

fn collect_rules(rules: &RulesFacts, page: &mut Page) {
    page.sample(&own::RULES_INFO, &[&rules.version], 1.0);
    for (family, value) in [
        (&own::RULES, rules.limits as f64),
        (&own::DOMAINS, rules.domains as f64),
        (&own::RULES_FAILING, truth(rules.last_error.is_some())),
        (&own::RULES_LOADED_AT, seconds(rules.loaded_at)),
    ] {
        page.sample(family, &[], value);
    }
    let Some(xds) = &rules.xds else { return };
    for (family, value) in [
        (&own::XDS_CONNECTED, truth(xds.is_connected)),
        (&own::XDS_ACCEPTED, xds.accepted as f64),
        (&own::XDS_REJECTED, xds.rejected as f64),
        (&own::XDS_CONTACT, seconds(xds.contact)),
    ] {
        page.sample(family, &[], value);
    }
}

/// How long decisions waited for the store, and what it could not say.
fn collect_waits(fronts: &Fronts, page: &mut Page) {
    let waits = || fronts.iter().map(|front| &front.service.store.waits);
    if let Some(total) = Observed::total(waits().map(Waits::durations)) {
        page.histogram(&own::STORE_DURATION, &[], total);
    }
    let mut errors: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in waits().flat_map(Waits::errors) {
        *errors.entry(kind).or_default() += count;
    }
    for (kind, count) in errors {
        page.sample(&own::STORE_ERRORS, &[kind], count as f64);
    }
}

/// Adds what was not written to the log.
pub(super) fn collect_log(log: &LogHandle, fronts: &Fronts, page: &mut Page) {
    let held_back = fronts[0].service.observer.decisions.held_back();
    page.sample(&own::LOG_DROPPED, &[], log.dropped() as f64);
    page.sample(&own::LOG_HELD_BACK, &[], held_back as f64);
}

fn of_certificates(status: &TlsStatus) -> LoadStats {
    LoadStats {
        attempts: status.loads + status.failed_reloads,
        failures: status.failed_reloads,
        // Certificate and key.
        files: 2,
    }
}

fn of_refusals(stats: &RefusalsStats) -> CacheStats {
    CacheStats {
        entries: stats.entries,
        hits: stats.hits,
        misses: stats.lookups - stats.hits,
        lookups: stats.lookups,
        expired: stats.expired,
        evicted: stats.evicted,
        overwritten: stats.overwritten,
    }
}

fn of_memcached(stats: &MemcachedStats) -> MemcacheStats {
    MemcacheStats {
        increments: stats.increments.success,
        increment_misses: stats.increments.miss,
        increment_errors: stats.increments.error,
        adds: stats.adds.success,
        adds_not_stored: stats.adds.not_stored,
        add_errors: stats.adds.error,
        keys_requested: stats.keys_requested(),
        keys_found: stats.keys_found(),
        // Nothing is read before it is counted.
        ..MemcacheStats::default()
    }
}

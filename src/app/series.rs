//! The series of the metrics page that are read off the parts when the page is asked for.

use crate::health::Facts;
use crate::store::AnyStore;
use crate::store::memcached::MemcachedStats;
use crate::store::redis::RedisStats;
use crate::telemetry::{Kind, Page};

/// Adds them to `page`.
pub(super) fn collect(facts: &Facts, store: &AnyStore, page: &mut Page) {
    let gauge = |page: &mut Page, name, help, value: f64| {
        page.sample((name, Kind::Gauge, help), &[], value);
    };
    page.sample(
        ("tidegate_build_info", Kind::Gauge, "The version that runs; always 1."),
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    gauge(
        page,
        "tidegate_ready",
        "Whether probes are told to send traffic: 1 or 0.",
        f64::from(u8::from(facts.overall().is_serving())),
    );
    page.sample(
        ("tidegate_rules_info", Kind::Gauge, "The rules in force; always 1."),
        &[("version", &facts.rules.version)],
        1.0,
    );
    gauge(page, "tidegate_rules", "Limits in force.", facts.rules.limits as f64);
    gauge(
        page,
        "tidegate_rules_load_failing",
        "Whether the last load of rules was refused: 1 or 0.",
        f64::from(u8::from(facts.rules.last_error.is_some())),
    );
    let loaded_at = facts.rules.loaded_at.map_or(0.0, |at| at.as_micros() as f64 / 1e6);
    gauge(
        page,
        "tidegate_rules_load_timestamp_seconds",
        "When the rules in force were loaded; 0 before that.",
        loaded_at,
    );
    gauge(
        page,
        "tidegate_store_up",
        "Whether the store answered its last probe: 1 or 0.",
        f64::from(u8::from(facts.store.has_answered && facts.store.fault.is_none())),
    );
    match store {
        AnyStore::Memory(memory) => {
            gauge(page, "tidegate_memory_counters", "Counters held.", memory.held() as f64);
        }
        AnyStore::Redis(redis) => connections(redis.stats(), page),
        AnyStore::PerSecond(both) => {
            let [main, per_second] = both.stats();
            let sum = RedisStats {
                opened: main.opened + per_second.opened,
                active: main.active + per_second.active,
                errors: main.errors + per_second.errors,
            };
            connections(sum, page);
        }
        AnyStore::Memcached(memcached) => of_memcached(&memcached.stats(), page),
    }
}

fn of_memcached(stats: &MemcachedStats, page: &mut Page) {
    let counter = |page: &mut Page, name, help, labels: &[(&'static str, &str)], value: u64| {
        page.sample((name, Kind::Counter, help), labels, value as f64);
    };
    let active = "Connections to memcached that are open.";
    let family = ("ratelimit_memcache_cx_active", Kind::Gauge, active);
    page.sample(family, &[], stats.active as f64);
    let opened = "Connections to memcached that were opened.";
    counter(page, "ratelimit_memcache_cx_total", opened, &[], stats.opened);
    let requested = "Counters asked for.";
    counter(page, "ratelimit_memcache_keys_requested", requested, &[], stats.keys_requested());
    counter(page, "ratelimit_memcache_keys_found", "Those there were.", &[], stats.keys_found());
    let (increments, adds) = (stats.increments, stats.adds);
    let name = "ratelimit_memcache_increment";
    for (code, value) in
        [("success", increments.success), ("miss", increments.miss), ("error", increments.error)]
    {
        counter(page, name, "Increments by what came of them.", &[("code", code)], value);
    }
    let name = "ratelimit_memcache_add";
    for (code, value) in
        [("success", adds.success), ("not_stored", adds.not_stored), ("error", adds.error)]
    {
        counter(page, name, "Counters begun, by what came of it.", &[("code", code)], value);
    }
}

fn connections(stats: RedisStats, page: &mut Page) {
    page.sample(
        ("ratelimit_redis_pool_cx_active", Kind::Gauge, "Connections to Redis that are open."),
        &[],
        stats.active as f64,
    );
    page.sample(
        ("ratelimit_redis_pool_cx_total", Kind::Counter, "Connections to Redis that were opened."),
        &[],
        stats.opened as f64,
    );
}

//! What is read off the parts when the metrics page is asked for, or statsd is due.

use super::process;
use crate::health::Facts;
use crate::store::AnyStore;
use crate::telemetry::{Kind, Page, PoolStats, Snapshot};

/// Adds what envoyproxy/ratelimit has too, for statsd and the page.
pub(super) fn read(store: &AnyStore, snapshot: &mut Snapshot) {
    match store {
        AnyStore::Memory(_) => {}
        AnyStore::Redis(redis) => {
            let stats = redis.stats();
            let pool = PoolStats { active: stats.active, opened: stats.opened };
            pool.read("redis_pool", snapshot);
        }
    }
}

/// Adds what is Tidegate's own, for the page.
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
    if let AnyStore::Memory(memory) = store {
        gauge(page, "tidegate_memory_counters", "Counters held.", memory.held() as f64);
    }
    process::collect(page);
}

//! What is read off the parts when the metrics page is asked for, or statsd is due.

use std::collections::BTreeMap;

use super::{Fronts, counters, process};
use crate::clock::Clock;
use crate::health::{Facts, XdsFacts};
use crate::store::memcached::MemcachedStats;
use crate::store::refusals::RefusalsStats;
use crate::store::{AnyStore, LeasesStats};
use crate::telemetry::logs::LogHandle;
use crate::telemetry::{
    CacheStats, Kind, LeaseStats, LoadStats, MemcacheStats, Page, PoolStats, Snapshot,
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
    if let Some(xds) = &facts.rules.xds {
        collect_xds(xds, page);
    }
    gauge(
        page,
        "tidegate_store_up",
        "Whether the store answered its last probe: 1 or 0.",
        f64::from(u8::from(facts.store.has_answered && facts.store.fault.is_none())),
    );
    if let Some(leases) = &counters::leased(store).table {
        of_leases(&leases.stats(Clock::System.now())).collect(page);
    }
    if let AnyStore::Memory(memory) = counters::innermost(store) {
        gauge(page, "tidegate_memory_counters", "Counters held.", memory.held() as f64);
    }
    collect_faults(fronts, page);
    process::collect(page);
}

/// What was answered without the store, and why.
fn collect_faults(fronts: &Fronts, page: &mut Page) {
    let mut circuits: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for front in fronts.iter() {
        for circuit in counters::innermost(&front.service.store).circuits() {
            let (open, opened) = circuits.entry(circuit.server).or_default();
            *open += u64::from(circuit.is_open);
            *opened += circuit.opened;
        }
    }
    for (server, (open, _)) in &circuits {
        let help = "Connections to a Redis server that decisions do not use for now.";
        page.sample(
            ("tidegate_circuits_open", Kind::Gauge, help),
            &[("server", server)],
            *open as f64,
        );
    }
    for (server, (_, opened)) in &circuits {
        let help = "How often decisions left a connection to a Redis server alone.";
        page.sample(
            ("tidegate_circuits_opened_total", Kind::Counter, help),
            &[("server", server)],
            *opened as f64,
        );
    }
    let reserve = &fronts[0].service.store.reserve;
    let stats = reserve.stats();
    for (name, kind, help, value) in [
        (
            "tidegate_replicas",
            Kind::Gauge,
            "How many replicas share the limits; 0: not known yet.",
            reserve.replicas().into(),
        ),
        (
            "tidegate_decisions_late_total",
            Kind::Counter,
            "Decisions that did not wait any longer for the store.",
            stats.late,
        ),
        (
            "tidegate_local_counters",
            Kind::Gauge,
            "Counters held for limits that count here when the store cannot say.",
            stats.counters,
        ),
        (
            "tidegate_local_hits_owed",
            Kind::Gauge,
            "Hits counted here that the store is yet to be told of.",
            stats.owed,
        ),
        (
            "tidegate_local_hits_repaid_total",
            Kind::Counter,
            "Hits counted here that the store was told of.",
            stats.repaid,
        ),
        (
            "tidegate_local_hits_unpaid_total",
            Kind::Counter,
            "Hits counted here that the store will not be told of.",
            stats.unpaid,
        ),
    ] {
        page.sample((name, kind, help), &[], value as f64);
    }
}

/// Adds what was not written to the log.
pub(super) fn collect_log(log: &LogHandle, fronts: &Fronts, page: &mut Page) {
    for (name, help, value) in [
        (
            "tidegate_log_lines_dropped_total",
            "Lines of the log that were lost, as nobody read them in time.",
            log.dropped(),
        ),
        (
            "tidegate_decision_log_held_back_total",
            "Decisions that were to be logged and were not, as there were too many in a second.",
            fronts[0].service.observer.decisions.held_back(),
        ),
    ] {
        page.sample((name, Kind::Counter, help), &[], value as f64);
    }
}

fn of_certificates(status: &TlsStatus) -> LoadStats {
    LoadStats {
        attempts: status.loads + status.failed_reloads,
        failures: status.failed_reloads,
        // Certificate and key.
        files: 2,
    }
}

fn of_leases(stats: &LeasesStats) -> LeaseStats {
    LeaseStats {
        leases: stats.leases,
        unspent: stats.unspent,
        taken: stats.taken,
        spent: stats.spent,
        given_back: stats.given_back,
        lost: stats.lost,
        granted: stats.granted,
        refused: stats.refused,
        unknown: stats.unknown,
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

fn collect_xds(xds: &XdsFacts, page: &mut Page) {
    let contact = xds.contact.map_or(0.0, |at| at.as_micros() as f64 / 1e6);
    let series = [
        (
            "tidegate_xds_connected",
            Kind::Gauge,
            "Whether there is a connection to the management server: 1 or 0.",
            f64::from(u8::from(xds.is_connected)),
        ),
        (
            "tidegate_xds_updates_accepted_total",
            Kind::Counter,
            "Answers of the management server that were accepted.",
            xds.accepted as f64,
        ),
        (
            "tidegate_xds_updates_rejected_total",
            Kind::Counter,
            "Answers of the management server that were refused.",
            xds.rejected as f64,
        ),
        (
            "tidegate_xds_contact_timestamp_seconds",
            Kind::Gauge,
            "When the management server last sent rules; 0 before that.",
            contact,
        ),
    ];
    for (name, kind, help, value) in series {
        page.sample((name, kind, help), &[], value);
    }
}

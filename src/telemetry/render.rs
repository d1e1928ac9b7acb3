//! What the metrics read as, for statsd and the page.
//!
//! Names are made here, when somebody asks; counting knows none.

use std::collections::HashSet;
use std::sync::Arc;

use super::families as f;
use super::meters;
use super::metric::Snapshot;
use super::metrics::{Handles, Metrics, OVERFLOW};
use super::own;
use super::prometheus::Page;
use super::rulings::Rulings;
use super::timing::Method;
use crate::rules::{OnStoreError, Ruleset};

/// Where the statistics of paths go once there are too many: domain and key.
const OVERFLOW_PATH: &str = "tidegate_overflow.tidegate_overflow";

impl Metrics {
    /// Adds what was counted to `snapshot`. A path's counters appear once they are not zero.
    pub fn read(&self, snapshot: &mut Snapshot) {
        self.paths.each(OVERFLOW_PATH, |path, counters| {
            for (metric, value) in counters.readings().into_iter().filter(|(_, v)| *v > 0) {
                snapshot.add_part(metric, Arc::clone(path), value);
            }
        });
        self.unknown_domains.each(OVERFLOW, |domain, counter| {
            snapshot.add_part(&f::DOMAIN_NOT_FOUND, Arc::clone(domain), counter.get());
        });
        snapshot.add_part(&f::ERRORS, Arc::from("service_error"), self.service_errors.get());
        snapshot.add_part(&f::ERRORS, Arc::from("redis_error"), self.store_errors.get());
        snapshot.add(&f::GLOBAL_SHADOW, self.global_shadow.get());
        snapshot.add(&f::CONFIG_LOADED, self.loads.get());
        snapshot.add(&f::CONFIG_REFUSED, self.failed_loads.get());
        self.rule_files.stats().read("runtime", snapshot);
        for method in Method::ALL {
            let requests = self.durations(method).count();
            snapshot.add_part(&f::REQUESTS, Arc::from(method.name()), requests);
        }
    }

    /// An empty page whose names are those of the settings.
    pub fn page(&self) -> Page {
        Page::new(Arc::clone(&self.naming))
    }

    /// Adds every series to `page`.
    pub fn render(&self, page: &mut Page) {
        let mut snapshot = Snapshot::default();
        self.read(&mut snapshot);
        page.take(&snapshot);
        for method in Method::ALL {
            page.response_times(method.name(), self.durations(method).read());
        }
        for (policy, decisions) in OnStoreError::ALL.iter().zip(&self.stood_in).skip(1) {
            page.sample(&own::FALLBACK_DECISIONS, &[policy.name()], decisions.get() as f64);
        }
        for (outcome, loads) in [("in_force", &self.loads), ("refused", &self.failed_loads)] {
            page.sample(&own::RULES_LOADS, &[outcome], loads.get() as f64);
        }
        let failed_at = self.last_failed_load.get() as f64 / 1e6;
        page.sample(&own::RULES_FAILED_AT, &[], failed_at);
        for (family, value) in [
            (&own::METRIC_PATHS, self.paths.len() as u64),
            (&own::METRIC_PATHS_OVERFLOW, self.paths.overflowed()),
            (&own::STATSD_DROPPED, self.dropped_timers.get()),
            (&own::STATSD_FAILED, self.failed_flushes.get()),
        ] {
            page.sample(family, &[], value as f64);
        }
        let meters = self.meters.lock().clone();
        meters::render(meters.iter().map(|meters| &**meters), page);
    }

    /// Adds what the rules in force came to, which are those of `handles`. A series appears
    /// once it is not zero.
    pub fn render_rules(&self, (ruleset, handles): (&Ruleset, &Handles), page: &mut Page) {
        let mut add = |domain: &str, rule: &str, rulings: &Rulings| {
            for (outcome, value) in rulings.readings() {
                page.sample(&own::DECISIONS, &[domain, rule, outcome], value as f64);
            }
        };
        add("", "", &self.without_rule);
        let rest = Rulings::default();
        // Paths that differ in what metric names do not allow share their counters.
        let mut seen = HashSet::with_capacity(handles.0.len());
        let rules = ruleset.rules().iter().zip(&handles.0);
        for (place, (rule, counters)) in rules.enumerate() {
            if !seen.insert(Arc::as_ptr(counters)) {
                continue;
            }
            match place < self.max_rules {
                true => add(rule.domain(), &rule.path, &counters.rulings),
                false => rest.add_all(&counters.rulings),
            }
        }
        add(OVERFLOW, OVERFLOW, &rest);
    }
}

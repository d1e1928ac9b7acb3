//! All counters of the process.
//!
//! Decisions touch atomics only; names are made when somebody asks. What requests can
//! bring, paths with values in them and domains that do not exist, is held up to a cap.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::capped::{Capped, Counts};
use super::counter::Counter;
use super::facts::LoadStats;
use super::families as f;
use super::metric::Snapshot;
use super::metric_path::sanitise;
use super::naming::Naming;
use super::paths::PathCounters;
use super::prometheus::{Kind, Page};
use super::timing::{Durations, Method, Queue, Timer};
use crate::limiter::{Decision, Plan, Tally};
use crate::rules::{OnStoreError, RuleId, Ruleset};

/// The counters of a ruleset's rules, looked up once when it is loaded.
#[derive(Debug, Default)]
pub struct Handles(Vec<Arc<PathCounters>>);

impl Handles {
    /// The hits of a rule so far: those within the limit, and those over it.
    pub fn hits(&self, rule: RuleId) -> [u64; 2] {
        self.0.get(rule.0 as usize).map_or([0, 0], |path| path.hits())
    }
}

/// Attempts to read files that are watched.
#[derive(Debug, Default)]
pub struct Loads {
    attempts: Counter,
    failures: Counter,
    files: Counter,
}

impl Loads {
    /// Counts an attempt that read so many files.
    pub fn succeeded(&self, files: usize) {
        self.attempts.add(1);
        self.files.set(files as u64);
    }

    /// Counts an attempt that failed.
    pub fn failed(&self) {
        self.attempts.add(1);
        self.failures.add(1);
    }

    fn stats(&self) -> LoadStats {
        LoadStats {
            attempts: self.attempts.get(),
            failures: self.failures.get(),
            files: self.files.get(),
        }
    }
}

/// The metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    naming: Arc<Naming>,
    paths: Capped<PathCounters>,
    unknown_domains: Capped<Counter>,
    should_rate_limit: Durations,
    check: Durations,
    service_errors: Counter,
    store_errors: Counter,
    stood_in: [Counter; OnStoreError::ALL.len()],
    global_shadow: Counter,
    loads: Counter,
    failed_loads: Counter,
    /// Reading the rule files.
    pub rule_files: Loads,
    queues: OnceLock<Vec<Arc<Queue>>>,
    pub(super) dropped_timers: Counter,
    pub(super) failed_flushes: Counter,
}

/// Where statistics go once there are too many paths, and unknown domains.
const OVERFLOW: &str = "tidegate_overflow";

/// The same as a path: domain and key.
const OVERFLOW_PATH: &str = "tidegate_overflow.tidegate_overflow";

/// How many unknown domains are told apart.
const MAX_UNKNOWN_DOMAINS: usize = 100;

impl Metrics {
    /// Metrics that tell apart at most `max_value_paths` metric paths beyond the rules'
    /// own; what requests bring beyond that goes to one series. A path costs one for every
    /// 64 bytes begun.
    pub fn new(max_value_paths: usize, naming: Naming) -> Self {
        let durations = |method: Method| Durations::new(naming.scale(method.name()));
        Self {
            paths: Capped::new(max_value_paths),
            unknown_domains: Capped::new(MAX_UNKNOWN_DOMAINS),
            should_rate_limit: durations(Method::ShouldRateLimit),
            check: durations(Method::Check),
            naming: Arc::new(naming),
            service_errors: Counter::default(),
            store_errors: Counter::default(),
            stood_in: Default::default(),
            global_shadow: Counter::default(),
            loads: Counter::default(),
            failed_loads: Counter::default(),
            rule_files: Loads::default(),
            queues: OnceLock::new(),
            dropped_timers: Counter::default(),
            failed_flushes: Counter::default(),
        }
    }

    /// The counters of a ruleset's rules, from now on. A path known from before keeps its
    /// counts; what no rule has and nobody counts leaves after a while.
    pub fn handles(&self, ruleset: &Ruleset) -> Handles {
        let paths: Vec<String> = ruleset.rules().iter().map(|rule| sanitise(&rule.path)).collect();
        self.unknown_domains.reload(std::iter::empty());
        Handles(self.paths.reload(paths.iter().map(String::as_str)))
    }

    /// Counts a decision. `handles` belong to the ruleset that it was made with.
    pub fn record(&self, decision: &Decision, handles: &Handles, domain: &str) {
        for status in &decision.statuses {
            if let Some(applied) = &status.applied {
                self.add(handles, status.rule, applied.path.as_deref(), &applied.tally);
            }
        }
        if decision.domain_unknown {
            let descriptors = decision.statuses.len() as u64;
            self.unknown_domains.of_request(&sanitise(domain)).add(descriptors);
        }
        if decision.shadowed {
            self.global_shadow.add(1);
        }
    }

    /// Counts a request that the store could not decide: its hits were asked for.
    pub fn record_store_error(&self, plan: &Plan, handles: &Handles) {
        for (rule, path, total) in plan.spending() {
            self.add(handles, rule, path, &Tally { total, ..Tally::default() });
        }
        self.store_errors.add(1);
    }

    /// Counts a request that was decided although the store could not say everything.
    pub fn record_partial_failure(&self) {
        self.store_errors.add(1);
    }

    /// Counts the policies of limits that the store could not answer for.
    pub fn record_stood_in(&self, policies: &[OnStoreError]) {
        for policy in policies {
            self.stood_in[*policy as usize].add(1);
        }
    }

    /// Counts a request that could not be planned.
    pub fn record_service_error(&self) {
        self.service_errors.add(1);
    }

    /// Counts a load of rules that took effect.
    pub fn record_load(&self) {
        self.loads.add(1);
    }

    /// Counts a load of rules that was refused.
    pub fn record_failed_load(&self) {
        self.failed_loads.add(1);
    }

    /// Starts the clock of a `ShouldRateLimit` call.
    pub fn time_should_rate_limit(&self) -> Timer<'_> {
        self.time(Method::ShouldRateLimit)
    }

    /// Starts the clock of a health `Check` call.
    pub fn time_health_check(&self) -> Timer<'_> {
        self.time(Method::Check)
    }

    /// Sends timer samples to these queues from now on; only the first call counts.
    pub(super) fn send_timers(&self, queues: Vec<Arc<Queue>>) {
        let _ = self.queues.set(queues);
    }

    fn time(&self, method: Method) -> Timer<'_> {
        Timer {
            method,
            started: Instant::now(),
            durations: self.durations(method),
            queues: self.queues.get().map(Vec::as_slice).unwrap_or_default(),
            dropped: &self.dropped_timers,
        }
    }

    fn durations(&self, method: Method) -> &Durations {
        match method {
            Method::ShouldRateLimit => &self.should_rate_limit,
            Method::Check => &self.check,
        }
    }

    fn add(&self, handles: &Handles, rule: Option<RuleId>, path: Option<&str>, tally: &Tally) {
        match (path, rule.and_then(|id| handles.0.get(id.0 as usize))) {
            (Some(path), _) => self.paths.of_request(&sanitise(path)).add(tally),
            (None, Some(counters)) => counters.add(tally),
            (None, None) => {}
        }
    }

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
            let requests = self.durations(method).requests.get();
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
            page.histogram(method.name(), self.durations(method));
        }
        for (policy, decisions) in OnStoreError::ALL.iter().zip(&self.stood_in).skip(1) {
            page.sample(
                (
                    "tidegate_fallback_decisions_total",
                    Kind::Counter,
                    "Decisions in which on_store_error took part, by what it says.",
                ),
                &[("policy", policy.name())],
                decisions.get() as f64,
            );
        }
        let mut own = |name, kind, help, value: u64| {
            page.sample((name, kind, help), &[], value as f64);
        };
        own("tidegate_metric_paths", Kind::Gauge, "Metric paths held.", self.paths.len() as u64);
        own(
            "tidegate_metric_paths_overflow_total",
            Kind::Counter,
            "Decisions counted under tidegate_overflow, as there were too many metric paths.",
            self.paths.overflowed(),
        );
        own(
            "tidegate_statsd_dropped_timers_total",
            Kind::Counter,
            "Timer samples that found no place on their way to statsd.",
            self.dropped_timers.get(),
        );
        own(
            "tidegate_statsd_failed_flushes_total",
            Kind::Counter,
            "Flushes to statsd that could not be sent as a whole.",
            self.failed_flushes.get(),
        );
    }
}

impl Counts for Counter {
    fn total(&self) -> u64 {
        self.get()
    }
}

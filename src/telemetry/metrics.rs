//! All counters of the process.
//!
//! Decisions touch atomics only; names are made when somebody asks. What requests can
//! bring, paths with values in them and domains that do not exist, is held up to a cap.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use super::capped::{Capped, Counts};
use super::counter::Counter;
use super::facts::LoadStats;
use super::families as f;
use super::histogram::Histogram;
use super::meters::{self, Meters};
use super::metric::Snapshot;
use super::metric_path::sanitise;
use super::naming::Naming;
use super::own;
use super::paths::PathCounters;
use super::prometheus::Page;
use super::rulings::{Ruling, Rulings};
use super::timing::{Method, Queue, Timer};
use crate::clock::Timestamp;
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

/// How much is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Metric paths beyond the rules' own, which values of requests make. A path costs one for
    /// every 64 bytes begun; what has no place goes to one series.
    pub value_paths: usize,
    /// Rules whose decisions have series of their own; those of all others share one.
    pub rules: usize,
}

/// The metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    naming: Arc<Naming>,
    max_rules: usize,
    /// Of each worker.
    meters: Mutex<Vec<Arc<Meters>>>,
    paths: Capped<PathCounters>,
    /// Of descriptors that met no rule.
    without_rule: Rulings,
    unknown_domains: Capped<Counter>,
    should_rate_limit: Histogram,
    check: Histogram,
    service_errors: Counter,
    store_errors: Counter,
    stood_in: [Counter; OnStoreError::ALL.len()],
    global_shadow: Counter,
    loads: Counter,
    failed_loads: Counter,
    /// In microseconds.
    last_failed_load: Counter,
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
    /// Metrics that tell apart no more than `caps` say.
    pub fn new(caps: Caps, naming: Naming) -> Self {
        let durations = |method: Method| Histogram::new(naming.scale(method.name()));
        Self {
            max_rules: caps.rules,
            meters: Mutex::default(),
            paths: Capped::new(caps.value_paths),
            without_rule: Rulings::default(),
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
            last_failed_load: Counter::default(),
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

    /// Counters for one more worker.
    pub fn meters(&self) -> Arc<Meters> {
        let meters = Arc::new(Meters::default());
        self.meters.lock().push(Arc::clone(&meters));
        meters
    }

    /// Counts a decision. `handles` belong to the ruleset that it was made with.
    pub fn record(&self, decision: &Decision, handles: &Handles, domain: &str) {
        for status in &decision.statuses {
            self.rulings(handles, status.rule).add(Ruling::of(status, decision));
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
            self.rulings(handles, rule).add(Ruling::Unknown);
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

    /// Counts a load of rules that was refused `now`.
    pub fn record_failed_load(&self, now: Timestamp) {
        self.failed_loads.add(1);
        self.last_failed_load.set(now.as_micros());
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

    fn durations(&self, method: Method) -> &Histogram {
        match method {
            Method::ShouldRateLimit => &self.should_rate_limit,
            Method::Check => &self.check,
        }
    }

    fn rulings<'m>(&'m self, handles: &'m Handles, rule: Option<RuleId>) -> &'m Rulings {
        let counters = rule.and_then(|id| handles.0.get(id.0 as usize));
        counters.map_or(&self.without_rule, |counters| &counters.rulings)
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

impl Counts for Counter {
    fn total(&self) -> u64 {
        self.get()
    }
}

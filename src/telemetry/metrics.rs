//! All counters of the process.
//!
//! Decisions touch atomics only; names are made when somebody asks. What requests can
//! bring, paths with values in them and domains that do not exist, is held up to a cap.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use super::capped::{Capped, Counts};
use super::counter::Counter;
use super::facts::LoadStats;
use super::histogram::Histogram;
use super::meters::Meters;
use super::metric_path::sanitise;
use super::naming::Naming;
use super::paths::PathCounters;
use super::rulings::{Ruling, Rulings};
use super::timing::{Method, Queue, Timer};
use crate::clock::Timestamp;
use crate::limiter::{Decision, Plan, Tally};
use crate::rules::{OnStoreError, RuleId, Ruleset};

/// The counters of a ruleset's rules, looked up once when it is loaded.
#[derive(Debug, Default)]
pub struct Handles(pub(super) Vec<Arc<PathCounters>>);

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

    pub(super) fn stats(&self) -> LoadStats {
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
    pub(super) naming: Arc<Naming>,
    pub(super) max_rules: usize,
    /// Of each worker.
    pub(super) meters: Mutex<Vec<Arc<Meters>>>,
    pub(super) paths: Capped<PathCounters>,
    /// Of descriptors that met no rule.
    pub(super) without_rule: Rulings,
    pub(super) unknown_domains: Capped<Counter>,
    pub(super) should_rate_limit: Histogram,
    pub(super) check: Histogram,
    pub(super) service_errors: Counter,
    pub(super) store_errors: Counter,
    pub(super) stood_in: [Counter; OnStoreError::ALL.len()],
    pub(super) global_shadow: Counter,
    pub(super) loads: Counter,
    pub(super) failed_loads: Counter,
    /// In microseconds.
    pub(super) last_failed_load: Counter,
    /// Reading the rule files.
    pub rule_files: Loads,
    pub(super) queues: OnceLock<Vec<Arc<Queue>>>,
    pub(super) dropped_timers: Counter,
    pub(super) failed_flushes: Counter,
}

/// Where statistics go once there are too many paths, and unknown domains.
pub(super) const OVERFLOW: &str = "tidegate_overflow";

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

    pub(super) fn durations(&self, method: Method) -> &Histogram {
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
}

impl Counts for Counter {
    fn total(&self) -> u64 {
        self.get()
    }
}

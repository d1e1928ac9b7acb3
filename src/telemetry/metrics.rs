//! All counters of the process and their names on the page.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::metric_path::{Labels, labels, sanitise};
use super::prometheus::{Kind, Page, metric_name};
use crate::limiter::{Decision, Plan, Tally};
use crate::rules::{RuleId, Ruleset};

/// A counter that stays at its maximum instead of starting over.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    fn add(&self, n: u64) {
        if n > 0 && self.0.fetch_add(n, Relaxed).checked_add(n).is_none() {
            self.0.store(u64::MAX, Relaxed);
        }
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of one metric path.
#[derive(Debug, Default)]
struct PathCounters {
    total: Counter,
    over: Counter,
    near: Counter,
    within: Counter,
    shadow: Counter,
    given_back: Counter,
}

impl PathCounters {
    fn add(&self, tally: &Tally) {
        self.total.add(tally.total);
        self.over.add(tally.over);
        self.near.add(tally.near);
        self.within.add(tally.within);
        self.shadow.add(tally.shadow);
        self.given_back.add(tally.given_back);
    }

    fn families(&self) -> [(&'static str, u64); 6] {
        [
            ("ratelimit_service_rate_limit_total_hits", self.total.get()),
            ("ratelimit_service_rate_limit_over_limit", self.over.get()),
            ("ratelimit_service_rate_limit_near_limit", self.near.get()),
            ("ratelimit_service_rate_limit_within_limit", self.within.get()),
            ("ratelimit_service_rate_limit_shadow_mode", self.shadow.get()),
            ("ratelimit_service_rate_limit_total_negative_hits", self.given_back.get()),
        ]
    }
}

/// The counters of a ruleset's rules, looked up once when it is loaded.
#[derive(Debug, Default)]
pub struct Handles(Vec<Arc<PathCounters>>);

const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Observed durations of one gRPC method.
#[derive(Debug, Default)]
struct Durations {
    requests: Counter,
    buckets: [Counter; BUCKETS.len()],
    sum_micros: Counter,
}

/// A method call under way; counted when it is dropped.
#[derive(Debug)]
pub struct Timer<'m>(&'m Durations, Instant);

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let Self(durations, started) = self;
        let elapsed = started.elapsed();
        durations.requests.add(1);
        durations.sum_micros.add(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
        if let Some(bucket) = BUCKETS.iter().position(|le| elapsed.as_secs_f64() <= *le) {
            durations.buckets[bucket].add(1);
        }
    }
}

/// The metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    paths: RwLock<HashMap<String, Arc<PathCounters>>>,
    unknown_domains: RwLock<HashMap<String, Arc<Counter>>>,
    max_value_paths: usize,
    should_rate_limit: Durations,
    health_check: Durations,
    service_errors: Counter,
    store_errors: Counter,
    global_shadow: Counter,
    loads: Counter,
    failed_loads: Counter,
}

/// Where statistics go once there are too many paths, and unknown domains.
const OVERFLOW: &str = "tidegate_overflow";

/// How many unknown domains are told apart.
const MAX_UNKNOWN_DOMAINS: usize = 100;

/// The longest name that a request may give a series; longer ones go to the overflow, so
/// that requests cannot fill the memory.
const MAX_NAME_BYTES: usize = 512;

impl Metrics {
    /// Metrics that tell apart at most `max_value_paths` metric paths beyond the rules'
    /// own; what requests bring beyond that goes to one series.
    pub fn new(max_value_paths: usize) -> Self {
        Self {
            paths: RwLock::default(),
            unknown_domains: RwLock::default(),
            max_value_paths,
            should_rate_limit: Durations::default(),
            health_check: Durations::default(),
            service_errors: Counter::default(),
            store_errors: Counter::default(),
            global_shadow: Counter::default(),
            loads: Counter::default(),
            failed_loads: Counter::default(),
        }
    }

    /// The counters of a ruleset's rules. A path known from before keeps its counts.
    pub fn handles(&self, ruleset: &Ruleset) -> Handles {
        let mut paths = self.paths.write();
        let rules = ruleset.rules().iter();
        Handles(
            rules.map(|rule| Arc::clone(paths.entry(sanitise(&rule.path)).or_default())).collect(),
        )
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
            self.unknown_domain(domain).add(descriptors);
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
        Timer(&self.should_rate_limit, Instant::now())
    }

    /// Starts the clock of a health `Check` call.
    pub fn time_health_check(&self) -> Timer<'_> {
        Timer(&self.health_check, Instant::now())
    }

    fn add(&self, handles: &Handles, rule: Option<RuleId>, path: Option<&str>, tally: &Tally) {
        match (path, rule.and_then(|id| handles.0.get(id.0 as usize))) {
            (Some(path), _) => self.value_path(&sanitise(path), handles.0.len()).add(tally),
            (None, Some(counters)) => counters.add(tally),
            (None, None) => {}
        }
    }

    /// The counters of a path that holds values of the request.
    fn value_path(&self, path: &str, rules: usize) -> Arc<PathCounters> {
        if let Some(counters) = self.paths.read().get(path) {
            return Arc::clone(counters);
        }
        let mut paths = self.paths.write();
        let full = paths.len() >= self.max_value_paths.saturating_add(rules);
        let path = if full || path.len() > MAX_NAME_BYTES {
            format!("{OVERFLOW}.{OVERFLOW}")
        } else {
            path.to_owned()
        };
        Arc::clone(paths.entry(path).or_default())
    }

    /// The counter of a domain without rules. Domains whose metric names are the same
    /// share it.
    fn unknown_domain(&self, domain: &str) -> Arc<Counter> {
        let name = metric_name(domain.get(..MAX_NAME_BYTES).unwrap_or(domain));
        if let Some(counter) = self.unknown_domains.read().get(&name) {
            return Arc::clone(counter);
        }
        let mut domains = self.unknown_domains.write();
        let full = domains.len() >= MAX_UNKNOWN_DOMAINS || domain.len() > MAX_NAME_BYTES;
        let name = if full { OVERFLOW.to_owned() } else { name };
        Arc::clone(domains.entry(name).or_default())
    }

    /// Adds every series to `page`. A path's counters appear once they are not zero.
    pub fn render(&self, page: &mut Page) {
        self.render_paths(page);
        let counter = |page: &mut Page, name: &str, help, labels: &[_], value: &Counter| {
            page.sample((name, Kind::Counter, help), labels, value.get() as f64);
        };
        let name = "ratelimit_service_should_rate_limit_error";
        let help = "Requests that got no decision, by cause.";
        counter(page, name, help, &[("err_type", "service_error")], &self.service_errors);
        counter(page, name, help, &[("err_type", "redis_error")], &self.store_errors);
        let name = "ratelimit_service_global_shadow_mode";
        let help = "Requests over limit that SHADOW_MODE let pass.";
        counter(page, name, help, &[], &self.global_shadow);
        let name = "ratelimit_service_config_load_success";
        counter(page, name, "Loads of rules that took effect.", &[], &self.loads);
        let name = "ratelimit_service_config_load_error";
        counter(page, name, "Loads of rules that were refused.", &[], &self.failed_loads);
        for (domain, value) in &*self.unknown_domains.read() {
            let name = format!("ratelimit_service_rate_limit_{domain}_domain_not_found");
            counter(page, &name, "Descriptors of a domain without rules.", &[], value);
        }
        self.should_rate_limit.render("ShouldRateLimit", page);
        self.health_check.render("Check", page);
    }

    /// Several paths can have the same labels: they add up.
    fn render_paths(&self, page: &mut Page) {
        let mut sums: BTreeMap<(&str, Labels<'_>), u64> = BTreeMap::new();
        let paths = self.paths.read();
        for (path, counters) in &*paths {
            for (family, value) in counters.families().into_iter().filter(|(_, v)| *v > 0) {
                let sum = sums.entry((family, labels(path))).or_default();
                *sum = sum.saturating_add(value);
            }
        }
        for ((family, labels), value) in sums {
            page.sample((family, Kind::Counter, "Hits by rule."), &labels, value as f64);
        }
    }
}

impl Durations {
    fn render(&self, method: &str, page: &mut Page) {
        let method = ("grpc_method", method);
        let requests =
            ("ratelimit_service_total_requests", Kind::Counter, "gRPC calls, by method.");
        page.sample(requests, &[method], self.requests.get() as f64);
        let family = (
            "ratelimit_service_response_time_seconds",
            Kind::Histogram,
            "Duration of gRPC calls, by method.",
        );
        let mut sum = 0;
        for (le, bucket) in BUCKETS.iter().zip(&self.buckets) {
            sum += bucket.get();
            page.line(family, "_bucket", &[method, ("le", &le.to_string())], sum as f64);
        }
        let count = self.requests.get();
        page.line(family, "_bucket", &[method, ("le", "+Inf")], count as f64);
        let seconds = Duration::from_micros(self.sum_micros.get()).as_secs_f64();
        page.line(family, "_sum", &[method], seconds);
        page.line(family, "_count", &[method], count as f64);
    }
}

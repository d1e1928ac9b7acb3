//! A metric is declared once; its name for statsd and its name for Prometheus follow.
//!
//! A `*` in the statsd name is filled with a part of the measurement: the path of a rule,
//! an error, a method. Where there is a label but no `*`, the part is a tag. Counting and
//! sending are not known here.

use std::borrow::Cow;
use std::sync::Arc;

use super::prometheus::{Kind, metric_name};

/// What one measurement is called.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub(super) statsd: &'static str,
    /// The Prometheus family; empty: the statsd name with underscores.
    family: &'static str,
    pub(super) labels: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// The labels of a path: deeper levels are summed, and a dot in a domain or value shifts
/// what comes after it, as it always did with envoyproxy/ratelimit.
const PATH: &[&str] = &["domain", "key1", "key2"];

impl Metric {
    pub(super) const fn counter(statsd: &'static str, help: &'static str) -> Self {
        Self { statsd, family: "", labels: &[], kind: Kind::Counter, help }
    }

    pub(super) const fn gauge(statsd: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Gauge, ..Self::counter(statsd, help) }
    }

    pub(super) const fn timer(statsd: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Histogram, ..Self::counter(statsd, help) }
    }

    /// Counts hits of paths.
    pub(super) const fn of_paths(
        statsd: &'static str,
        family: &'static str,
        help: &'static str,
    ) -> Self {
        Self { family, labels: PATH, ..Self::counter(statsd, help) }
    }

    /// The part becomes this label.
    pub(super) const fn labelled(
        self,
        family: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { family, labels, ..self }
    }

    /// The name in the dotted form, with its part in place.
    pub(super) fn dotted(&self, part: &str) -> Cow<'static, str> {
        match self.statsd.contains('*') {
            true => Cow::Owned(self.statsd.replacen('*', part, 1)),
            false => Cow::Borrowed(self.statsd),
        }
    }

    /// The tag that the part is, if it is none of the name.
    pub(super) fn tag<'p>(&self, part: &'p str) -> Option<(&'static str, &'p str)> {
        let label = self.labels.first().filter(|_| !self.statsd.contains('*'))?;
        Some((label, part))
    }

    /// The Prometheus family.
    pub(super) fn family(&self, part: &str) -> Cow<'static, str> {
        match self.family {
            "" => Cow::Owned(metric_name(&self.dotted(part))),
            family => Cow::Borrowed(family),
        }
    }

    /// The statsd name, `*` standing for a part; for documentation.
    pub fn statsd(&self) -> &'static str {
        self.statsd
    }

    /// The Prometheus family, `*` standing for a part; for documentation.
    pub fn prometheus(&self) -> String {
        self.statsd
            .split('*')
            .map(metric_name)
            .reduce(|all, rest| format!("{all}*{rest}"))
            .filter(|_| self.family.is_empty())
            .unwrap_or_else(|| self.family.to_owned())
    }
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Reading {
    pub(super) metric: &'static Metric,
    pub(super) part: Arc<str>,
    pub(super) value: u64,
}

/// What was measured at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(super) readings: Vec<Reading>,
}

impl Snapshot {
    /// Adds a measurement without a part.
    pub fn add(&mut self, metric: &'static Metric, value: u64) {
        self.add_part(metric, Arc::from(""), value);
    }

    /// Adds one with a part.
    pub fn add_part(&mut self, metric: &'static Metric, part: Arc<str>, value: u64) {
        self.readings.push(Reading { metric, part, value });
    }
}

//! From a metric and its part to a Prometheus series: the names built in, or a mapping
//! file's.

use std::borrow::Cow;

use super::families;
use super::histogram::Scale;
use super::mapping::{Mapping, Outcome};
use super::metric::Metric;
use super::prometheus::{Kind, metric_name};
use super::tags::Tags;
use super::timing::BUCKETS;

/// How readings are named on the page.
#[derive(Debug, Default)]
pub struct Naming {
    mapping: Option<Mapping>,
    /// Labels of every series.
    tags: Tags,
    millisecond: Millisecond,
}

/// What a millisecond of response time counts on the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Millisecond {
    /// A thousandth: the values are seconds.
    #[default]
    Thousandth,
    /// One: the values are milliseconds, whatever the family is called.
    One,
}

/// Durations are counted in nanoseconds.
const NANOS_PER_MILLISECOND: f64 = 1e6;

/// A series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named<'n> {
    pub(super) family: Cow<'n, str>,
    pub(super) labels: Vec<(Cow<'n, str>, String)>,
}

impl Naming {
    /// The names of `mapping`, else those built in; `tags` become labels of every series.
    pub fn new(mapping: Option<Mapping>, tags: Tags, millisecond: Millisecond) -> Self {
        Self { mapping, tags, millisecond }
    }

    /// The series of a reading; `None` if a mapping drops it.
    pub(super) fn name(&self, metric: &'static Metric, part: &str) -> Option<Named<'static>> {
        let mut named = match &self.mapping {
            Some(mapping) => mapped(mapping, metric, part)?,
            None => built_in(metric, part),
        };
        for (label, value) in self.tags.labels() {
            if named.labels.iter().all(|(own, _)| *own != label) {
                named.labels.push((Cow::Owned(label), value.to_owned()));
            }
        }
        Some(named)
    }

    /// How the durations of `method` are measured.
    pub(super) fn scale(&self, method: &str) -> Scale {
        let usual = match self.millisecond {
            Millisecond::Thousandth => 0.001,
            Millisecond::One => 1.0,
        };
        let name = families::RESPONSE_TIME.dotted(method);
        let outcome = self.mapping.as_ref().map(|mapping| mapping.find(&name, Kind::Histogram));
        let (bounds, millisecond) = match outcome {
            Some(Outcome::Named { buckets, scale, .. }) => {
                (buckets.unwrap_or(&BUCKETS), scale.unwrap_or(usual))
            }
            _ => (&BUCKETS[..], usual),
        };
        Scale::of_durations(bounds, millisecond / NANOS_PER_MILLISECOND)
    }
}

fn built_in(metric: &'static Metric, part: &str) -> Named<'static> {
    // There the rule for `over_limit` also takes what has the longer name.
    let is_counted_twice =
        metric == &families::OVER_LIMIT_FROM_CACHE && part.split('.').count() > 2;
    let metric = if is_counted_twice { &families::OVER_LIMIT } else { metric };
    let labels: Vec<_> = match metric.tag(part) {
        Some((label, value)) => vec![(Cow::Borrowed(label), value.to_owned())],
        None => {
            let labels = metric.labels.iter().zip(part.split('.'));
            labels.map(|(label, value)| (Cow::Borrowed(*label), value.to_owned())).collect()
        }
    };
    Named { family: metric.family(part), labels }
}

fn mapped(mapping: &Mapping, metric: &Metric, part: &str) -> Option<Named<'static>> {
    let name = metric.dotted(part);
    let tag = metric.tag(part).map(|(label, value)| (Cow::Borrowed(label), value.to_owned()));
    let (family, labels) = match mapping.find(&name, metric.kind) {
        Outcome::Dropped => return None,
        Outcome::Unknown => (metric_name(&name), Vec::new()),
        Outcome::Named { family, labels, .. } => (family, labels),
    };
    let labels = labels.into_iter().map(|(label, value)| (Cow::Owned(label), value));
    let mut labels: Vec<_> = labels.collect();
    labels.extend(tag.filter(|(label, _)| labels.iter().all(|(own, _)| own != label)));
    Some(Named { family: Cow::Owned(family), labels })
}

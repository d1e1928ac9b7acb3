//! The metrics page: families sorted, each in one block, no series twice; and its form in the
//! text format of Prometheus.
//!
//! A sample is taken with its declaration only: of [`Own`] families, or of a
//! [`Metric`](super::metric::Metric) that envoyproxy/ratelimit has too. The protobuf form is
//! made in `wire`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::families;
use super::histogram::Observed;
use super::metric::{Metric, Reading, Snapshot};
use super::naming::{Named, Naming};
use super::own::Own;

/// The kind of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

impl Kind {
    /// Its name in the text format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Series of one name.
#[derive(Debug)]
pub struct Family {
    /// What they are.
    pub kind: Kind,
    /// What they say.
    pub help: &'static str,
    /// They.
    pub series: Vec<Series>,
}

/// One series with its value.
#[derive(Debug)]
pub struct Series {
    /// Names and values of its labels.
    pub labels: Labels,
    /// What was measured.
    pub value: Value,
}

/// Labels of a series, each name once.
pub type Labels = Vec<(Cow<'static, str>, String)>;

/// What was measured.
#[derive(Debug)]
pub enum Value {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram.
    Observed(Box<Observed>),
}

/// A page of samples under way.
#[derive(Debug, Default)]
pub struct Page {
    families: BTreeMap<Cow<'static, str>, Family>,
    naming: Arc<Naming>,
}

/// Series that readings make, several of which may have the same name.
type Sums = BTreeMap<Named<'static>, (&'static Metric, u64)>;

impl Page {
    /// An empty page whose readings get these names.
    pub fn new(naming: Arc<Naming>) -> Self {
        Self { naming, ..Self::default() }
    }

    /// Adds the sample of a counter or gauge, with the values of its labels in their order.
    pub fn sample(&mut self, own: &'static Own, labels: &[&str], value: f64) {
        self.add_own(own, labels, Value::Number(value));
    }

    /// Adds a histogram, with the values of its labels in their order.
    pub fn histogram(&mut self, own: &'static Own, labels: &[&str], observed: Observed) {
        self.add_own(own, labels, Value::Observed(Box::new(observed)));
    }

    /// Adds what was measured; what has the same name and labels adds up.
    pub fn take(&mut self, snapshot: &Snapshot) {
        let naming = Arc::clone(&self.naming);
        let mut sums = Sums::new();
        for Reading { metric, part, value } in &snapshot.readings {
            if let Some(named) = naming.name(metric, part) {
                let (first, sum) = sums.entry(named).or_insert((metric, 0));
                // A mapping can name different kinds the same; they do not add up.
                if first.kind == metric.kind {
                    *sum = sum.saturating_add(*value);
                }
            }
        }
        for (named, (metric, value)) in sums {
            self.add(named, metric, Value::Number(value as f64));
        }
    }

    /// Adds the response times of a method.
    pub(super) fn response_times(&mut self, method: &str, observed: Observed) {
        let metric = &families::RESPONSE_TIME;
        if let Some(named) = Arc::clone(&self.naming).name(metric, method) {
            self.add(named, metric, Value::Observed(Box::new(observed)));
        }
    }

    /// The families by name, in order.
    pub fn families(&self) -> impl Iterator<Item = (&str, &Family)> {
        self.families.iter().map(|(name, family)| (&**name, family))
    }

    /// The text, version 0.0.4.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (name, Family { kind, help, series }) in self.families() {
            let _ = writeln!(out, "# HELP {name} {help}");
            let _ = writeln!(out, "# TYPE {name} {}", kind.name());
            for Series { labels, value } in series {
                match value {
                    Value::Number(value) => line((name, ""), (labels, None), *value, &mut out),
                    Value::Observed(observed) => histogram(name, labels, observed, &mut out),
                }
            }
        }
        out
    }

    fn add_own(&mut self, own: &'static Own, labels: &[&str], value: Value) {
        debug_assert_eq!(own.labels.len(), labels.len(), "{}", own.name);
        let labels = own.labels.iter().zip(labels);
        let labels = labels.map(|(label, value)| (Cow::Borrowed(*label), (*value).to_owned()));
        let family = (Cow::Borrowed(own.name), own.kind, own.help);
        self.push(family, Series { labels: labels.collect(), value });
    }

    fn add(&mut self, named: Named<'static>, metric: &'static Metric, value: Value) {
        let Named { family, labels } = named;
        self.push((family, metric.kind, metric.help), Series { labels, value });
    }

    /// Adds a series. A name that already has another kind keeps it: the series is left out.
    fn push(&mut self, (name, kind, help): (Cow<'static, str>, Kind, &'static str), new: Series) {
        let empty = || Family { kind, help, series: Vec::new() };
        let family = self.families.entry(name).or_insert_with(empty);
        if family.kind == kind {
            family.series.push(new);
        }
    }
}

fn histogram(name: &str, labels: &Labels, observed: &Observed, out: &mut String) {
    for (bound, below) in observed.classic() {
        line((name, "_bucket"), (labels, Some(&bound.to_string())), below as f64, out);
    }
    let count = observed.count() as f64;
    line((name, "_bucket"), (labels, Some("+Inf")), count, out);
    line((name, "_sum"), (labels, None), observed.sum(), out);
    line((name, "_count"), (labels, None), count, out);
}

/// Writes one line of a family; suffix and bound as histograms need them.
fn line(
    (name, suffix): (&str, &str),
    (labels, bound): (&Labels, Option<&str>),
    value: f64,
    out: &mut String,
) {
    out.push_str(name);
    out.push_str(suffix);
    let labels = labels.iter().map(|(label, value)| (&**label, &**value));
    let mut before = '{';
    for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        out.push(before);
        let _ = write!(out, "{label}=\"");
        escape(value, out);
        out.push('"');
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// `name` with every character that a metric name may not have as `_`.
pub(super) fn metric_name(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }).collect();
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

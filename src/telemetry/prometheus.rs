//! The Prometheus text format: families sorted, each in one block, no series twice.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::families;
use super::metric::{Metric, Reading, Snapshot};
use super::naming::{Named, Naming};
use super::timing::Durations;

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

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: &'static str,
    samples: String,
}

/// A page of samples under way.
#[derive(Debug, Default)]
pub struct Page {
    families: BTreeMap<String, Family>,
    naming: Arc<Naming>,
}

/// Series that readings make, several of which may have the same name.
type Sums = BTreeMap<Named<'static>, (&'static Metric, u64)>;

impl Page {
    /// An empty page whose readings get these names.
    pub fn new(naming: Arc<Naming>) -> Self {
        Self { naming, ..Self::default() }
    }

    /// Adds the sample of a counter or gauge. The first sample of a family declares it.
    pub fn sample(
        &mut self,
        family: (&str, Kind, &'static str),
        labels: &[(&str, &str)],
        value: f64,
    ) {
        self.line(family, "", labels, value);
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
            self.sample((&named.family, metric.kind, metric.help), &named.labels(), value as f64);
        }
    }

    /// Adds the histogram of a method.
    pub(super) fn histogram(&mut self, method: &str, durations: &Durations) {
        let metric = &families::RESPONSE_TIME;
        let Some(named) = Arc::clone(&self.naming).name(metric, method) else { return };
        let family = (&*named.family, Kind::Histogram, metric.help);
        let labels = named.labels();
        let with = |le: String| -> Vec<(&str, Cow<'_, str>)> {
            let labels = labels.iter().map(|(label, value)| (*label, Cow::Borrowed(*value)));
            labels.chain([("le", Cow::Owned(le))]).collect()
        };
        let (buckets, sum) = durations.histogram();
        // Read last, so that no bucket holds more.
        let count = durations.requests.get();
        let buckets = buckets.iter().map(|(le, below)| (le.to_string(), *below));
        for (le, below) in buckets.chain([("+Inf".to_owned(), count)]) {
            let labels = with(le);
            let labels: Vec<_> = labels.iter().map(|(label, value)| (*label, &**value)).collect();
            self.line(family, "_bucket", &labels, below as f64);
        }
        self.line(family, "_sum", &labels, sum);
        self.line(family, "_count", &labels, count as f64);
    }

    /// Adds one line of a family; `suffix` as histograms need it. A name that already has
    /// another kind keeps it: the line is left out.
    fn line(
        &mut self,
        (name, kind, help): (&str, Kind, &'static str),
        suffix: &str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        if !self.families.contains_key(name) {
            self.families.insert(name.to_owned(), Family { kind, help, samples: String::new() });
        }
        let Some(family) = self.families.get_mut(name).filter(|f| f.kind == kind) else { return };
        let out = &mut family.samples;
        out.push_str(name);
        out.push_str(suffix);
        for (i, (label, value)) in labels.iter().enumerate() {
            out.push(if i == 0 { '{' } else { ',' });
            let _ = write!(out, "{label}=\"");
            escape(value, out);
            out.push('"');
        }
        if !labels.is_empty() {
            out.push('}');
        }
        let _ = writeln!(out, " {value}");
    }

    /// The text, version 0.0.4.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (name, family) in &self.families {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let _ = writeln!(out, "# HELP {name} {}", family.help);
            let _ = writeln!(out, "# TYPE {name} {kind}");
            out.push_str(&family.samples);
        }
        out
    }
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

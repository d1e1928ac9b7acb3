//! The Prometheus text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;

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

/// A page of samples under way; families come out sorted, each in one block.
#[derive(Debug, Default)]
pub struct Page {
    families: BTreeMap<String, Family>,
}

impl Page {
    /// Adds the sample of a counter or gauge. The first sample of a family declares it.
    pub fn sample(
        &mut self,
        (family, kind, help): (&str, Kind, &'static str),
        labels: &[(&str, &str)],
        value: f64,
    ) {
        self.line((family, kind, help), "", labels, value);
    }

    /// Adds one line of a family; `suffix` as histograms need it (`_bucket`).
    pub(super) fn line(
        &mut self,
        (name, kind, help): (&str, Kind, &'static str),
        suffix: &str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let family = self.families.entry(name.to_owned()).or_insert_with(|| Family {
            kind,
            help,
            samples: String::new(),
        });
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
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }).collect()
}

//! The formats of the metrics page: text, and the protobuf form that has native histograms
//! too. Which one a scraper gets is up to its `Accept` header.

use prost::Message as _;

use super::pb::io::prometheus::client as pb;
use crate::telemetry::{Family, Kind, Native, Observed, Page, SCHEMA, Series, Value};

/// A format of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposition {
    /// The text format, version 0.0.4.
    #[default]
    Text,
    /// Messages of `io.prometheus.client.MetricFamily`, each after its length.
    Protobuf,
}

impl Exposition {
    /// The format that these `Accept` headers like best; text, if they like none.
    pub fn preferred<'h>(accept: impl Iterator<Item = &'h str>) -> Self {
        let mut best = (0.0, Self::Text);
        for range in accept.flat_map(|header| header.split(',')) {
            if let Some((weight, format)) = offer(range)
                && weight > best.0
            {
                best = (weight, format);
            }
        }
        best.1
    }

    /// What it is called.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        }
    }

    /// The page in this format.
    pub fn write(self, page: &Page) -> Vec<u8> {
        match self {
            Self::Text => page.render().into_bytes(),
            Self::Protobuf => page
                .families()
                .flat_map(|one| family(one).encode_length_delimited_to_vec())
                .collect(),
        }
    }
}

/// The format that a range of an `Accept` header allows, and its weight.
fn offer(range: &str) -> Option<(f64, Exposition)> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let (mut weight, mut is_families, mut is_delimited) = (1.0, false, false);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
        match &*name {
            "q" => weight = value.parse().unwrap_or(0.0),
            "proto" => is_families = value == "io.prometheus.client.MetricFamily",
            "encoding" => is_delimited = value == "delimited",
            "version" if value != "0.0.4" => return None,
            _ => {}
        }
    }
    match &*kind {
        "text/plain" | "text/*" | "*/*" => Some((weight, Exposition::Text)),
        "application/vnd.google.protobuf" if is_families && is_delimited => {
            Some((weight, Exposition::Protobuf))
        }
        _ => None,
    }
}

fn family((name, family): (&str, &Family)) -> pb::MetricFamily {
    let kind = match family.kind {
        Kind::Counter => pb::MetricType::Counter,
        Kind::Gauge => pb::MetricType::Gauge,
        Kind::Histogram => pb::MetricType::Histogram,
    };
    pb::MetricFamily {
        name: name.to_owned(),
        help: family.help.to_owned(),
        r#type: kind.into(),
        metric: family.series.iter().map(|series| metric(family.kind, series)).collect(),
    }
}

fn metric(kind: Kind, Series { labels, value }: &Series) -> pb::Metric {
    let label = labels
        .iter()
        .map(|(name, value)| pb::LabelPair { name: name.to_string(), value: value.clone() })
        .collect();
    let mut metric = pb::Metric { label, ..pb::Metric::default() };
    match (value, kind) {
        (Value::Observed(observed), _) => metric.histogram = Some(histogram(observed)),
        (Value::Number(value), Kind::Counter) => {
            metric.counter = Some(pb::Counter { value: *value });
        }
        (Value::Number(value), _) => metric.gauge = Some(pb::Gauge { value: *value }),
    }
    metric
}

fn histogram(observed: &Observed) -> pb::Histogram {
    let Native { zero_threshold, zero_count, buckets } = observed.native();
    let (positive_span, positive_delta) = spans(&buckets);
    let bucket = observed
        .classic()
        .map(|(upper_bound, cumulative_count)| pb::Bucket { cumulative_count, upper_bound });
    pb::Histogram {
        sample_count: observed.count(),
        sample_sum: observed.sum(),
        bucket: bucket.collect(),
        schema: SCHEMA,
        zero_threshold,
        zero_count,
        positive_span,
        positive_delta,
    }
}

/// Buckets as runs of indices that follow one another, and as differences of counts.
fn spans(buckets: &[(i32, u64)]) -> (Vec<pb::BucketSpan>, Vec<i64>) {
    let mut spans: Vec<pb::BucketSpan> = Vec::new();
    let mut deltas = Vec::with_capacity(buckets.len());
    let (mut next, mut before) = (0, 0);
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(span) if *index == next => span.length += 1,
            _ => spans.push(pb::BucketSpan { offset: index - next, length: 1 }),
        }
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        deltas.push(count - before);
        (next, before) = (index + 1, count);
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_liked_best() {
        const PROTOBUF: &str = "application/vnd.google.protobuf;\
            proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let check = |accept: &[&str], expected| {
            assert_eq!(Exposition::preferred(accept.iter().copied()), expected, "{accept:?}");
        };
        check(&[], Exposition::Text);
        check(&["", "text/html"], Exposition::Text);
        check(&["*/*"], Exposition::Text);
        check(&[PROTOBUF], Exposition::Protobuf);
        check(&["text/plain", PROTOBUF], Exposition::Text);
        check(&[PROTOBUF, "text/plain"], Exposition::Protobuf);
        check(&["text/plain;q=0.5", PROTOBUF], Exposition::Protobuf);
        check(&[&format!("{PROTOBUF};q=0.3,text/plain;version=0.0.4;q=0.4")], Exposition::Text);
        check(&[&format!("{PROTOBUF};q=0.3,text/plain;version=1.0.0;q=0.4")], Exposition::Protobuf);
        check(&[&format!("{PROTOBUF};q=0")], Exposition::Text);
        check(&[&PROTOBUF.replace("delimited", "text")], Exposition::Text);
        // What Prometheus sends when it scrapes native histograms.
        check(
            &["application/vnd.google.protobuf; Proto=\"io.prometheus.client.MetricFamily\"; \
               encoding=delimited;q=0.8,application/openmetrics-text;version=1.0.0;q=0.7,\
               text/plain;version=0.0.4;q=0.5,*/*;q=0.4"],
            Exposition::Protobuf,
        );
        // And without them.
        check(
            &["application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,\
               */*;q=0.1"],
            Exposition::Text,
        );
    }

    #[test]
    fn spans_leave_out_what_is_empty() {
        let span = |offset, length| pb::BucketSpan { offset, length };
        let check = |buckets: &[(i32, u64)], expected| assert_eq!(spans(buckets), expected);
        check(&[], (vec![], vec![]));
        check(&[(0, 5)], (vec![span(0, 1)], vec![5]));
        check(
            &[(-7, 5), (-6, 1), (-5, 4), (-3, 2), (10, 9)],
            (vec![span(-7, 3), span(1, 1), span(12, 1)], vec![5, -4, 3, -2, 7]),
        );
    }
}

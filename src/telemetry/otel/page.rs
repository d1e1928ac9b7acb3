//! The page of metrics as metrics of OTLP: the same names, labels and values.
//!
//! Made of the page's text, as a collector that scrapes it would do, so that there is one
//! list of series and a decision counts nothing twice. Counters and histograms are
//! cumulative, since the exporter began.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::attributes::pair;
use crate::clock::Timestamp;

/// The span of time that the values are of.
type Times = (Timestamp, Timestamp);

/// Labels with their values.
type Labels = Vec<(String, String)>;

/// The families of a page in the text format.
pub(super) fn metrics(text: &str, times: Times) -> Vec<Metric> {
    let mut families: Vec<Family<'_>> = Vec::new();
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            families.push(Family { name, help, kind, samples: Vec::new() });
        } else if let Some(sample) = Some(line).filter(|l| !l.starts_with('#')).and_then(sample)
            && let Some(family) = families.last_mut()
        {
            family.samples.push(sample);
        }
    }
    families.iter().map(|family| family.metric(times)).collect()
}

struct Family<'t> {
    name: &'t str,
    help: &'t str,
    kind: &'t str,
    samples: Vec<Sample<'t>>,
}

struct Sample<'t> {
    name: &'t str,
    labels: Labels,
    value: f64,
}

/// A histogram under way.
#[derive(Default)]
struct Buckets {
    /// Upper bounds with how much is at or below each.
    below: Vec<(f64, u64)>,
    sum: f64,
    count: u64,
}

impl Family<'_> {
    fn metric(&self, times: Times) -> Metric {
        let cumulative = AggregationTemporality::Cumulative.into();
        let data = match self.kind {
            "counter" => Data::Sum(Sum {
                data_points: self.numbers(times),
                aggregation_temporality: cumulative,
                is_monotonic: true,
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: self.histograms(times),
                aggregation_temporality: cumulative,
            }),
            _ => Data::Gauge(Gauge { data_points: self.numbers(times) }),
        };
        Metric {
            name: self.name.to_owned(),
            description: self.help.to_owned(),
            data: Some(data),
            ..Metric::default()
        }
    }

    fn numbers(&self, (since, now): Times) -> Vec<NumberDataPoint> {
        let point = |sample: &Sample<'_>| NumberDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: nanos(since),
            time_unix_nano: nanos(now),
            value: Some(Number::AsDouble(sample.value)),
            ..NumberDataPoint::default()
        };
        self.samples.iter().map(point).collect()
    }

    fn histograms(&self, (since, now): Times) -> Vec<HistogramDataPoint> {
        let mut series: BTreeMap<Labels, Buckets> = BTreeMap::new();
        for sample in &self.samples {
            let mut labels = sample.labels.clone();
            let le = labels.iter().position(|(label, _)| label == "le").map(|i| labels.remove(i));
            let buckets = series.entry(labels).or_default();
            match (sample.name.strip_prefix(self.name), le) {
                (Some("_bucket"), Some((_, le))) => {
                    let le = le.parse().unwrap_or(f64::INFINITY);
                    buckets.below.push((le, sample.value as u64));
                }
                (Some("_sum"), _) => buckets.sum = sample.value,
                (Some("_count"), _) => buckets.count = sample.value as u64,
                _ => {}
            }
        }
        let point = |(labels, buckets): (Labels, Buckets)| HistogramDataPoint {
            attributes: attributes(&labels),
            start_time_unix_nano: nanos(since),
            time_unix_nano: nanos(now),
            sum: Some(buckets.sum),
            ..buckets.point()
        };
        series.into_iter().map(point).collect()
    }
}

impl Buckets {
    /// Each bucket with what is in it alone, the one without an upper bound last. What was
    /// observed while the page was made may be in the buckets and not yet in the count.
    fn point(mut self) -> HistogramDataPoint {
        self.below.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let finite = self.below.iter().filter(|(le, _)| le.is_finite());
        let mut before = 0;
        let mut bucket_counts = Vec::new();
        for below in finite.clone().map(|(_, below)| *below).chain([self.count]) {
            bucket_counts.push(below.saturating_sub(before));
            before = below.max(before);
        }
        HistogramDataPoint {
            count: bucket_counts.iter().sum(),
            explicit_bounds: finite.map(|(le, _)| *le).collect(),
            bucket_counts,
            ..HistogramDataPoint::default()
        }
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(label, value)| pair(label, Value::StringValue(value.clone()))).collect()
}

fn nanos(at: Timestamp) -> u64 {
    at.as_micros().saturating_mul(1000)
}

/// `name{label="value",...} number`.
fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

/// A text up to its closing quote, and what stands after that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((i, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[i + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            _ => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP hits Hits of \"a\" rule.
# TYPE hits counter
hits{domain=\"a\\\"b,c}\",key=\"x\\\\y\\nz\"} 17
hits{domain=\"other\",key=\"\"} 2
# HELP up Whether it is.
# TYPE up gauge
up 1
# HELP took How long it took.
# TYPE took histogram
took_bucket{m=\"A\",le=\"0.5\"} 3
took_bucket{m=\"A\",le=\"1\"} 5
took_bucket{m=\"A\",le=\"+Inf\"} 9
took_sum{m=\"A\"} 12.5
took_count{m=\"A\"} 9
";

    #[test]
    fn a_page_becomes_metrics() {
        let metrics = metrics(PAGE, (Timestamp::from_secs(1), Timestamp::from_secs(2)));
        let names: Vec<&str> = metrics.iter().map(|metric| &*metric.name).collect();
        assert_eq!(names, ["hits", "up", "took"]);
        assert_eq!(metrics[0].description, "Hits of \"a\" rule.");
        let Some(Data::Sum(hits)) = &metrics[0].data else { panic!("{:?}", metrics[0]) };
        assert!(hits.is_monotonic);
        assert_eq!(hits.data_points[0].value, Some(Number::AsDouble(17.0)));
        assert_eq!(hits.data_points[0].start_time_unix_nano, 1_000_000_000);
        let labels = [("domain", "a\"b,c}"), ("key", "x\\y\nz")];
        let labels = labels.map(|(k, v)| pair(k, Value::StringValue(v.to_owned())));
        assert_eq!(hits.data_points[0].attributes, labels);
        let Some(Data::Gauge(up)) = &metrics[1].data else { panic!("{:?}", metrics[1]) };
        assert_eq!(up.data_points.len(), 1);
        let Some(Data::Histogram(took)) = &metrics[2].data else { panic!("{:?}", metrics[2]) };
        let point = &took.data_points[0];
        assert_eq!(point.explicit_bounds, [0.5, 1.0]);
        assert_eq!(point.bucket_counts, [3, 2, 4]);
        assert_eq!((point.count, point.sum), (9, Some(12.5)));
    }
}

//! Metrics and lines of the log arrive as what they are.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use tidegate::app;
use tidegate::settings::Settings;
use tracing_subscriber::layer::SubscriberExt as _;

use super::collector::Collector;
use super::{RULES, ask, attribute, shown};
use crate::support::clients::{Client, descriptor, request};
use crate::support::process::Tidegate;

/// The value of the only series of a family.
fn value(metrics: &[Metric], name: &str) -> Option<f64> {
    let metric = metrics.iter().find(|metric| metric.name == name)?;
    let points = match metric.data.as_ref()? {
        Data::Sum(sum) => &sum.data_points,
        Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{other:?}"),
    };
    match points[0].value? {
        Value::AsDouble(value) => Some(value),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn metrics_are_those_of_the_page() {
    for (collector, protocol) in [(Collector::grpc(), "grpc"), (Collector::http(), "http/protobuf")]
    {
        let tidegate = Tidegate::with_rules(RULES)
            .env("OTEL_METRICS_EXPORTER", "otlp")
            .env("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", protocol)
            .env(
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                match protocol {
                    "grpc" => collector.url(),
                    _ => format!("{}/v1/metrics", collector.url()),
                },
            )
            .env("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "20")
            .start();
        let client = Client::connect(tidegate.grpc()).await;
        for _ in 0..3 {
            ask(&client, request("shop", [descriptor(&[("path", "/api")])]), &[]).await.unwrap();
        }
        let metrics = collector.wait("the hits", |received| {
            let metrics = received.metrics();
            let hits = value(&metrics, "ratelimit_service_rate_limit_total_hits");
            (hits == Some(3.0)).then_some(metrics)
        });
        assert_eq!(value(&metrics, "tidegate_ready"), Some(1.0));
        assert_eq!(value(&metrics, "tidegate_telemetry_dropped_total"), Some(0.0));
        let took = metrics.iter().find(|metric| metric.name.ends_with("response_time_seconds"));
        let Some(Data::Histogram(took)) = took.and_then(|metric| metric.data.as_ref()) else {
            panic!("{metrics:#?}");
        };
        let method = |name: &str| {
            let is_it = |labels: &[_]| attribute(labels, "grpc_method").as_deref() == Some(name);
            took.data_points.iter().find(|point| is_it(&point.attributes))
        };
        let point = method("ShouldRateLimit").unwrap();
        assert_eq!((point.count, point.bucket_counts.iter().sum()), (3, 3));
        assert!(collector.see(|received| received.traces.is_empty() && received.logs.is_empty()));
    }
}

#[tokio::test]
async fn lines_of_the_log_arrive_without_those_of_sending() {
    let collector = Collector::grpc();
    let url = collector.url();
    let environment = |name: &str| match name {
        "OTEL_LOGS_EXPORTER" => Some("otlp".to_owned()),
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT" => Some(url.clone()),
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some("grpc".to_owned()),
        "OTEL_BLRP_SCHEDULE_DELAY" => Some("5".to_owned()),
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT" => Some("3".to_owned()),
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT" => Some("6".to_owned()),
        _ => None,
    };
    let settings = Settings::from_lookup(&environment, &[]).unwrap();
    let exporter = app::exporter(&settings).unwrap().unwrap();
    assert!(exporter.trace_sink().is_none());
    let subscriber = tracing_subscriber::registry().with(exporter.log_layer());
    tracing::subscriber::with_default(Arc::new(subscriber), || {
        tracing::warn!(rule = "shop.user", hits = 7, odd = true, more = 1, "it rains");
        tracing::error!(target: "h2::client", "the crates underneath speak");
        tracing::info!("it {}", "shines");
    });
    exporter.finish(Duration::from_secs(20)).await;
    let lines = collector.see(|received| received.lines());
    let texts: Vec<String> = lines
        .iter()
        .map(|line| shown(line.body.as_ref().unwrap().value.as_ref().unwrap()))
        .collect();
    assert_eq!(texts, ["it rains", "it shines"]);
    assert_eq!((lines[0].severity_text.as_str(), lines[0].severity_number), ("WARN", 13));
    assert_eq!(attribute(&lines[0].attributes, "rule").as_deref(), Some("shop.u"));
    assert_eq!(attribute(&lines[0].attributes, "hits").as_deref(), Some("7"));
    assert_eq!(attribute(&lines[0].attributes, "odd").as_deref(), Some("true"));
    assert_eq!((lines[0].attributes.len(), lines[0].dropped_attributes_count), (3, 1));
    assert!(lines[0].time_unix_nano > 1_600_000_000_000_000_000);
}

#[test]
fn nothing_is_sent_unless_it_is_asked_for() {
    let settings = Settings::from_lookup(&|_| None, &[]).unwrap();
    assert!(app::exporter(&settings).unwrap().is_none());
}

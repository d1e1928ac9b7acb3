//! A collector that is silent, refuses or is not there: callers notice nothing, what is lost
//! is counted, and the process ends in time.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::collector::Collector;
use super::{RULES, ask};
use crate::support::clients::{Client, descriptor, request};
use crate::support::port::Port;
use crate::support::process::{Setup, Tidegate, eventually};

/// Far more than two seconds for what is left, on a busy machine.
const SOON: Duration = Duration::from_secs(12);

fn setup(url: &str, protocol: &str) -> Setup {
    Tidegate::with_rules(RULES)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .env("OTEL_METRIC_EXPORT_INTERVAL", "10")
        .env("OTEL_BSP_SCHEDULE_DELAY", "10")
        // Five spans a call: four calls, one in each message.
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "20")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
}

async fn decide(tidegate: &Tidegate, times: usize) {
    let client = Client::connect(tidegate.grpc()).await;
    for _ in 0..times {
        ask(&client, request("shop", [descriptor(&[("path", "/api")])]), &[]).await.unwrap();
    }
}

fn ends_in_time(mut tidegate: Tidegate) {
    let start = Instant::now();
    tidegate.terminate();
    assert!(tidegate.wait().success());
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

const DROPPED: &str = "tidegate_telemetry_dropped_total{signal=\"traces\"}";

#[tokio::test]
async fn a_silent_collector_costs_what_it_did_not_get() {
    for protocol in ["grpc", "http/protobuf"] {
        // It takes connections, as its queue has room, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let tidegate = setup(&url, protocol).start();
        decide(&tidegate, 100).await;
        let dropped = tidegate.metric(DROPPED);
        // One is under way, four wait, and the first of these may be given up meanwhile.
        assert!((92.0..=99.0).contains(&dropped), "{protocol}: {dropped}");
        ends_in_time(tidegate);
    }
}

#[tokio::test]
async fn an_absent_collector_is_told_of_once() {
    for protocol in ["grpc", "http/protobuf"] {
        let nobody = Port::free();
        let url = format!("http://{}", nobody.address());
        let setup = setup(&url, protocol).env("OTEL_EXPORTER_OTLP_TIMEOUT", "50");
        let tidegate = setup.start();
        decide(&tidegate, 50).await;
        eventually("spans are dropped", || (tidegate.metric(DROPPED) > 20.0).then_some(()));
        tidegate.wait_for_log(|line| line.contains("telemetry is lost"));
        let log = tidegate.log();
        let told = log.lines().filter(|line| line.contains("telemetry is lost"));
        // Once for each signal, of which the log is one only where it is sent.
        assert!((1..=3).contains(&told.count()), "{log}");
        ends_in_time(tidegate);
    }
}

#[tokio::test]
async fn what_may_be_taken_later_is_sent_again() {
    let check = async |collector: Collector, protocol| {
        collector.see(|received| {
            received.refusals = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::BAD_GATEWAY];
        });
        let tidegate = Tidegate::with_rules(RULES)
            .env("OTEL_TRACES_EXPORTER", "otlp")
            .env("OTEL_METRICS_EXPORTER", "none")
            .env("OTEL_LOGS_EXPORTER", "none")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_BSP_SCHEDULE_DELAY", "10")
            .start();
        decide(&tidegate, 1).await;
        collector.wait("the spans", |received| (received.spans().len() == 5).then_some(()));
        assert_eq!(collector.see(|received| received.headers.len()), 3);
        assert_eq!(tidegate.metric(DROPPED), 0.0);
    };
    check(Collector::grpc(), "grpc").await;
    check(Collector::http(), "http/protobuf").await;
}

#[tokio::test]
async fn what_is_wrong_for_good_is_not_sent_again() {
    let collector = Collector::http();
    collector.see(|received| received.refusals = vec![StatusCode::UNAUTHORIZED]);
    let tidegate = Tidegate::with_rules(RULES)
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", collector.url()))
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2")
        .env("OTEL_BSP_SCHEDULE_DELAY", "10")
        .start();
    decide(&tidegate, 1).await;
    tidegate.wait_for_log(|line| line.contains("the collector answers 401"));
    eventually("it is counted", || (tidegate.metric(DROPPED) == 1.0).then_some(()));
    decide(&tidegate, 1).await;
    tidegate.wait_for_log(|line| line.contains("the collector takes telemetry again"));
    let header = collector.see(|received| received.headers[0]["authorization"].clone());
    assert_eq!(header, "Bearer hunter2");
    assert!(!tidegate.log().contains("hunter2"));
}

//! What spans say: names, parents, times and attributes; and what they never say.

use std::process::id;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::collector::{Collector, Received};
use super::{RULES, SPAN, TRACE, ask, attribute, hex};
use crate::support::clients::{Client, descriptor, post, request};
use crate::support::process::Tidegate;
use crate::support::redis::RedisServer;

/// A value of a caller's that must not leave the process.
const MARK: &str = "alice@example.com";

const METHOD: &str = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// The span of that name; one, and no more.
fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

/// Waits for all spans of one call over Redis.
fn call(collector: &Collector) -> Vec<Span> {
    collector.wait("the spans of a call", |received: &Received| {
        let spans = received.spans();
        (spans.len() >= 6).then_some(spans)
    })
}

#[tokio::test]
async fn a_call_is_a_span_with_its_stages_and_its_round_trip() {
    let collector = Collector::grpc();
    let redis = RedisServer::start_tcp();
    let tidegate = Tidegate::with_rules(RULES)
        .redis(&redis)
        .env("TRACING_ENABLED", "true")
        .env("TRACING_EXPORTER_PROTOCOL", "grpc")
        .env("TRACING_SERVICE_NAME", "limits")
        .env("TRACING_SERVICE_NAMESPACE", "edge")
        .env("TRACING_SERVICE_INSTANCE_ID", "pod-7")
        .env("TRACING_SAMPLING_RATE", "0")
        .env("TIDEGATE_ENVIRONMENT", "staging")
        .env("OTEL_RESOURCE_ATTRIBUTES", "team=limits%20and%20more")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .env("OTEL_BSP_SCHEDULE_DELAY", "20")
        .start();
    let client = Client::connect(tidegate.grpc()).await;
    let asked = request("shop", [descriptor(&[("user", MARK)]), descriptor(&[("path", "/api")])]);
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let headers = [("traceparent", &*parent), ("tracestate", "a=b"), ("x-request-id", "r-1")];
    assert_eq!(ask(&client, asked, &headers).await.unwrap(), Code::Ok);
    let spans = call(&collector);
    assert_eq!(spans.len(), 6);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));
    let server = named(&spans, METHOD);
    assert_eq!(server.kind(), SpanKind::Server);
    assert_eq!(hex(&server.parent_span_id), SPAN);
    assert_eq!((server.trace_state.as_str(), server.flags), ("a=b", 0x301));
    let said = |name| attribute(&server.attributes, name).unwrap_or_default();
    for (name, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", METHOD),
        ("rpc.response.status_code", "OK"),
        ("tidegate.outcome", "ok"),
        ("tidegate.domain", "shop"),
        ("tidegate.descriptors", "2"),
        ("tidegate.rules", "shop.user,shop.path_/api"),
        ("tidegate.request_id", "r-1"),
    ] {
        assert_eq!(said(name), value, "{name}");
    }
    assert_eq!(server.attributes.len(), 8, "{:?}", server.attributes);
    let mut before = server.start_time_unix_nano;
    for stage in ["decode", "plan", "store", "decide"] {
        let span = named(&spans, stage);
        assert_eq!((span.kind(), &span.parent_span_id), (SpanKind::Internal, &server.span_id));
        assert!(span.start_time_unix_nano >= before, "{stage}");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{stage}");
        before = span.end_time_unix_nano;
    }
    assert_eq!(before, server.end_time_unix_nano);
    let store = named(&spans, "store");
    assert_eq!(attribute(&store.attributes, "tidegate.sources").as_deref(), Some("store"));
    let redis_span = named(&spans, "EVALSHA");
    assert_eq!((redis_span.kind(), &redis_span.parent_span_id), (SpanKind::Client, &store.span_id));
    let links: Vec<&Vec<u8>> = redis_span.links.iter().map(|link| &link.span_id).collect();
    assert_eq!(links, [&store.span_id]);
    for (name, value) in [
        ("db.system.name", "redis".to_owned()),
        ("db.operation.name", "EVALSHA".to_owned()),
        ("server.address", "127.0.0.1".to_owned()),
        ("server.port", redis.port().to_string()),
        ("tidegate.requests", "1".to_owned()),
        ("tidegate.operations", "2".to_owned()),
    ] {
        assert_eq!(attribute(&redis_span.attributes, name), Some(value), "{name}");
    }
    let resource = collector.see(|received| received.resource());
    for (name, value) in [
        ("service.name", "limits"),
        ("service.namespace", "edge"),
        ("service.instance.id", "pod-7"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("deployment.environment.name", "staging"),
        ("team", "limits and more"),
    ] {
        assert_eq!(attribute(&resource, name).as_deref(), Some(value), "{name}");
    }
    let pid = attribute(&resource, "process.pid").unwrap();
    assert_ne!(pid, id().to_string());
    assert!(attribute(&resource, "host.name").is_some());
    assert!(!collector.see(|received| received.bytes()).contains(MARK));
}

#[tokio::test]
async fn what_is_refused_or_fails_says_so() {
    let collector = Collector::http();
    let mut tidegate = Tidegate::with_rules(RULES)
        .env("OTEL_TRACES_EXPORTER", "otlp")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .env("OTEL_METRICS_EXPORTER", "none")
        .env("OTEL_LOGS_EXPORTER", "none")
        .start();
    let client = Client::connect(tidegate.grpc()).await;
    let one = || request("shop", [descriptor(&[("user", MARK)])]);
    for _ in 0..2 {
        ask(&client, one(), &[]).await.unwrap();
    }
    assert_eq!(ask(&client, one(), &[("x-request-id", "over")]).await.unwrap(), Code::OverLimit);
    ask(&client, request("", []), &[("x-request-id", "bad")]).await.unwrap_err();
    let body = format!(
        r#"{{"domain":"shop","descriptors":[{{"entries":[{{"key":"user","value":"{MARK}"}}]}}]}}"#
    );
    assert_eq!(post(tidegate.http(), "/json", body.as_bytes()).unwrap().status, 429);
    tidegate.terminate();
    assert!(tidegate.wait().success());
    let spans = collector.see(|received| received.spans());
    let of = |id: &str| {
        let is_it = |span: &&Span| {
            attribute(&span.attributes, "tidegate.request_id").as_deref() == Some(id)
        };
        spans.iter().find(is_it).unwrap_or_else(|| panic!("{id}: {spans:#?}"))
    };
    let said = |span: &Span, name: &str| attribute(&span.attributes, name).unwrap_or_default();
    let over = of("over");
    assert_eq!(said(over, "tidegate.outcome"), "over_limit");
    assert_eq!(said(over, "rpc.response.status_code"), "OK");
    assert!(over.parent_span_id.is_empty());
    let bad = of("bad");
    assert_eq!(said(bad, "tidegate.outcome"), "error");
    assert_eq!(said(bad, "rpc.response.status_code"), "INVALID_ARGUMENT");
    // The caller's fault is no error of a server.
    assert_eq!(bad.status.as_ref().unwrap().code, 0);
    let json = named(&spans, "POST /json");
    assert_eq!(said(json, "http.response.status_code"), "429");
    assert_eq!(said(json, "http.route"), "/json");
    assert_eq!(json.kind(), SpanKind::Server);
    let received = collector.see(|received| (received.bytes(), received.headers[0].clone()));
    assert!(!received.0.contains(MARK));
    assert_eq!(received.1["content-encoding"], "gzip");
    assert_eq!(received.1["content-type"], "application/x-protobuf");
    let resource = collector.see(|received| received.resource());
    assert_eq!(attribute(&resource, "service.name").as_deref(), Some("tidegate"));
    let instance = attribute(&resource, "service.instance.id").unwrap();
    assert_eq!((instance.len(), &instance[14..15]), (36, "4"), "{instance}");
}

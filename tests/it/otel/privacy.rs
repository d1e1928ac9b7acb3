//! Every sink at once: whatever is told, and to whomever, no value of a request and no secret
//! is in it.

use super::RULES;
use super::collector::Collector;
use crate::support::clients::{Client, send};
use crate::support::process::{Tidegate, eventually};
use crate::support::redis::RedisServer;
use crate::support::sentry::Sentry;

/// In every value and every secret.
const MARK: &str = "m4rk3d";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_and_no_secret_reaches_any_sink() {
    const PASSWORD: &str = "m4rk3d-redis-password";
    let (collector, sentry) = (Collector::http(), Sentry::start().await);
    let mut redis = RedisServer::start_guarded(PASSWORD);
    let token = format!("{MARK}-admin-token-0123");
    let mut tidegate = Tidegate::with_rules(RULES)
        .env("REDIS_URL", format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port()))
        .env("TIDEGATE_DECISION_TIMEOUT", "200ms")
        .env("TIDEGATE_ADMIN_TOKEN", &token)
        .env("LOG_LEVEL", "debug")
        .env("TIDEGATE_DECISION_LOG", "all")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-key={MARK}-collector"))
        .env("OTEL_BSP_SCHEDULE_DELAY", 50)
        .env("OTEL_BLRP_SCHEDULE_DELAY", 50)
        .env("OTEL_METRIC_EXPORT_INTERVAL", 100)
        .env("SENTRY_DSN", sentry.dsn().replace("MARKEDKEY", "m4rk3dkey"))
        .env("SENTRY_TRACES_SAMPLE_RATE", 1)
        .start();
    let client = Client::connect(tidegate.grpc()).await;
    let bearer = format!("Bearer {token}");
    for _ in 0..4 {
        // Within the limit, over it, and without a rule.
        for (key, value) in [("user", "m4rk3d@example.com"), ("other", "10.77.88.99-m4rk3d")] {
            let headers = [("authorization", &*bearer), ("cookie", "m4rk3d")];
            client.hit_with(&[(key, value)], &headers).await.unwrap();
        }
    }
    redis.kill();
    client.hit("user", "m4rk3d-lost").await.unwrap_err();
    sentry.wait_for(|event| event["message"] == "the store does not answer");
    tidegate.write_rules(
        "rules.yaml",
        "domain: shop\ndescriptors:\n- {key: user, value: b, rate_limit: 7}\n",
    );
    tidegate.wait_for_event("rules not loaded");
    eventually("metrics arrive", || (!collector.see(|r| r.metrics()).is_empty()).then_some(()));
    let mut pages = String::new();
    for (address, path, accept) in [
        (tidegate.http(), "/metrics", "*/*"),
        (tidegate.debug(), "/stats", "*/*"),
        (tidegate.debug(), "/top", "application/json"),
        (tidegate.debug(), "/log", "*/*"),
    ] {
        let headers = [("authorization", &*bearer), ("accept", accept)];
        let answer = send(address, &format!("GET {path}"), &headers, b"").unwrap();
        assert_eq!(answer.status, 200, "{path}");
        pages += &answer.text();
    }
    assert!(pages.contains("tidegate_requests_total"), "{pages}");
    tidegate.terminate();
    assert!(tidegate.wait().success());
    assert!(collector.see(|r| r.spans()).len() > 8 && collector.see(|r| r.lines()).len() > 8);
    assert!(sentry.items("transaction").len() > 4);
    for (sink, text) in [
        ("the collector", collector.see(|r| r.bytes())),
        ("Sentry", sentry.text()),
        ("the log", tidegate.log()),
        ("the pages", pages),
    ] {
        let found = text
            .find(MARK)
            .map(|at| text[at.saturating_sub(300)..].chars().take(400).collect::<String>());
        assert_eq!(found, None, "in {sink}");
    }
}

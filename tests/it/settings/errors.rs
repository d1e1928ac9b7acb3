//! What is refused, what is warned about, and that secrets stay hidden.

use super::{errors, read};

#[test]
fn all_errors_come_at_once() {
    let found = errors(&[
        "PORT=99999",
        "LOG_LEVEL=loud",
        "TIDEGATE_RULES_POLL_INTERVAL=1ms",
        "REDIS_TIMEOUT=10",
        "NEAR_LIMIT_RATIO=-1",
        "LIMIT_RESET_HEADER=Rate Limit",
        "REDIS_TLS=yes",
        "TIDEGATE_DRAIN_DELY=3s",
    ]);
    let expected = [
        "PORT: found \"99999\"; allowed: a whole number, 0 to 65535",
        "LOG_LEVEL: found \"loud\"; allowed: trace, debug, info, warn or error",
        "TIDEGATE_RULES_POLL_INTERVAL: found \"1ms\"; \
         allowed: a duration such as 300ms, 1.5h or 2h45m, 10ms to 10s",
        "REDIS_TLS: found \"yes\"; allowed: true or false",
        "REDIS_TIMEOUT: found \"10\"; \
         allowed: a duration such as 300ms, 1.5h or 2h45m, 1ms to 1h",
        "NEAR_LIMIT_RATIO: found \"-1\"; allowed: a number, 0 or more",
        "LIMIT_RESET_HEADER: found \"Rate Limit\"; allowed: an HTTP header name",
        "TIDEGATE_DRAIN_DELY: found a name that is not known; \
         allowed: a known name; the nearest is TIDEGATE_DRAIN_DELAY",
    ];
    assert_eq!(found, expected);
    let shown = read(&["PORT=x", "DEBUG_PORT=y"]).unwrap_err().to_string();
    assert_eq!(shown.lines().count(), 2);
}

#[test]
fn what_is_not_used_is_a_warning_if_it_asks_for_something() {
    let warnings = |word: &str| read(&[word]).unwrap().warnings;
    let delta = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let warning = format!("{delta} is set but has no effect: Metrics are cumulative");
    assert_eq!(warnings(&format!("{delta}=delta")), [warning]);
    assert_eq!(warnings("OTEL_SPAN_EVENT_COUNT_LIMIT=1").len(), 1);
    assert_eq!(warnings("OTEL_METRICS_EXPORTER=prometheus").len(), 1);
    assert_eq!(warnings("OTEL_PROPAGATORS=jaeger").len(), 1);
    for word in [
        "LOCAL_CACHE_SIZE_IN_BYTES=1000000",
        "TRACING_ENABLED=0",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative",
        "REDIS_POOL_SIZE=10",
        "MEMCACHE_HOST_PORT=",
        "NOT_OURS=1",
    ] {
        assert!(warnings(word).is_empty(), "{word}");
    }
}

#[test]
fn values_that_cannot_be_used() {
    for word in [
        "HOST=a b",
        "HOST=http://x",
        "HOST=localhost:80",
        "HOST=[::1",
        "HOST=:::",
        "PROMETHEUS_ADDR=9090",
        "PROMETHEUS_ADDR=::1:9090",
        "PROMETHEUS_ADDR=host:port",
        "PROMETHEUS_PATH=metrics",
        "PROMETHEUS_PATH=/{all}",
        "NEAR_LIMIT_RATIO=nan",
        "NEAR_LIMIT_RATIO=inf",
        "NEAR_LIMIT_RATIO=80%",
        "GRPC_MAX_CONNECTION_AGE=-1s",
        "TIDEGATE_KEY_FORMAT=other",
        "TIDEGATE_MAX_ENTRIES=0",
        "TIDEGATE_STORE_TIMEOUT=0",
        "EXPIRATION_JITTER_MAX_SECONDS=9223372036854775807",
        "REDIS_SOCKET_TYPE=udp",
        "BACKEND_TYPE=Redis2",
        "TIDEGATE_=1",
        "TIDEGATE_key_format=tidegate",
    ] {
        assert_eq!(errors(&[word]).len(), 1, "{word}");
    }
}

#[test]
fn redis_urls_that_cannot_be_used_are_not_shown() {
    for (url, allowed) in [
        ("rediss://me:hunter2@redis:x", "expected `host:port`"),
        ("a:1,hunter2:2", "expected `host:port`"),
        ("redis://me:hunter2@redis/x", "host:port[/db]"),
        ("http://hunter2@redis", "`redis://`"),
        ("hunter2:port", "expected `host:port`"),
        ("redis://:hunter2@", "expected `host:port`"),
    ] {
        let found = errors(&[&format!("REDIS_URL={url}"), "REDIS_AUTH=hunter2"]);
        assert_eq!(found.len(), 1, "{url}: {found:?}");
        assert!(found[0].contains(allowed), "{found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let secrets = [
        "REDIS_URL=redis://me:hunter2@redis",
        "REDIS_PERSECOND_URL=redis://me:hunter2@redis",
        "REDIS_SENTINEL_AUTH=hunter2",
    ];
    for auth in ["REDIS_AUTH=", "REDIS_AUTH=hunter2", "REDIS_AUTH=me:hunter2"] {
        let mut environment = secrets.to_vec();
        environment.push(auth);
        let shown = format!("{:?}", read(&environment).unwrap());
        assert!(shown.contains("[redacted]") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_long_value_is_cut() {
    let found = errors(&[&format!("PORT={}", "é".repeat(5000))]);
    assert!(found[0].len() < 400 && found[0].contains("and more"), "{found:?}");
}

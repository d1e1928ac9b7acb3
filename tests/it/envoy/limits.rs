//! What a client behind Envoy sees of limits.

use serde_json::json;

use crate::support::envoy::{Envoy, by_header, route};
use crate::support::port::Port;
use crate::support::process::{Tidegate, eventually};
use crate::support::redis::RedisServer;

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
- key: user
  value: gold
  rate_limit: {unlimited: true}
- key: named
  rate_limit: {unit: day, requests_per_unit: 3, name: sign-up}
";

#[test]
fn a_user_passes_until_the_limit_and_is_then_refused() {
    let redis = RedisServer::start();
    let tidegate = Tidegate::with_rules(RULES).redis(&redis).start();
    let envoy = Envoy::start(&[tidegate.grpc_port()], route(json!([by_header("x-user", "user")])));
    for (status, remaining) in [(200, "1"), (200, "0"), (429, "0")] {
        let answer = envoy.get("/", &[("x-user", "alice")]);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("x-ratelimit-limit"), Some("2, 2;w=31536000"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(remaining));
        let reset = answer.header("x-ratelimit-reset").and_then(|text| text.parse().ok());
        assert!(reset.is_some_and(|s: u32| (1..=31_536_000).contains(&s)), "{answer:?}");
    }
    let refused = envoy.get("/", &[("x-user", "alice")]);
    assert_eq!(refused.header("x-envoy-ratelimited"), Some("true"));
    assert_eq!(envoy.get("/", &[("x-user", "bob")]).status, 200, "another user");
}

#[test]
fn what_no_limit_matches_passes_without_headers() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let limits = json!([by_header("x-user", "user"), by_header("x-other", "other")]);
    let envoy = Envoy::start(&[tidegate.grpc_port()], route(limits));
    for headers in [&[("x-user", "gold")][..], &[("x-other", "1")], &[]] {
        for _ in 0..4 {
            let answer = envoy.get("/", headers);
            assert_eq!(answer.status, 200, "{headers:?}: {answer:?}");
            assert_eq!(answer.header("x-ratelimit-limit"), None, "{headers:?}");
        }
    }
}

#[test]
fn the_tightest_of_several_limits_makes_the_headers() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let limits = json!([by_header("x-user", "user"), by_header("x-named", "named")]);
    let envoy = Envoy::start(&[tidegate.grpc_port()], route(limits));
    let answer = envoy.get("/", &[("x-user", "alice"), ("x-named", "a")]);
    let limit = "2, 2;w=31536000, 3;w=86400;name=\"sign-up\"";
    assert_eq!(answer.header("x-ratelimit-limit"), Some(limit));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("1"));
}

#[test]
fn a_route_can_weigh_its_requests_and_bring_its_own_limit() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let heavy = |path: &str, extra: serde_json::Value| {
        let mut limit = by_header("x-named", "named");
        limit.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({
            "match": {"path": path},
            "route": {"cluster": "upstream"},
            "typed_per_filter_config": {"envoy.filters.http.ratelimit": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute",
                "rate_limits": [limit],
            }},
        })
    };
    let envoy = Envoy::start(
        &[tidegate.grpc_port()],
        json!([
            heavy("/weighs-two", json!({"hits_addend": {"number": 2}})),
            heavy(
                "/own-limit",
                json!({"limit": {"rate_limit": {"requests_per_unit": 1, "unit": "YEAR"}}}),
            ),
        ]),
    );
    let status = |path: &str| envoy.get(path, &[("x-named", "a")]).status;
    assert_eq!([(); 2].map(|()| status("/weighs-two")), [200, 429], "3 a day, 2 at a time");
    assert_eq!([(); 2].map(|()| status("/own-limit")), [200, 429], "1 a year");
}

#[test]
fn headers_and_metadata_of_the_service_reach_their_readers() {
    let tidegate = Tidegate::with_rules(RULES)
        .env("LIMIT_RESPONSE_HEADERS_ENABLED", true)
        .env("LIMIT_REMAINING_HEADER", "X-Left")
        .env("RESPONSE_DYNAMIC_METADATA", true)
        .start();
    let mut routes = route(json!([by_header("x-user", "user")]));
    let metadata = |name: &str| format!("%DYNAMIC_METADATA(envoy.filters.http.ratelimit:{name})%");
    routes[0]["response_headers_to_add"] = json!([
        {"header": {"key": "x-domain", "value": metadata("domain")}},
        {"header": {"key": "x-descriptors", "value": metadata("descriptors")}},
    ]);
    let envoy = Envoy::start(&[tidegate.grpc_port()], routes);
    for (status, left) in [(200, "1"), (200, "0"), (429, "0")] {
        let answer = envoy.get("/", &[("x-user", "alice")]);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("ratelimit-limit"), Some("2"), "{answer:?}");
        assert_eq!(answer.header("x-left"), Some(left), "{answer:?}");
        assert!(answer.header("ratelimit-reset").is_some(), "{answer:?}");
        assert_eq!(answer.header("x-domain"), Some("shop"), "{answer:?}");
        assert_eq!(
            answer.header("x-descriptors"),
            Some(r#"[{"entries":["user=alice"]}]"#),
            "{answer:?}"
        );
    }
}

#[test]
fn without_redis_the_failure_mode_of_envoy_decides() {
    let mut redis = RedisServer::start_tcp();
    let tidegate = Tidegate::with_rules(RULES).redis(&redis).start();
    let envoy = Envoy::start(&[tidegate.grpc_port()], route(json!([by_header("x-user", "user")])));
    let status = || envoy.get("/", &[("x-user", "alice")]).status;
    assert_eq!(status(), 200);
    redis.kill();
    assert_eq!(status(), 500, "it denies");
    redis.restart();
    eventually("requests pass again", || (status() == 200).then_some(()));
}

#[test]
fn counters_outlive_tidegate() {
    let redis = RedisServer::start();
    let start = |port| Tidegate::with_rules(RULES).redis(&redis).env("GRPC_PORT", port).start();
    let reserved = Port::free();
    let port = reserved.number();
    let mut tidegate = start(port);
    let envoy = Envoy::start(&[port], route(json!([by_header("x-user", "user")])));
    let status = || envoy.get("/", &[("x-user", "alice")]).status;
    assert_eq!(status(), 200);

    tidegate.terminate();
    assert!(tidegate.wait().success());
    envoy.wait_healthy(0);
    let _restarted = start(port);
    envoy.wait_healthy(1);

    assert_eq!([(); 2].map(|()| status()), [200, 429]);
}

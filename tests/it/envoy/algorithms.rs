//! What a client behind Envoy sees of the algorithms that envoyproxy/ratelimit lacks.

use serde_json::json;

use crate::support::envoy::{Envoy, by_header, route};
use crate::support::process::Tidegate;
use crate::support::redis::RedisServer;

const RULES: &str = "
domain: shop
all_or_nothing: true
descriptors:
- key: sliding
  rate_limit: {unit: year, requests_per_unit: 2, algorithm: sliding_window}
- key: bucket
  rate_limit: {unit: year, requests_per_unit: 1, algorithm: token_bucket, burst: 3}
- key: both
  rate_limits:
  - {unit: year, requests_per_unit: 1, algorithm: token_bucket, burst: 5, name: smooth}
  - {unit: year, unit_multiplier: 2, requests_per_unit: 1, name: quota}
";

/// Statuses of so many requests with these headers, and what the answers say is left.
fn ask(envoy: &Envoy, headers: &[(&str, &str)], times: usize) -> Vec<(u16, String)> {
    let answers = (0..times).map(|_| envoy.get("/", headers));
    let left = |name: Option<&str>| name.unwrap_or("no header").to_owned();
    answers.map(|a| (a.status, left(a.header("x-ratelimit-remaining")))).collect()
}

fn expected(answers: &[(u16, &str)]) -> Vec<(u16, String)> {
    answers.iter().map(|(status, left)| (*status, (*left).to_owned())).collect()
}

#[test]
fn windows_slide_buckets_empty_and_refused_requests_spend_nothing() {
    let redis = RedisServer::start();
    let tidegate = Tidegate::with_rules(RULES).redis(&redis).start();
    let limits = ["sliding", "bucket", "both"].map(|key| by_header(&format!("x-{key}"), key));
    let envoy = Envoy::start(&[tidegate.grpc_port()], route(json!(limits)));

    let sliding = ask(&envoy, &[("x-sliding", "a")], 3);
    assert_eq!(sliding, expected(&[(200, "1"), (200, "0"), (429, "0")]));
    let bucket = ask(&envoy, &[("x-bucket", "a")], 4);
    assert_eq!(bucket, expected(&[(200, "2"), (200, "1"), (200, "0"), (429, "0")]));

    // The empty window refuses; the bucket beside it keeps its tokens.
    let together = [("x-sliding", "a"), ("x-bucket", "b")];
    assert_eq!(ask(&envoy, &together, 2), expected(&[(429, "0"), (429, "0")]));
    assert_eq!(ask(&envoy, &[("x-bucket", "b")], 1), expected(&[(200, "2")]));

    // Of two limits on one descriptor the tighter one speaks.
    let first = envoy.get("/", &[("x-both", "a")]);
    let limit = Some("1, 1;w=31536000;name=\"quota\"");
    assert_eq!((first.status, first.header("x-ratelimit-limit")), (200, limit));
    let second = envoy.get("/", &[("x-both", "a")]);
    assert_eq!((second.status, second.header("x-ratelimit-limit")), (429, limit));
}

//! The HTTP and debug listeners, as people, probes and scrapers use them.

use serde_json::{Value, json};

use super::RULES;
use crate::support::clients::{HttpAnswer, get, post, with_method};
use crate::support::process::Tidegate;

fn ask(tidegate: &Tidegate, request: &Value) -> (u16, Value) {
    let answer = post(tidegate.http(), "/json", request.to_string().as_bytes()).unwrap();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

#[test]
fn json_requests_are_decided_as_over_grpc() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let hit =
        json!({"domain": "shop", "descriptors": [{"entries": [{"key": "user", "value": "a"}]}]});
    let (status, mut answer) = ask(&tidegate, &hit);
    let reset = answer["statuses"][0]["durationUntilReset"].take();
    assert!(reset.as_str().is_some_and(|text| text.ends_with('s')), "{reset}");
    let limit = json!({"requestsPerUnit": 2, "unit": "YEAR"});
    let expected = json!({"overallCode": "OK", "statuses": [{
        "code": "OK", "currentLimit": limit, "limitRemaining": 1, "durationUntilReset": null,
    }]});
    assert_eq!((status, answer), (200, expected));

    // Names as in the .proto files, numbers of 64 bits as text.
    let both = json!({
        "domain": "shop",
        "hits_addend": 1,
        "descriptors": [{"entries": [{"key": "user", "value": "a"}], "hits_addend": "2"}],
    });
    let (status, answer) = ask(&tidegate, &both);
    assert_eq!((status, &answer["overallCode"]), (429, &json!("OVER_LIMIT")), "{answer}");
    assert!(answer["statuses"][0].get("limitRemaining").is_none(), "defaults are left out");
}

#[test]
fn probes_may_use_any_method_and_unknown_paths_are_not_found() {
    let tidegate = Tidegate::with_rules(RULES).start();
    for method in ["GET", "POST", "PUT", "OPTIONS"] {
        let HttpAnswer { status, body, .. } =
            with_method(tidegate.http(), method, "/healthcheck").unwrap();
        assert_eq!((status, body.as_slice()), (200, b"OK".as_slice()), "{method}");
    }
    for address in [tidegate.http(), tidegate.debug()] {
        assert_eq!(get(address, "/nothing", &[]).unwrap().status, 404, "{address}");
    }
}

#[test]
fn the_metrics_page_counts_hits_under_the_reference_names() {
    let tidegate = Tidegate::with_rules(RULES).start();
    for _ in 0..3 {
        let hit = json!({"domain": "shop", "descriptors": [{"entries": [{"key": "user", "value": "a"}]}]});
        ask(&tidegate, &hit);
    }
    let labels = r#"{domain="shop",key1="user"}"#;
    for (name, expected) in [("total_hits", 3.0), ("within_limit", 2.0), ("over_limit", 1.0)] {
        let series = format!("ratelimit_service_rate_limit_{name}{labels}");
        assert_eq!(
            tidegate.metric(&series),
            expected,
            "{series}:\n{}",
            tidegate.get("/metrics").text()
        );
    }
    assert_eq!(tidegate.metric("ratelimit_service_config_load_success"), 1.0);
    assert_eq!(tidegate.metric("tidegate_ready"), 1.0);
}

#[test]
fn the_debug_listener_lists_what_it_offers() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let index = get(tidegate.debug(), "/", &[]).unwrap().text();
    assert!(index.lines().any(|line| line.starts_with("/rlconfig: ")), "{index}");
}

#[test]
fn the_debug_listener_shows_every_limit_in_force() {
    let rules = "domain: shop
descriptors:
- key: plain
  rate_limit: {unit: hour, requests_per_unit: 5}
- key: free
  rate_limit: {unlimited: true}
- key: two
  shadow_mode: true
  rate_limits:
  - {unit: second, requests_per_unit: 10, algorithm: token_bucket, burst: 50}
  - {unit: minute, unit_multiplier: 15, requests_per_unit: 7, count_refused: false}
";
    let tidegate = Tidegate::with_rules(rules).start();
    let shown = get(tidegate.debug(), "/rlconfig", &[]).unwrap().text();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(
        lines,
        [
            "shop.free: unit=UNKNOWN requests_per_unit=0, shadow_mode: false, quota_mode: false",
            "shop.plain: unit=HOUR requests_per_unit=5, shadow_mode: false, quota_mode: false",
            "shop.two: unit=MINUTE requests_per_unit=7, shadow_mode: true, quota_mode: false, \
             unit_multiplier: 15, count_refused: false",
            "shop.two: unit=SECOND requests_per_unit=10, shadow_mode: true, quota_mode: false, \
             algorithm: token_bucket, burst: 50",
        ]
    );
}

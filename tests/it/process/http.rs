//! The HTTP and debug listeners, as people, probes and scrapers use them.

use std::fs;

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
    let paths: Vec<_> = index.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(paths, ["/", "/debug/pprof/", "/log", "/rlconfig", "/stats", "/top"], "sorted");
    for path in ["/", "/log", "/rlconfig", "/stats", "/top"] {
        assert_eq!(get(tidegate.debug(), path, &[]).unwrap().status, 200, "{path}");
    }
    for path in ["/debug/pprof", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/a/b"] {
        let answer = get(tidegate.debug(), path, &[]).unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains("perf") && answer.text().contains("/metrics"), "{path}");
    }
}

#[test]
fn the_stats_are_lines_of_names_and_values() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let hit =
        json!({"domain": "shop", "descriptors": [{"entries": [{"key": "user", "value": "a"}]}]});
    ask(&tidegate, &hit);
    let stats = get(tidegate.debug(), "/stats", &[]).unwrap().text();
    let value = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name} is missing:\n{stats}"))
    };
    assert_eq!(value("version"), env!("CARGO_PKG_VERSION"));
    assert!(value("uptime_seconds").parse::<u64>().is_ok());
    assert!(value("memory_resident_bytes").parse::<u64>().unwrap() > 1_000_000);
    assert_eq!(value(r#"tidegate_connections{listener="debug"}"#), "1", "this one");
    assert_eq!(value(r#"ratelimit_service_rate_limit_total_hits{domain="shop",key1="user"}"#), "1");
    let is_pair = |line: &str| line.split_once(": ").is_some_and(|(_, v)| !v.contains(' '));
    assert!(stats.lines().all(is_pair), "{stats}");
    assert!(!stats.contains("_bucket"), "{stats}");
}

#[test]
fn the_metrics_listener_has_one_page_and_says_where() {
    let tidegate = Tidegate::with_rules(RULES)
        .env("USE_PROMETHEUS", true)
        .env("PROMETHEUS_ADDR", "127.0.0.1:0")
        .env("PROMETHEUS_PATH", "/stats/prometheus")
        .start();
    let listening = tidegate.wait_for_event("listening");
    let address = listening["metrics"].as_str().expect("an address");
    let page = get(address, "/stats/prometheus", &[]).unwrap();
    assert_eq!(page.status, 200);
    assert!(page.text().contains("ratelimit_service_config_load_success 1"), "{}", page.text());
    for path in ["/", "/metrics", "/debug/pprof/", "/debug/vars", "/json"] {
        let answer = get(address, path, &[]).unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains("/stats/prometheus"), "{path}");
    }
    assert_eq!(with_method(address, "POST", "/stats/prometheus").unwrap().status, 405);
}

#[test]
fn only_what_asks_may_be_asked_by_any_method() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let status = |address: &str, method, path| with_method(address, method, path).unwrap().status;
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(status(tidegate.http(), method, "/json"), 400, "no body: {method}");
    }
    for method in ["POST", "PUT", "DELETE", "TRACE", "CONNECT"] {
        for path in ["/metrics", "/health"] {
            assert_eq!(status(tidegate.http(), method, path), 405, "{method} {path}");
        }
        for path in ["/", "/rlconfig", "/stats"] {
            assert_eq!(status(tidegate.debug(), method, path), 405, "{method} {path}");
        }
    }
    let overridden = [("x-http-method-override", "GET"), ("x-original-url", "/metrics")];
    assert_eq!(get(tidegate.http(), "/nothing", &overridden).unwrap().status, 404);
    let refused = post(tidegate.http(), "/json", b"garbage").unwrap();
    assert_eq!(refused.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn a_head_that_does_not_end_is_refused() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let long = "x".repeat(1 << 20);
    let answers = [
        get(tidegate.http(), "/healthcheck", &[("x-long", &long)]),
        get(tidegate.debug(), &format!("/{long}"), &[]),
        get(tidegate.http(), "/healthcheck", &[("x-many", "1"); 200]),
    ];
    for answer in answers {
        // It may be closed before all of it was sent.
        let is_refused = answer.as_ref().map_or(true, |a| [414, 431].contains(&a.status));
        assert!(is_refused, "{answer:?}");
    }
    assert_eq!(tidegate.get("/healthcheck").status, 200);
}

#[test]
fn a_probe_may_want_a_domain() {
    let setup =
        |rules| Tidegate::with_rules(rules).env("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED", true);
    let tidegate = setup(RULES).start();
    fs::remove_file(tidegate.rules_directory().join("rules.yaml")).unwrap();
    // Rules that are gone leave the old ones, so that probes go on.
    tidegate.wait_for_log(|line| line.contains("no rule files"));
    assert_eq!(tidegate.get("/healthcheck").status, 200);
    let bad = setup("domain: [").start_unready();
    let answer = bad.get("/healthcheck");
    assert_eq!((answer.status, answer.text().as_str()), (500, ""));
    bad.write_rules("rules.yaml", RULES);
    bad.wait_ready();
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

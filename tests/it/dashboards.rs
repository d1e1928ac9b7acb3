//! Alerts, sums and the dashboard ask for series that exist, and every alert says what to do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};

use crate::support::clients::{get, post};
use crate::support::process::{Tidegate, eventually};
use crate::support::redis::RedisServer;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(deploy(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rules of a file.
fn rules(path: &str) -> Vec<Value> {
    let groups = yaml(path)["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn dashboard() -> Value {
    let text = fs::read_to_string(deploy("grafana/dashboards/tidegate.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every text that stands under one of these keys.
fn texts(value: &Value, keys: &[&str], found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if keys.contains(&key.as_str()) => found.push(text.clone()),
                    value => texts(value, keys, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, keys, found)),
        _ => {}
    }
}

/// The queries of alerts, sums and the dashboard.
fn queries() -> Vec<String> {
    let mut queries = Vec::new();
    for path in ["prometheus/alerts.yml", "prometheus/recording.yml"] {
        rules(path).iter().for_each(|rule| texts(rule, &["expr"], &mut queries));
    }
    texts(&dashboard(), &["expr", "definition"], &mut queries);
    assert!(queries.len() > 50, "{} queries", queries.len());
    queries
}

/// The series of ours that a query names, less the sums.
fn series(query: &str) -> BTreeSet<String> {
    let name = Regex::new(r"(?:^|[^:\w])((?:tidegate|ratelimit|process)_\w+)").unwrap();
    let without_labels = Regex::new(r#"\{[^}]*\}|by \([^)]*\)"#).unwrap().replace_all(query, "");
    name.captures_iter(&without_labels).map(|found| found[1].to_owned()).collect()
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .current_dir(deploy("prometheus"))
        .args(arguments)
        .output()
        .expect("promtool is absent; tests/run.sh installs it (Debian: prometheus)");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

#[test]
fn promtool_takes_the_rules_and_their_tests_pass() {
    promtool(&["check", "rules", "recording.yml", "alerts.yml"]);
    promtool(&["test", "rules", "tests.yml"]);
}

#[test]
fn every_alert_is_tested_and_has_a_runbook() {
    let runbooks = fs::read_to_string(deploy("../docs/runbooks.md")).unwrap();
    let tests = fs::read_to_string(deploy("prometheus/tests.yml")).unwrap();
    for rule in rules("prometheus/alerts.yml") {
        let name = rule["alert"].as_str().unwrap();
        for verb in ["fires", "is quiet"] {
            assert!(tests.contains(&format!("- name: {name} {verb}\n")), "{name} {verb}");
        }
        assert!(runbooks.contains(&format!("\n## {name}\n")), "{name} has no runbook");
        let link = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook"], link, "{name}");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].is_string(), "{name} has no {text}");
        }
    }
}

#[test]
fn sums_that_are_asked_for_are_made() {
    let made: BTreeSet<String> = rules("prometheus/recording.yml")
        .iter()
        .map(|rule| rule["record"].as_str().unwrap().to_owned())
        .collect();
    let name = Regex::new(r"\b\w+(?::\w+){2}\b").unwrap();
    let asked = queries();
    let asked = asked.iter().flat_map(|query| name.find_iter(query));
    for sum in asked.map(|found| found.as_str()) {
        assert!(made.contains(sum), "{sum} is made nowhere");
    }
}

/// Series that need what this test's server has not: TLS, a management server, limits that
/// count here in an outage.
const ELSEWHERE: [&str; 2] =
    ["tidegate_tls_certificate_expiry_timestamp_seconds", "tidegate_xds_connected"];

#[test]
fn every_query_names_series_that_a_loaded_server_has() {
    const RULES: &str = "
domain: shop
descriptors:
- {key: user, rate_limit: {unit: hour, requests_per_unit: 2}}
- {key: leased, rate_limit: {unit: hour, requests_per_unit: 1000000, accuracy: leased}}
";
    let redis = RedisServer::start_tcp();
    let tidegate = Tidegate::with_rules(RULES).redis(&redis).start();
    let ask = |key: &str| {
        let entry = json!({"entries": [{"key": key, "value": "a"}]});
        let body = json!({"domain": "shop", "descriptors": [entry]}).to_string();
        post(tidegate.http(), "/json", body.as_bytes()).unwrap()
    };
    for _ in 0..5 {
        ask("user");
        ask("leased");
    }
    let page = eventually("a page after all these requests", || {
        let page = get(tidegate.http(), "/metrics", &[]).ok()?.text();
        page.contains(r#"outcome="over_limit""#).then_some(page)
    });
    let have: BTreeSet<&str> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let declared: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for query in queries() {
        let missing: Vec<String> = series(&query)
            .into_iter()
            .filter(|name| !have.contains(name.as_str()) && !declared.contains(name.as_str()))
            .filter(|name| !ELSEWHERE.contains(&name.as_str()))
            .collect();
        assert!(missing.is_empty(), "no series {missing:?}, which are asked for by {query}");
    }
}

#[test]
fn panels_have_titles_queries_and_places_of_their_own() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut places = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        let place = &panel["gridPos"];
        let corner = (place["y"].as_u64().unwrap(), place["x"].as_u64().unwrap());
        assert!(places.insert(corner), "{title} stands where another panel does");
        assert!(corner.1 + place["w"].as_u64().unwrap() <= 24, "{title} is too wide");
        let queries = panel["targets"].as_array().map_or(0, Vec::len);
        assert!(queries > 0 || panel["type"] == "row", "{title} asks for nothing");
    }
}

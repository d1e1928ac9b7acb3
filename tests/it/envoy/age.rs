//! Connections that are told to go at their age.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::envoy::{Envoy, by_header, route};
use crate::support::process::{Tidegate, eventually};

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 100000000}
";

#[test]
fn calls_go_on_over_new_connections_and_none_fails() {
    // The grace is an hour: a connection that were not told to go would stay.
    let tidegate = Tidegate::with_rules(RULES).env("GRPC_MAX_CONNECTION_AGE", "300ms").start();
    let limits = route(json!([by_header("x-user", "user")]));
    let envoy = Envoy::start(&[tidegate.grpc_port()], limits);
    let before = envoy.connections();
    let load = [("x-user", "alice"), ("x-user", "bob")];
    let statuses = envoy.under_load(&load, || {
        eventually("ten more connections", || (envoy.connections() >= before + 10).then_some(()));
    });
    for statuses in statuses {
        let passed = statuses.get(&200).copied().unwrap_or_default();
        assert!(passed >= 10, "too little load to show anything: {statuses:?}");
        assert_eq!(statuses, BTreeMap::from([(200, passed)]), "every request passed");
    }
}

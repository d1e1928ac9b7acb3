//! Instances are replaced one by one, and no request fails.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::envoy::{Envoy, by_header, route};
use crate::support::port::Port;
use crate::support::process::Tidegate;
use crate::support::redis::RedisServer;

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 100000000}
- key: trial
  rate_limit: {unit: year, requests_per_unit: 500}
";

#[test]
fn replacing_both_instances_fails_no_request_and_loses_no_count() {
    let redis = RedisServer::start();
    let start = |port| {
        // The machine may be busy with other tests.
        let patient = Tidegate::with_rules(RULES).env("TIDEGATE_STORE_TIMEOUT", "10s");
        patient.redis(&redis).env("GRPC_PORT", port).start()
    };
    let reserved = [Port::free(), Port::free()];
    let ports = reserved.each_ref().map(Port::number);
    let mut instances = ports.map(start);
    let limits = json!([by_header("x-user", "user"), by_header("x-trial", "trial")]);
    let envoy = Envoy::start(&ports, route(limits));

    let load = [("x-user", "alice"), ("x-trial", "bob")];
    let statuses = envoy.under_load(&load, || {
        for (instance, port) in instances.iter_mut().zip(ports) {
            instance.terminate();
            assert!(instance.wait().success());
            *instance = start(port);
            envoy.wait_healthy(2);
        }
    });

    let passed: Vec<usize> = statuses.iter().map(|s| s.get(&200).copied().unwrap_or(0)).collect();
    let refused = statuses[1].get(&429).copied().unwrap_or(0);
    assert_eq!(statuses[0], BTreeMap::from([(200, passed[0])]));
    assert_eq!(statuses[1], BTreeMap::from([(200, 500), (429, refused)]));
}

//! Rules change under traffic, and no request notices but by its limit.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::envoy::{Envoy, by_header, route};
use crate::support::process::{Tidegate, eventually};

fn rules(limit: u32) -> String {
    format!(
        "domain: shop\ndescriptors:\n- key: user\n  rate_limit: {{unit: year, requests_per_unit: {limit}}}\n"
    )
}

fn envoy_for(tidegate: &Tidegate) -> Envoy {
    Envoy::start(&[tidegate.grpc_port()], route(json!([by_header("x-user", "user")])))
}

/// Changes the limit with `change`, several times under load, and at last to 0.
fn check(envoy: &Envoy, mut change: impl FnMut(u32)) {
    let mut change_and_see = |limit: u32| {
        change(limit);
        eventually(format!("the limit is {limit}"), || {
            let answer = envoy.get("/", &[("x-user", "eve")]);
            let shown = answer.header("x-ratelimit-limit")?.split(',').next()?.to_owned();
            (shown == limit.to_string()).then_some(())
        });
    };
    let load = [("x-user", "alice"), ("x-user", "bob")];
    let statuses = envoy.under_load(&load, || (1..=4).for_each(|i| change_and_see(i * 1_000_000)));
    for statuses in statuses {
        let passed = statuses.get(&200).copied().unwrap_or_default();
        assert_eq!(statuses, BTreeMap::from([(200, passed)]), "every request passed");
    }
    change_and_see(0);
    assert_eq!(envoy.get("/", &[("x-user", "alice")]).status, 429);
}

#[test]
fn a_renamed_file_takes_effect_without_a_failed_request() {
    let tidegate = Tidegate::with_rules(&rules(500_000)).start();
    let envoy = envoy_for(&tidegate);
    check(&envoy, |limit| tidegate.write_rules("rules.yaml", &rules(limit)));
}

#[test]
fn a_swapped_config_map_takes_effect_without_a_failed_request() {
    let mut tidegate = Tidegate::with_rules(&rules(500_000)).config_map().start();
    let envoy = envoy_for(&tidegate);
    check(&envoy, |limit| tidegate.swap_config_map(&[("rules.yaml", &rules(limit))]));
}

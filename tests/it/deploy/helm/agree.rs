//! What the objects of the chart say about each other agrees.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{SETS, only, render};

/// The members of an array; none if it is not there.
fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn names(values: &Value) -> BTreeSet<&str> {
    let names: Vec<&str> = list(values).iter().map(|value| text(&value["name"])).collect();
    let different: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(different.len(), names.len(), "a name comes twice: {names:?}");
    different
}

/// Whether every pair of `selector` is in `labels`.
fn selects(selector: &Value, labels: &Value) -> bool {
    let pairs = selector.as_object().expect("a selector");
    !pairs.is_empty() && pairs.iter().all(|(key, value)| labels[key] == *value)
}

/// The seconds of a variable such as `15s`.
fn seconds(container: &Value, name: &str) -> u64 {
    let variable = list(&container["env"]).iter().find(|variable| variable["name"] == name);
    let value = text(&variable.unwrap_or_else(|| panic!("no {name}"))["value"]);
    value.strip_suffix('s').and_then(|number| number.parse().ok()).expect("seconds")
}

#[test]
fn every_name_that_an_object_uses_is_there() {
    for set in SETS {
        let objects = render(set);
        let pod = &only(&objects, "Deployment")["spec"]["template"];
        let container = &pod["spec"]["containers"][0];
        let (ports, volumes) = (names(&container["ports"]), names(&pod["spec"]["volumes"]));
        names(&container["env"]);
        assert_eq!(names(&container["volumeMounts"]), volumes, "{set}");
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let probe = &container[probe];
            let by_name =
                probe["httpGet"]["port"].as_str().is_some_and(|port| ports.contains(port));
            assert!(by_name || probe["grpc"]["port"] == 8081, "{set}: {probe}");
        }
        for service in objects.iter().filter(|object| object["kind"] == "Service") {
            for port in list(&service["spec"]["ports"]) {
                assert!(ports.contains(text(&port["targetPort"])), "{set}: {port}");
            }
        }
        for policy in objects.iter().filter(|object| object["kind"] == "NetworkPolicy") {
            for rule in list(&policy["spec"]["ingress"]) {
                for port in list(&rule["ports"]) {
                    assert!(ports.contains(text(&port["port"])), "{set}: {port}");
                }
                assert!(!list(&rule["from"]).is_empty(), "{set}: a rule for everybody");
            }
        }
        for object in &objects {
            assert_eq!(object["metadata"]["namespace"], "tidegate", "{set}: {object}");
        }
    }
}

#[test]
fn every_selector_finds_the_pods_and_not_those_of_tests() {
    for set in SETS {
        let objects = render(set);
        let labels = &only(&objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
        let test = objects.iter().find(|object| object["kind"] == "Pod");
        let mut seen = 0;
        let mut check = |selector: &Value| {
            assert!(selects(selector, labels), "{set}: {selector}");
            let finds_test = test.is_some_and(|pod| selects(selector, &pod["metadata"]["labels"]));
            assert!(!finds_test, "{set}: {selector}");
            seen += 1;
        };
        for object in &objects {
            let spec = &object["spec"];
            match text(&object["kind"]) {
                "Service" => check(&spec["selector"]),
                "Deployment" | "PodDisruptionBudget" => check(&spec["selector"]["matchLabels"]),
                "NetworkPolicy" => check(&spec["podSelector"]["matchLabels"]),
                "HorizontalPodAutoscaler" => {
                    assert_eq!(spec["scaleTargetRef"]["name"], "tidegate");
                }
                "ServiceMonitor" => {
                    let services = objects.iter().filter(|object| object["kind"] == "Service");
                    let found = services.filter(|service| {
                        selects(&spec["selector"]["matchLabels"], &service["metadata"]["labels"])
                            && names(&service["spec"]["ports"]).contains("metrics")
                    });
                    assert_eq!(found.count(), 1, "{set}");
                }
                _ => {}
            }
        }
        assert!(seen >= 2, "{set}: {seen}");
    }
}

#[test]
fn the_pod_outlives_the_drain() {
    for set in SETS {
        let objects = render(set);
        let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let drain = seconds(container, "TIDEGATE_DRAIN_DELAY");
        let grace = seconds(container, "TIDEGATE_SHUTDOWN_GRACE");
        let limit = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
        assert!(limit >= drain + grace + 5, "{set}: {limit} s for {drain} s and {grace} s");
        // Readiness notices well before requests are refused.
        let probe = &container["readinessProbe"];
        let noticed = probe["periodSeconds"].as_u64().zip(probe["failureThreshold"].as_u64());
        let (period, failures) = noticed.expect("numbers");
        assert!(period * failures * 2 < drain, "{set}");
    }
}

#[test]
fn replicas_that_share_a_store_know_how_many_they_are_at_most() {
    let check = |set: &str, expected: &str, replicas: Option<u64>| {
        let objects = render(set);
        let deployment = only(&objects, "Deployment");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let told = list(&container["env"]).iter().find(|v| v["name"] == "TIDEGATE_REPLICAS");
        assert_eq!(told.expect("the variable")["value"], expected, "{set}");
        assert_eq!(deployment["spec"]["replicas"].as_u64(), replicas, "{set}");
    };
    check("minimal", "2", Some(1)); // an update has one more for a while
    check("default", "3", Some(2));
    check("everything", "22", None); // the autoscaler says how many
}

#[test]
fn whole_numbers_stay_whole() {
    for set in ["minimal", "everything"] {
        let objects = render(set);
        let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
        let value = |name: &str| {
            let variable = list(&pod["containers"][0]["env"]).iter().find(|v| v["name"] == name);
            variable.map(|variable| text(&variable["value"]).to_owned())
        };
        match set {
            "minimal" => {
                assert_eq!(value("TIDEGATE_MEMORY_MAX_COUNTERS").as_deref(), Some("10000000"));
                assert_eq!(value("NEAR_LIMIT_RATIO").as_deref(), Some("0.9"));
                assert_eq!(value("TIDEGATE_WORKERS"), None, "null takes a default away");
            }
            _ => {
                assert_eq!(value("TIDEGATE_MAX_DECISIONS").as_deref(), Some("1000000"));
                assert_eq!(value("TIDEGATE_REFLECTION").as_deref(), Some("true"));
            }
        }
    }
}

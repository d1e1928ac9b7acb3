//! Objects are decoded into Kubernetes' own types, and encoded again: what got lost on the
//! way is no field of theirs, or a misspelt one.
//!
//! Resources of others have no types here; `crds.json` has JSON Schemas of the fields that are
//! used, which allow no other.

use jsonschema::validator_for;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::serde::Serialize;
use k8s_openapi::serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Everything that is wrong with an object, each with its path.
pub(super) fn faults(object: &Value) -> Vec<String> {
    let word = |name: &str| object[name].as_str().unwrap_or_default();
    let kind = format!("{} {}", word("apiVersion"), word("kind"));
    let again = match kind.as_str() {
        "v1 ConfigMap" => through::<ConfigMap>(object),
        "v1 Namespace" => through::<Namespace>(object),
        "v1 Pod" => through::<Pod>(object),
        "v1 Service" => through::<Service>(object),
        "v1 ServiceAccount" => through::<ServiceAccount>(object),
        "apps/v1 Deployment" => through::<Deployment>(object),
        "apps/v1 StatefulSet" => through::<StatefulSet>(object),
        "autoscaling/v2 HorizontalPodAutoscaler" => through::<HorizontalPodAutoscaler>(object),
        "networking.k8s.io/v1 NetworkPolicy" => through::<NetworkPolicy>(object),
        "policy/v1 PodDisruptionBudget" => through::<PodDisruptionBudget>(object),
        kind => return of_schema(kind, object),
    };
    let mut faults = Vec::new();
    match again {
        Ok(again) => lost("", object, &again, &mut faults),
        Err(error) => faults.push(format!("{kind}: {error}")),
    }
    faults
}

/// What is wrong with `object`, which is of a kind that others have defined.
pub(super) fn of_schema(kind: &str, object: &Value) -> Vec<String> {
    let all: Value = serde_json::from_str(include_str!("crds.json")).expect("JSON");
    let Some(kind) = all["kinds"].get(kind) else {
        return vec![format!("{kind:?} is no kind that is known here")];
    };
    let mut schema = kind.clone();
    schema["$defs"] = all["$defs"].clone();
    let validator = validator_for(&schema).expect("a schema");
    let errors = validator.iter_errors(object);
    errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(object.clone())?)
}

/// Collects the paths at which `before` says something that `after` does not.
fn lost(path: &str, before: &Value, after: &Value, faults: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let path = format!("{path}/{key}");
                match after.get(key) {
                    Some(after) => lost(&path, value, after, faults),
                    None => faults.push(format!("{path}: no such field")),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                lost(&format!("{path}/{index}"), before, after, faults);
            }
        }
        (before, after) if before == after => {}
        (before, after) => faults.push(format!("{path}: {before} became {after}")),
    }
}

#[test]
fn what_is_misspelt_or_wrong_is_found_with_its_path() {
    let check = |change: &dyn Fn(&mut Value), expected: &[&str]| {
        let mut object = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "a", "labels": {"b": "c"}},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"b": "c"}},
                "template": {"spec": {"containers": [
                    {"name": "a", "ports": [{"name": "grpc", "containerPort": 8081}]},
                ]}},
            },
        });
        assert_eq!(faults(&object), [""; 0], "before the change");
        change(&mut object);
        let found = faults(&object);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    };
    check(&|o| o["spec"]["replica"] = json!(2), &["/spec/replica: no such field"]);
    check(&|o| o["metadata"]["label"] = json!({}), &["/metadata/label: no such field"]);
    check(
        &|o| o["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = json!({}),
        &["/spec/template/spec/containers/0/readynessProbe: no such field"],
    );
    check(
        &|o| o["spec"]["template"]["spec"]["containers"][0]["ports"][0]["port"] = json!(1),
        &["/spec/template/spec/containers/0/ports/0/port: no such field"],
    );
    check(&|o| o["spec"]["replicas"] = json!("two"), &["invalid type"]);
    check(&|o| o["spec"]["paused"] = Value::Null, &["/spec/paused: no such field"]);
    check(&|o| o["kind"] = json!("Deploymant"), &["is no kind that is known"]);
    check(&|o| o["apiVersion"] = json!("apps/v1beta1"), &["is no kind that is known"]);
}

#[test]
fn the_schemas_of_others_allow_no_other_field() {
    let check = |object: Value, expected: &[&str]| {
        let found = faults(&object);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    };
    let rule = |rule: Value| {
        json!({
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "a"},
            "spec": {"groups": [{"name": "a", "rules": [rule]}]},
        })
    };
    check(rule(json!({"alert": "A", "expr": "up == 0", "for": "5m"})), &[]);
    check(rule(json!({"record": "a:b", "expr": "up"})), &[]);
    check(rule(json!({"alert": "A", "expr": "up", "fro": "5m"})), &["'fro'"]);
    check(rule(json!({"alert": "A", "expr": "up", "for": "5 minutes"})), &["5 minutes"]);
    check(rule(json!({"alert": "A"})), &["expr"]);
    check(
        json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
               "metadata": {"name": "a"}, "spec": {"configPatches": [], "selector": {}}}),
        &["'selector'"],
    );
}

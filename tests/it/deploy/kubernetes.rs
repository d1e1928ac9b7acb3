//! The objects for Kubernetes: those of the chart, the plain manifests, the recipes for Istio
//! and Envoy Gateway.

mod run;
mod strict;

use std::{env, fs};

use serde_json::Value;
use tidegate::rules::{Options, SourceFile, load};
use tidegate::settings::Settings;

use self::strict::{faults, of_schema};
use super::helm::{SETS, files, objects, only, project, render, template};

/// The environment of the first container, with stand-ins for what the cluster knows.
pub(super) fn environment(workload: &Value) -> Vec<(String, String)> {
    let container = &workload["spec"]["template"]["spec"]["containers"][0];
    let variables = container["env"].as_array().expect("an environment");
    let value = |variable: &Value| match (&variable["value"], &variable["valueFrom"]) {
        (Value::String(value), Value::Null) => value.clone(),
        (Value::Null, from) => {
            let key =
                from["secretKeyRef"]["key"].as_str().or(from["fieldRef"]["fieldPath"].as_str());
            key.unwrap_or_else(|| panic!("{variable}")).to_owned()
        }
        _ => panic!("{variable}"),
    };
    let name = |variable: &Value| variable["name"].as_str().expect("a name").to_owned();
    variables.iter().map(|variable| (name(variable), value(variable))).collect()
}

/// The objects in the files of a directory, with the files' names.
fn manifests(directory: &str) -> Vec<(String, Value)> {
    let files = files(directory, "yaml");
    assert!(!files.is_empty(), "{directory}");
    let each = files.iter().flat_map(|file| {
        let name = file.strip_prefix(project()).unwrap().display().to_string();
        let objects = objects(&fs::read_to_string(file).unwrap());
        objects.into_iter().map(move |object| (name.clone(), object))
    });
    each.collect()
}

/// Every object that is rendered or lies in a file, with where it comes from.
fn all() -> Vec<(String, Value)> {
    let rendered =
        SETS.map(|set| render(set).into_iter().map(move |object| (set.to_owned(), object)));
    let mut all: Vec<_> = rendered.into_iter().flatten().collect();
    for directory in ["deploy/kubernetes", "deploy/istio", "deploy/envoy-gateway"] {
        all.extend(
            manifests(directory).into_iter().filter(|(file, _)| !file.ends_with("values.yaml")),
        );
    }
    all
}

#[test]
fn every_object_has_only_fields_that_exist() {
    let mut kinds = Vec::new();
    for (origin, object) in all() {
        let name = &object["metadata"]["name"];
        assert_eq!(faults(&object), [""; 0], "{origin}: {} {name}", object["kind"]);
        kinds.push(object["kind"].as_str().expect("a kind").to_owned());
    }
    kinds.sort();
    kinds.dedup();
    assert!(kinds.len() >= 15, "{kinds:?}");
}

#[test]
fn every_pod_keeps_to_the_restricted_standard() {
    let mut count = 0;
    for (origin, object) in all() {
        let pod = match object["kind"].as_str() {
            Some("Pod") => &object["spec"],
            Some("Deployment" | "StatefulSet") => &object["spec"]["template"]["spec"],
            _ => continue,
        };
        count += 1;
        let all = &pod["securityContext"];
        let container = &pod["containers"][0];
        let own = &container["securityContext"];
        for (is_so, what) in [
            (all["runAsNonRoot"] == true, "runAsNonRoot"),
            (all["runAsUser"].as_u64() > Some(0), "runAsUser"),
            (all["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile"),
            (own["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation"),
            (own["readOnlyRootFilesystem"] == true, "readOnlyRootFilesystem"),
            (own["capabilities"]["drop"] == serde_json::json!(["ALL"]), "capabilities"),
            (pod["automountServiceAccountToken"] == false, "automountServiceAccountToken"),
            (pod["enableServiceLinks"] == false, "enableServiceLinks"),
            (container["resources"]["limits"]["memory"].is_string(), "a limit of memory"),
            (pod["containers"].as_array().map(Vec::len) == Some(1), "one container"),
        ] {
            assert!(is_so, "{origin}: {what}");
        }
    }
    assert!(count >= SETS.len() * 2, "{count}");
}

/// Run with `WRITE_DOCS=1` to render them anew.
#[test]
fn the_plain_manifests_are_what_the_chart_renders() {
    let rendered = template(&["--values", "deploy/kubernetes/values/plain.yaml"]).unwrap();
    let first = "# Rendered from the chart deploy/helm/tidegate with \
                 deploy/kubernetes/values/plain.yaml: change those, not this file.\n";
    let rendered = format!("{first}{rendered}");
    let path = project().join("deploy/kubernetes/tidegate.yaml");
    if env::var_os("WRITE_DOCS").is_some() {
        fs::write(&path, &rendered).unwrap();
    }
    let there = fs::read_to_string(path).unwrap();
    assert!(there == rendered, "render it anew: WRITE_DOCS=1 cargo test --test it deploy");
}

#[test]
fn the_plain_manifests_share_a_secret_and_a_namespace() {
    let manifests: Vec<Value> =
        manifests("deploy/kubernetes").into_iter().map(|(_, o)| o).collect();
    let namespace = only(&manifests, "Namespace")["metadata"]["name"].clone();
    for object in manifests.iter().filter(|object| object["kind"] != "Namespace") {
        assert_eq!(object["metadata"]["namespace"], namespace);
    }
    let volumes = &only(&manifests, "Deployment")["spec"]["template"]["spec"]["volumes"];
    let secret = volumes.as_array().expect("volumes").iter().find(|v| v["name"] == "redis");
    let secret = &secret.expect("the secret of Redis")["secret"];
    let redis = &only(&manifests, "StatefulSet")["spec"]["template"]["spec"]["containers"][0];
    let from = &redis["env"][0]["valueFrom"]["secretKeyRef"];
    assert_eq!(from["name"], secret["secretName"]);
    assert_eq!(from["key"], secret["items"][0]["key"]);
}

#[test]
fn every_rule_file_in_the_objects_is_good() {
    let mut count = 0;
    let recipe = template(&["--values", "deploy/istio/values.yaml"]).unwrap();
    let recipe = objects(&recipe).into_iter().map(|object| ("istio".to_owned(), object));
    for (origin, object) in all().into_iter().chain(recipe) {
        let is_rules = object["metadata"]["name"].as_str().is_some_and(|n| n.ends_with("-rules"));
        let Some(data) = object["data"].as_object().filter(|_| is_rules) else { continue };
        let files = data.iter().map(|(name, text)| SourceFile {
            name: name.clone(),
            bytes: text.as_str().expect("text").as_bytes().to_vec(),
        });
        let loaded = load(&files.collect::<Vec<_>>(), Options::default());
        let loaded = loaded.unwrap_or_else(|e| panic!("{origin}: {e}"));
        assert_eq!(loaded.warnings, [], "{origin}");
        count += usize::from(!data.is_empty());
    }
    assert!(count >= 4, "{count}");
}

#[test]
fn the_values_for_envoy_gateway_are_its_own_and_name_our_settings() {
    let (_, values) = manifests("deploy/envoy-gateway")
        .into_iter()
        .find(|(file, _)| file.ends_with("values.yaml"))
        .expect("values");
    assert_eq!(of_schema("values of Envoy Gateway", &values), [""; 0]);
    let provider = &values["config"]["envoyGateway"]["provider"]["kubernetes"];
    let container = &provider["rateLimitDeployment"]["container"];
    assert_eq!(container["image"], values["global"]["images"]["ratelimit"]["image"]);
    let variables = container["env"].as_array().expect("variables");
    let pairs: Vec<_> = variables
        .iter()
        .map(|v| (v["name"].as_str().expect("a name"), v["value"].as_str().expect("a value")))
        .collect();
    for (name, _) in &pairs {
        let known = Settings::reference();
        assert!(known.iter().any(|variable| variable.name == *name), "{name}");
    }
    let lookup = |name: &str| {
        pairs.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
    };
    let settings = Settings::from_lookup(&lookup, &[]).expect("good settings");
    assert!(
        settings.warnings.iter().all(|w| w.contains("GRPC_CLIENT_TLS_CACERT")),
        "TLS is off here"
    );
}

#[test]
fn the_image_is_that_of_this_version() {
    let image = format!("tidegate:{}", env!("CARGO_PKG_VERSION"));
    let objects = render("default");
    for (object, containers) in [
        (only(&objects, "Deployment"), "/spec/template/spec/containers/0/image"),
        (only(&objects, "Pod"), "/spec/containers/0/image"),
    ] {
        assert_eq!(object.pointer(containers).and_then(Value::as_str), Some(image.as_str()));
    }
    let values = fs::read_to_string(project().join("deploy/envoy-gateway/values.yaml")).unwrap();
    assert_eq!(values.matches(&format!("image: {image}\n")).count(), 2);
}

//! The chart, rendered by the real helm: it lints, refuses what is misspelt, and its objects
//! fit together.

mod agree;
mod settings;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

/// The sets of values in the chart's `ci/`.
pub(super) const SETS: [&str; 4] = ["default", "minimal", "secrets", "everything"];

/// A helm of one's own making knows no cluster and takes it for an old one.
const CLUSTER: [&str; 2] = ["--kube-version", "1.33.0"];

/// Where the project is.
pub(super) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The directory of the chart.
pub(super) fn chart() -> PathBuf {
    project().join("deploy/helm/tidegate")
}

/// What `helm template` prints with those arguments.
pub(super) fn template(arguments: &[&str]) -> Result<String, String> {
    let fixed = ["template", "tidegate", "deploy/helm/tidegate", "--namespace", "tidegate"];
    run(&[&fixed, &CLUSTER[..], arguments].concat())
}

/// The objects that the chart makes of a set of values.
pub(super) fn render(set: &str) -> Vec<Value> {
    let mut arguments = vec!["--values".to_owned(), values(set)];
    // The dashboards are another's; the chart does without.
    if set == "everything" && !files("deploy/helm/tidegate/files/grafana", "json").is_empty() {
        arguments.extend(["--set", "dashboards.enabled=true"].map(str::to_owned));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    objects(&template(&arguments).unwrap_or_else(|e| panic!("{set}: {e}")))
}

/// The documents of a YAML text.
pub(super) fn objects(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"))
}

/// The one object of a kind.
pub(super) fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    object
}

/// The files of a directory of the project that end so, sorted.
pub(super) fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(project().join(directory)) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

fn values(set: &str) -> String {
    format!("deploy/helm/tidegate/ci/{set}-values.yaml")
}

fn run(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(binary()).current_dir(project()).args(arguments).output();
    let output = output.expect("run helm");
    let text = |bytes| String::from_utf8(bytes).expect("text of helm");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Where helm is: what HELM_BIN says, else the PATH, else what `tests/run.sh` installed.
fn binary() -> PathBuf {
    if let Some(named) = env::var_os("HELM_BIN").filter(|name| !name.is_empty()) {
        return named.into();
    }
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("helm");
    let path = env::var_os("PATH").unwrap_or_default();
    let candidates = env::split_paths(&path).map(|directory| directory.join("helm"));
    candidates.chain([installed]).find(|candidate| candidate.is_file()).expect(
        "these tests need helm 3: tests/run.sh installs it, or let HELM_BIN name a helm binary",
    )
}

#[test]
fn the_chart_lints_with_every_set_of_values() {
    let sets: Vec<String> = SETS.map(values).to_vec();
    assert_eq!(files("deploy/helm/tidegate/ci", "yaml").len(), sets.len());
    for set in sets {
        let lint = ["lint", "--strict", "deploy/helm/tidegate", "--values", &set];
        run(&[&lint[..], &CLUSTER].concat()).unwrap_or_else(|e| panic!("{set}: {e}"));
    }
}

#[test]
fn values_that_are_misspelt_or_wrong_are_refused() {
    let check = |value: &str, complaint: &str| {
        let refused = template(&["--set", value]).expect_err(value);
        assert!(refused.contains(complaint), "{value}: {refused}");
    };
    check("replicacount=3", "additional properties 'replicacount' not allowed");
    check("image.digest=latest", "at '/image/digest'");
    check("redis.keys.password=x", "at '/redis/keys'");
    check("redis.type=sentinels", "at '/redis/type'");
    check("redis.authFrom=vault", "at '/redis/authFrom'");
    check("replicaCount=many", "at '/replicaCount'");
    check("probes.liveness.period=3", "at '/probes/liveness'");
    check("networkPolicy.egress.redis.port=1", "at '/networkPolicy/egress/redis'");
    check("otlp.samplingRate=10", "at '/otlp/samplingRate'");
    check("rules.files.a=1", "at '/rules/files/a'");
    check("settings.LOG_LEVL=info", "additional properties 'LOG_LEVL' not allowed");
    // What other values set, and what is secret, has its own place.
    check("settings.REDIS_AUTH=hunter2", "additional properties 'REDIS_AUTH' not allowed");
    check("settings.GRPC_PORT=1", "additional properties 'GRPC_PORT' not allowed");
    check("rollout.maxSurge=0", "maxSurge and maxUnavailable must not both be 0");
    check("serviceMonitor.enabled=true,metrics.enabled=false", "needs metrics.enabled");
}

#[test]
fn other_rules_are_no_other_pods() {
    let deployment = |rules: &str| {
        let file = format!("rules.files.shop\\.yaml={rules}");
        let objects = objects(&template(&["--set-string", &file]).unwrap());
        (only(&objects, "Deployment").clone(), only(&objects, "ConfigMap").clone())
    };
    let (before, after) = (deployment("domain: shop"), deployment("domain: store"));
    assert_eq!(before.0, after.0);
    assert_ne!(before.1, after.1);
}

/// Run with `WRITE_DOCS=1` to copy them anew.
#[test]
fn the_alerts_and_dashboards_are_those_of_deploy() {
    for (from, to, extension) in [
        ("deploy/prometheus", "files/prometheus", "yml"),
        ("deploy/grafana", "files/grafana", "json"),
    ] {
        // Beside rules there may be their tests and Prometheus' own settings.
        let is_ours = |path: &&PathBuf| {
            let text = fs::read_to_string(path).unwrap();
            extension != "yml" || text.lines().any(|line| line.trim_end() == "groups:")
        };
        let all = files(from, extension);
        let originals: Vec<_> = all.iter().filter(is_ours).collect();
        if originals.is_empty() {
            continue;
        }
        let copies = chart().join(to);
        if env::var_os("WRITE_DOCS").is_some() {
            fs::remove_dir_all(&copies).ok();
            fs::create_dir_all(&copies).unwrap();
            for original in &originals {
                fs::copy(original, copies.join(original.file_name().unwrap())).unwrap();
            }
        }
        let there = files(&format!("deploy/helm/tidegate/{to}"), extension);
        assert_eq!(there.len(), originals.len(), "{to}: copy them anew with WRITE_DOCS=1");
        for original in originals {
            let copy = fs::read(copies.join(original.file_name().unwrap())).ok();
            let is_same = copy == fs::read(original).ok();
            assert!(is_same, "{}: copy it anew with WRITE_DOCS=1", original.display());
        }
    }
}

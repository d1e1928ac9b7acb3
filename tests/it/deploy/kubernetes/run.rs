//! The real program, run as its pod would be: with the environment of the Deployment, the
//! files of its volumes, the questions of its probes.

use std::fs;
use std::path::Path;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::tls::{ClientTls, NameCheck};
use tidegate::wire::pb::grpc::health::v1::health_check_response::ServingStatus;

use super::super::helm::{objects, only, template};
use super::{environment, manifests};
use crate::support::certs::Authority;
use crate::support::clients::{Client, get};
use crate::support::envoy::{Envoy, Upstream};
use crate::support::process::{Setup, Tidegate, eventually, program};
use crate::support::redis::RedisServer;

/// Where the Deployment mounts secrets.
const SECRETS: &str = "/etc/tidegate";

/// A program with that environment; of it, ports are free ones, files lie below `secrets`, and
/// the rules where the ConfigMap is laid out for the test.
fn pod(deployment: &Value, rules: &str, secrets: &Path) -> Setup {
    let environment = environment(deployment);
    let value = |name: &str| environment.iter().find(|(other, _)| other == name).map(|(_, v)| v);
    let mounts = &deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"];
    let mounts = mounts.as_array().expect("mounts").iter();
    let rules_at = mounts.clone().find(|mount| mount["name"] == "rules").expect("rules");
    let root = value("RUNTIME_ROOT").zip(value("RUNTIME_SUBDIRECTORY"));
    let (root, subdirectory) = root.expect("where rules are");
    assert_eq!(rules_at["mountPath"], format!("{root}/{subdirectory}/config"));

    let mut setup = Tidegate::with_rules(rules).config_map();
    for (name, value) in &environment {
        setup = match name.as_str() {
            "RUNTIME_ROOT" => setup,
            "PORT" | "GRPC_PORT" => setup.env(name, 0),
            "PROMETHEUS_ADDR" => setup.env(name, "127.0.0.1:0"),
            _ => match value.strip_prefix(SECRETS) {
                Some(below) => {
                    let is_mounted = mounts.clone().any(|mount| {
                        value.starts_with(&format!("{}/", mount["mountPath"].as_str().unwrap()))
                    });
                    assert!(is_mounted, "{name}: nothing is mounted at {value}");
                    setup.env(name, secrets.join(&below[1..]).display())
                }
                None => setup.env(name, value),
            },
        };
    }
    setup
}

fn write(directory: &TempDir, name: &str, text: &str) {
    let path = directory.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Asks what a probe asks, as the kubelet does.
async fn probe(tidegate: &Tidegate, deployment: &Value, name: &str) -> bool {
    let probe = &deployment["spec"]["template"]["spec"]["containers"][0][name];
    if let Some(path) = probe["httpGet"]["path"].as_str() {
        return get(tidegate.http(), path, &[]).is_ok_and(|answer| answer.status == 200);
    }
    let service = probe["grpc"]["service"].as_str().expect("a service");
    let client = Client::connect(tidegate.grpc()).await;
    client.health(service).await.is_ok_and(|status| status == ServingStatus::Serving)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_manifests_decide_by_the_rules_of_their_config_map() {
    let manifests: Vec<Value> =
        manifests("deploy/kubernetes").into_iter().map(|(_, o)| o).collect();
    let deployment = only(&manifests, "Deployment");
    let rules = only(&manifests, "ConfigMap")["data"]["rules.yaml"].as_str().expect("rules");

    let redis = RedisServer::start_tcp();
    let _: String = redis.command(&["CONFIG", "SET", "requirepass", "hunter2"]);
    let secrets = tempfile::tempdir().unwrap();
    write(&secrets, "redis/password", "hunter2");
    let mut tidegate = pod(deployment, rules, secrets.path()).redis(&redis).start();
    for name in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert!(probe(&tidegate, deployment, name).await, "{name}");
    }

    let ask = |server: &str| {
        let server = format!("--server={server}");
        let hit = ["hit", "--domain=shop", &server, "user=alice,path=/checkout"];
        let output = program().args(hit).output().expect("run tidegate hit");
        String::from_utf8(output.stdout).expect("text")
    };
    let answers = [(); 3].map(|()| ask(tidegate.grpc()));
    assert!(answers[0].starts_with("OK\n") && answers[1].starts_with("OK\n"), "{answers:?}");
    assert!(answers[2].starts_with("OVER LIMIT\n"), "{answers:?}");

    // The kubelet swaps the volume; the process stays.
    let changed = rules.replace("requests_per_unit: 2, name", "requests_per_unit: 3, name");
    assert_ne!(changed, rules);
    tidegate.swap_config_map(&[("rules.yaml", &changed)]);
    eventually("the new limit is in force", || {
        ask(tidegate.grpc()).contains(" of 3 per minute").then_some(())
    });
    assert!(tidegate.is_running());
    // The metrics port is open, and what the Service calls grpc is gRPC.
    assert!(tidegate.log().contains("listening"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_with_tls_and_a_token_is_ready_and_its_test_passes() {
    let set = "tls.existingSecret=tls,tls.clientCa=true,adminToken.existingSecret=admin";
    let objects = objects(&template(&["--set", set]).unwrap());
    let deployment = only(&objects, "Deployment");
    let authority = Authority::new();
    let secrets = tempfile::tempdir().unwrap();
    write(&secrets, "admin/token", "a-token-of-some-length");
    write(&secrets, "tls/ca.crt", &fs::read_to_string(authority.ca()).unwrap());
    let identity = authority.issue_into(&secrets.path().join("tls"), "tls", &["127.0.0.1"]);

    let tidegate = pod(deployment, "domain: shop", secrets.path()).start();
    for name in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert!(probe(&tidegate, deployment, name).await, "{name}");
    }
    assert_eq!(tidegate.get("/metrics").status, 401);
    let tls = ClientTls {
        ca: Some(authority.ca()),
        identity: Some(identity),
        server_name: None,
        name_check: NameCheck::Verify,
    };
    let client = Client::connect_tls(tidegate.grpc(), &tls).await.expect("a connection");
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);

    // The command of the test pod, to this server.
    let command = &only(&objects, "Pod")["spec"]["containers"][0]["command"];
    let words = command.as_array().expect("a command").iter().map(|word| word.as_str().unwrap());
    let words = words.skip(1).map(|word| match word {
        server if server.starts_with("--server=") => format!("--server={}", tidegate.grpc()),
        word => word.replace(SECRETS, &secrets.path().display().to_string()),
    });
    let output = program().args(words).output().expect("run the test's command");
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_cannot_decide_is_not_ready_and_not_restarted() {
    for set in ["tests.enabled=false", "tls.existingSecret=tls"] {
        let objects = objects(&template(&["--set", set]).unwrap());
        let deployment = only(&objects, "Deployment");
        let authority = Authority::new();
        let secrets = tempfile::tempdir().unwrap();
        fs::create_dir(secrets.path().join("tls")).unwrap();
        authority.issue_into(&secrets.path().join("tls"), "tls", &["127.0.0.1"]);
        let tidegate = pod(deployment, "domain: [", secrets.path()).start_unready();
        assert!(!probe(&tidegate, deployment, "readinessProbe").await, "{set}");
        assert!(probe(&tidegate, deployment, "startupProbe").await, "{set}");
        assert!(probe(&tidegate, deployment, "livenessProbe").await, "{set}");
    }
}

#[test]
fn an_envoy_with_the_filter_of_the_istio_recipe_is_limited() {
    let objects = objects(&template(&["--values", "deploy/istio/values.yaml"]).unwrap());
    let rules = only(&objects, "ConfigMap")["data"]["shop.yaml"].as_str().expect("rules");
    let recipes = manifests("deploy/istio");
    for file in ["deploy/istio/gateway.yaml", "deploy/istio/sidecar.yaml"] {
        let (_, recipe) = recipes.iter().find(|(name, _)| name == file).expect(file);
        let patches = recipe["spec"]["configPatches"].as_array().expect("patches");
        let value = |target: &str| {
            let patch = patches.iter().find(|patch| patch["applyTo"] == target).expect(target);
            patch["patch"]["value"].clone()
        };
        let upstream = Upstream::start();
        let tidegate = Tidegate::with_rules(rules).start();
        let ports = (tidegate.grpc_port(), upstream.port);
        let bootstrap = bootstrap(ports, value("HTTP_FILTER"), value("VIRTUAL_HOST"));
        let envoy = Envoy::with_bootstrap(&bootstrap.to_string());
        // One a minute may pass, and one more if a minute ends between them.
        let statuses: Vec<u16> = (0..4).map(|_| envoy.get("/productpage", &[]).status).collect();
        assert_eq!(statuses[0], 200, "{file}: {statuses:?}");
        assert!(statuses.iter().filter(|&&status| status == 429).count() >= 2, "{statuses:?}");
        assert_eq!(envoy.get("/elsewhere", &[]).status, 200, "{file}");
    }
}

/// What Istio makes of the recipe: the filter before the router, the virtual host with the
/// rate limits, the service's cluster under Istio's name for it.
fn bootstrap((tidegate, upstream): (u16, u16), filter: Value, host: Value) -> Value {
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let cluster = |name: &str, port: u16| {
        json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(port)}}]},
            ]},
        })
    };
    let mut service = cluster("outbound|8081||tidegate.tidegate.svc.cluster.local", tidegate);
    service["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    });
    let mut filter = filter;
    // The machine may be busy.
    filter["typed_config"]["timeout"] = json!("10s");
    let mut virtual_host = host;
    virtual_host["name"] = json!("all");
    virtual_host["domains"] = json!(["*"]);
    virtual_host["routes"] = json!([{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]);
    json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [{"name": "edge", "address": address(0), "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "edge",
                    "route_config": {"virtual_hosts": [virtual_host]},
                    "http_filters": [filter, {
                        "name": "envoy.filters.http.router",
                        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                    }],
                },
            }]}]}],
            "clusters": [service, cluster("upstream", upstream)],
        },
    })
}

//! The program as Envoy Gateway starts it: rules over xDS, with certificates on both sides.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tempfile::TempDir;
use tidegate::tls::ClientTls;
use tidegate::wire::pb::grpc::health::v1::health_check_response::ServingStatus;
use tidegate::wire::pb::ratelimit::config::ratelimit::v3::{
    RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitUnit,
};

use crate::support::certs::Authority;
use crate::support::clients::{Client, descriptor, request};
use crate::support::process::{Setup, Tidegate, eventually};
use crate::support::redis::RedisServer;
use crate::support::xds::Management;

/// A route's domain, as Envoy Gateway names them.
const DOMAIN: &str = "default/eg/http";
const ROUTE: &str = "httproute/default/backend/rule/0/match/0/www_example_com";

/// What Envoy Gateway sets, in its words; addresses and paths are the test's.
fn environment(server: &Management, redis: &RedisServer, certs: &TempDir) -> Setup {
    let file = |name: &str| certs.path().join(name).display().to_string();
    let url = format!("localhost:{}", server.address().port());
    let variables = [
        ("RUNTIME_ROOT", "/data".to_owned()),
        ("RUNTIME_SUBDIRECTORY", "ratelimit".to_owned()),
        ("RUNTIME_IGNOREDOTFILES", "true".to_owned()),
        ("RUNTIME_WATCH_ROOT", "false".to_owned()),
        ("LOG_LEVEL", "info".to_owned()),
        ("USE_STATSD", "false".to_owned()),
        ("GRPC_SERVER_USE_TLS", "true".to_owned()),
        ("GRPC_SERVER_TLS_CERT", file("tls.crt")),
        ("GRPC_SERVER_TLS_KEY", file("tls.key")),
        ("GRPC_SERVER_TLS_CA_CERT", file("ca.crt")),
        ("CONFIG_TYPE", "GRPC_XDS_SOTW".to_owned()),
        ("CONFIG_GRPC_XDS_SERVER_URL", url),
        ("CONFIG_GRPC_XDS_NODE_ID", "envoy-ratelimit".to_owned()),
        ("CONFIG_GRPC_XDS_SERVER_USE_TLS", "true".to_owned()),
        ("CONFIG_GRPC_XDS_CLIENT_TLS_CERT", file("tls.crt")),
        ("CONFIG_GRPC_XDS_CLIENT_TLS_KEY", file("tls.key")),
        ("CONFIG_GRPC_XDS_SERVER_TLS_CACERT", file("ca.crt")),
        ("FORCE_START_WITHOUT_INITIAL_CONFIG", "true".to_owned()),
        ("REDIS_SOCKET_TYPE", "tcp".to_owned()),
        ("REDIS_URL", redis.url()),
        ("USE_PROMETHEUS", "true".to_owned()),
        ("PROMETHEUS_ADDR", ":0".to_owned()),
        ("PROMETHEUS_MAPPER_YAML", "/etc/statsd-exporter/conf.yaml".to_owned()),
    ];
    let setup = Tidegate::with_rules("domain: none");
    variables.into_iter().fold(setup, |setup, (name, value)| setup.env(name, value))
}

/// Two requests a year for users of the route, in shadow for `tester`.
fn rules(requests_per_unit: u32) -> RateLimitConfig {
    let unit = RateLimitUnit::Year.into();
    let rate_limit = Some(RateLimitPolicy { unit, requests_per_unit, ..Default::default() });
    let node = |key: &str, value: &str, descriptors| RateLimitDescriptor {
        key: key.to_owned(),
        value: value.to_owned(),
        descriptors,
        ..RateLimitDescriptor::default()
    };
    let user = RateLimitDescriptor { rate_limit, ..node("rule-0-match-0", "", vec![]) };
    let tester =
        RateLimitDescriptor { value: "tester".to_owned(), shadow_mode: true, ..user.clone() };
    RateLimitConfig {
        name: DOMAIN.to_owned(),
        domain: DOMAIN.to_owned(),
        descriptors: vec![node(ROUTE, ROUTE, vec![user, tester])],
    }
}

async fn ask(client: &Client, user: &str) -> Code {
    let entries = [(ROUTE, ROUTE), ("rule-0-match-0", user)];
    client.ask(request(DOMAIN, [descriptor(&entries)])).await.unwrap().overall_code()
}

fn reason(tidegate: &Tidegate) -> String {
    tidegate.health()["components"][0]["reason"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_of_envoy_gateway_is_served() {
    let (authority, certs) = (Authority::new(), tempfile::tempdir().unwrap());
    let identity = authority.issue("server", &["localhost"]);
    let own = authority.issue_into(certs.path(), "tls", &["envoy-ratelimit"]);
    std::fs::copy(authority.ca(), certs.path().join("ca.crt")).unwrap();
    let redis = RedisServer::start_tcp();
    let mut server = Management::start_tls(&authority, &identity).await;

    // Ready without rules: the gateway sends none before the first policy exists.
    let tidegate = environment(&server, &redis, &certs).start();
    let mut stream = server.stream().await;
    let first = stream.request().await;
    assert_eq!(first.node.unwrap().id, "envoy-ratelimit");
    // Envoy shows a certificate of the same authority.
    let tls = ClientTls {
        ca: Some(authority.ca()),
        identity: Some(own),
        server_name: Some("envoy-ratelimit".to_owned()),
        ..ClientTls::default()
    };
    let client = Client::connect_tls(tidegate.grpc(), &tls).await.unwrap();
    assert_eq!(client.health("ratelimit").await.unwrap(), ServingStatus::Serving);
    assert!(client.hit("user", "alice").await.is_err());
    assert!(reason(&tidegate).ends_with("has sent no rules yet"), "{}", reason(&tidegate));

    stream.send("1", "a", &[rules(2)]).await;
    assert_eq!(stream.request().await.version_info, "1");
    let found = [ask(&client, "eve").await, ask(&client, "eve").await, ask(&client, "eve").await];
    assert_eq!(found, [Code::Ok, Code::Ok, Code::OverLimit]);
    for _ in 0..4 {
        assert_eq!(ask(&client, "tester").await, Code::Ok);
    }
    assert!(reason(&tidegate).ends_with("version \"1\""), "{}", reason(&tidegate));

    stream.send("2", "b", &[RateLimitConfig::default()]).await;
    let error = stream.request().await.error_detail.unwrap();
    assert!(error.message.contains("domain is missing"), "{error:?}");
    assert_eq!(ask(&client, "eve").await, Code::OverLimit);
    let metrics = [
        ("tidegate_xds_connected", 1.0),
        ("tidegate_xds_updates_accepted_total", 1.0),
        ("tidegate_xds_updates_rejected_total", 1.0),
        ("ratelimit_service_config_load_success", 1.0),
        ("ratelimit_service_config_load_error", 1.0),
        ("tidegate_ready", 1.0),
    ];
    for (name, expected) in metrics {
        assert_eq!(tidegate.metric(name), expected, "{name}");
    }

    let _port = server.stop().await;
    eventually("the loss of the server shows", || {
        (tidegate.metric("tidegate_xds_connected") == 0.0).then_some(())
    });
    assert_eq!(ask(&client, "eve").await, Code::OverLimit, "the last good rules hold");
    assert_eq!(tidegate.get("/healthcheck").status, 200);

    let warnings: Vec<String> =
        tidegate.log().lines().filter(is_warning).map(str::to_owned).collect();
    let expected = ["GRPC_SERVER_TLS_CA_CERT", "no management server"];
    let is_expected = |line: &&String| !expected.iter().any(|text| line.contains(text));
    assert_eq!(warnings.iter().find(is_expected), None, "{warnings:#?}");
}

fn is_warning(line: &&str) -> bool {
    line.contains("\"WARN\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_asks_the_server_again_and_a_stop_ends_the_stream() {
    let mut server = Management::start().await;
    let mut tidegate = Tidegate::with_rules("domain: none")
        .env("CONFIG_TYPE", "GRPC_XDS_SOTW")
        .env("CONFIG_GRPC_XDS_SERVER_URL", format!("dns:///{}", server.address()))
        .env("TIDEGATE_DRAIN_DELAY", "0s")
        .start_unready();
    let mut stream = server.stream().await;
    stream.request().await;
    assert_eq!(tidegate.get("/healthcheck").status, 500, "rules must come first");
    stream.send("1", "a", &[rules(2)]).await;
    stream.request().await;
    tidegate.wait_ready();
    tidegate.signal("HUP");
    stream.ended().await;
    let mut stream = server.stream().await;
    stream.request().await;
    stream.send("1", "a", &[rules(2)]).await;
    stream.request().await;
    assert_eq!(tidegate.metric("ratelimit_service_config_load_success"), 2.0);
    tidegate.signal("TERM");
    stream.ended().await;
    assert!(tidegate.wait().success());
}

//! Redis is late, gone or silent: callers learn it quickly, and it mends itself.

use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::wire::pb::grpc::health::v1::health_check_response::ServingStatus;

use super::RULES;
use crate::support::certs::Authority;
use crate::support::clients::{Client, post};
use crate::support::process::{Tidegate, eventually};
use crate::support::redis::RedisServer;

/// Ten times the store's deadline, as the machine may be busy.
const QUICKLY: Duration = Duration::from_secs(2);

/// A hit fails, quickly and with one of those codes.
async fn fails(client: &Client, codes: &[tonic::Code]) {
    let start = Instant::now();
    let status = client.hit("user", "alice").await.expect_err("no decision without Redis");
    assert!(start.elapsed() < QUICKLY, "{:?}: {status:?}", start.elapsed());
    assert!(codes.contains(&status.code()), "{status:?}");
}

/// The HTTP status of a hit.
fn json(tidegate: &Tidegate) -> u16 {
    let hit = br#"{"domain":"shop","descriptors":[{"entries":[{"key":"user","value":"eve"}]}]}"#;
    post(tidegate.http(), "/json", hit).expect("an answer").status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_at_the_start_it_waits_and_serves_soon_after_redis_comes() {
    let mut redis = RedisServer::start_tcp();
    redis.kill();
    let tidegate = Tidegate::with_rules(RULES).redis(&redis).start_unready();
    let client = Client::connect(tidegate.grpc()).await;
    assert_eq!(client.health("ratelimit").await.unwrap(), ServingStatus::NotServing);
    assert_eq!(tidegate.get("/healthcheck").status, 500);
    assert_eq!(tidegate.health()["status"], "not_ready");
    fails(&client, &[tonic::Code::Unavailable]).await;
    assert_eq!(json(&tidegate), 503);

    redis.restart();
    let start = Instant::now();
    tidegate.wait_ready();
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(client.health("ratelimit").await.unwrap(), ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_fails_calls_quickly_until_it_is_back() {
    let mut redis = RedisServer::start_tcp();
    let tidegate = Tidegate::with_rules(RULES).redis(&redis).start();
    let client = Client::connect(tidegate.grpc()).await;
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);

    redis.kill();
    for _ in 0..5 {
        fails(&client, &[tonic::Code::Unavailable]).await;
    }
    eventually("the report blames the store", || {
        let health = tidegate.health();
        let store = health["components"].as_array()?.iter().find(|c| c["name"] == "store")?;
        (health["status"] == "degraded" && store["status"] == "down").then_some(())
    });
    assert!(
        tidegate.metric("ratelimit_service_should_rate_limit_error{err_type=\"redis_error\"}")
            >= 5.0
    );
    // What to do without counters is the caller's choice: a restart would not help.
    assert_eq!(client.health("ratelimit").await.unwrap(), ServingStatus::Serving);

    redis.restart();
    eventually("hits are counted again", || (json(&tidegate) == 200).then_some(()));
    eventually("all is well", || (tidegate.health()["status"] == "ready").then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_follows_the_connection_if_asked_to() {
    let mut redis = RedisServer::start_tcp();
    let setup = Tidegate::with_rules(RULES).redis(&redis);
    let tidegate = setup.env("REDIS_HEALTH_CHECK_ACTIVE_CONNECTION", "true").start();
    let client = Client::connect(tidegate.grpc()).await;
    assert_eq!(client.health("ratelimit").await.unwrap(), ServingStatus::Serving);
    for _ in 0..2 {
        redis.kill();
        let lost = || (tidegate.get("/healthcheck").status == 500).then_some(());
        eventually("readiness is lost with the connection", lost);
        assert_eq!(client.health("ratelimit").await.unwrap(), ServingStatus::NotServing);
        assert_eq!(tidegate.health()["status"], "not_ready");
        redis.restart();
        tidegate.wait_ready();
        assert_eq!(client.health("ratelimit").await.unwrap(), ServingStatus::Serving);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_and_a_certificate_may_come_later() {
    let authority = Authority::new();
    let identity = authority.issue("server", &["redis.example"]);
    let redis = RedisServer::start_tls(&identity, &authority.ca(), &[]);
    redis.command::<()>(&["ACL", "SETUSER", "gate", "on", ">hunter2", "~*", "+@all"]);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut setup = Tidegate::with_rules(RULES).redis(&redis);
    for (name, file) in [
        ("REDIS_AUTH_FILE", "login"),
        ("REDIS_TLS_CLIENT_CERT", "client.crt"),
        ("REDIS_TLS_CLIENT_KEY", "client.key"),
        ("REDIS_TLS_CACERT", "ca.crt"),
    ] {
        setup = setup.env(name, path(file).display());
    }
    let setup = setup.env("REDIS_TLS", "true").env("LOG_LEVEL", "trace");
    let tidegate = setup.env("TIDEGATE_REDIS_TLS_SERVER_NAME", "redis.example").start_unready();
    let warned = tidegate.wait_for_event("cannot connect to Redis");
    assert!(warned["reason"].as_str().unwrap().contains("login"), "{warned}");

    std::fs::write(path("login"), "gate:hunter2\n").unwrap();
    std::fs::copy(authority.ca(), path("ca.crt")).unwrap();
    authority.issue_into(dir.path(), "client", &["tidegate"]);
    tidegate.wait_ready();
    assert_eq!(json(&tidegate), 200);
    assert!(!tidegate.log().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_redis_costs_callers_the_deadline_and_no_more() {
    let redis = RedisServer::start();
    let tidegate = Tidegate::with_rules(RULES).redis(&redis).start();
    let client = Client::connect(tidegate.grpc()).await;
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);

    redis.pause();
    for _ in 0..3 {
        fails(&client, &[tonic::Code::DeadlineExceeded, tonic::Code::Unavailable]).await;
    }
    redis.resume();
    eventually("hits are counted again", || (json(&tidegate) == 200).then_some(()));
}

#[test]
fn a_password_shows_nowhere() {
    let redis = RedisServer::start_tcp(); // wants no password, and says so
    let address = redis.url();
    for login in ["", "app:hunter2@"] {
        let mut setup = Tidegate::with_rules(RULES)
            .env("REDIS_URL", format!("redis://{login}{address}/0"))
            .env("LOG_LEVEL", "trace");
        if login.is_empty() {
            setup = setup.env("REDIS_AUTH", "hunter2");
        }
        let tidegate = setup.start_unready();
        assert_eq!(json(&tidegate), 503, "Redis refuses the login");
        for path in ["/health", "/metrics"] {
            assert!(!tidegate.get(path).text().contains("hunter2"), "{path}");
        }
        assert!(!tidegate.log().contains("hunter2"));
    }
}

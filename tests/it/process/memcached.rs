//! Counting in memcached: readiness, limits, metrics, and rules that it cannot count.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::wire::pb::grpc::health::v1::health_check_response::ServingStatus;

use super::RULES;
use crate::support::clients::Client;
use crate::support::memcached::MemcachedServer;
use crate::support::process::{Setup, Tidegate, eventually};

fn setup(rules: &str, servers: &[&MemcachedServer]) -> Setup {
    let servers: Vec<String> = servers.iter().map(|server| server.address()).collect();
    Tidegate::with_rules(rules)
        .env("BACKEND_TYPE", "memcache")
        .env("MEMCACHE_HOST_PORT", servers.join(","))
        // Patient with a busy machine.
        .env("TIDEGATE_STORE_TIMEOUT", "5s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_across_replicas_and_metrics_tell_of_it() {
    let server = MemcachedServer::start_tcp();
    let start = || setup(RULES, &[&server]).env("TIDEGATE_WORKERS", 1).start();
    let replicas = [start(), start()];
    let mut clients = Vec::new();
    for replica in &replicas {
        clients.push(Client::connect(replica.grpc()).await);
    }
    // Also of keys that memcached cannot hold.
    for user in ["alice", "bob with spaces", &"x".repeat(300)] {
        for (at, expected) in
            [Code::Ok, Code::Ok, Code::OverLimit, Code::OverLimit].iter().enumerate()
        {
            let code = clients[at % 2].hit("user", user).await.expect("an answer");
            assert_eq!(code, *expected, "{user}, hit {at}");
        }
    }
    let [one, _] = &replicas;
    // The worker's, and one for HTTP.
    assert_eq!(one.metric("ratelimit_memcache_pool_cx_active"), 2.0);
    assert_eq!(one.metric("ratelimit_memcache_increment{code=\"miss\"}"), 3.0);
    assert_eq!(one.metric("ratelimit_memcache_increment{code=\"success\"}"), 3.0);
    assert_eq!(one.metric("ratelimit_memcache_add{code=\"success\"}"), 3.0);
    assert_eq!(one.metric("tidegate_store_up"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_ready_once_every_server_has_answered() {
    let (one, mut other) = (MemcachedServer::start_tcp(), MemcachedServer::start_tcp());
    other.kill();
    let tidegate = setup(RULES, &[&one, &other]).start_unready();
    let client = Client::connect(tidegate.grpc()).await;
    eventually("the report names the server", || {
        let health = tidegate.health();
        let store = health["components"].as_array()?.iter().find(|c| c["name"] == "store")?;
        store["reason"].as_str()?.contains(&other.address()).then_some(())
    });
    assert_eq!(client.health("ratelimit").await.unwrap(), ServingStatus::NotServing);
    other.restart();
    tidegate.wait_ready();
    assert_eq!(client.health("ratelimit").await.unwrap(), ServingStatus::Serving);
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);
    // What to do without counters is the caller's choice from now on.
    other.kill();
    eventually("the report blames the store", || {
        (tidegate.health()["status"] == "degraded").then_some(())
    });
    assert_eq!(client.health("ratelimit").await.unwrap(), ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_memcached_cannot_count_leave_the_old_ones() {
    let server = MemcachedServer::start();
    let tidegate = setup(RULES, &[&server]).start();
    let client = Client::connect(tidegate.grpc()).await;
    let sliding = RULES.replace("unit: year", "algorithm: sliding_window, unit: year");
    tidegate.write_rules("rules.yaml", &sliding);
    let error = eventually("the load is refused", || {
        tidegate.health()["rules"]["last_error"].as_str().map(str::to_owned)
    });
    assert!(error.starts_with("shop.user: a sliding window; memcached can only"), "{error}");
    tidegate.wait_for_log(|line| line.contains("\"ERROR\"") && line.contains("sliding window"));
    for expected in [Code::Ok, Code::Ok, Code::OverLimit] {
        assert_eq!(client.hit("user", "alice").await.unwrap(), expected);
    }
    tidegate.write_rules("rules.yaml", &RULES.replace("unit: 2", "unit: 4"));
    eventually("all is well", || (tidegate.health()["status"] == "ready").then_some(()));
    for expected in [Code::Ok, Code::OverLimit] {
        // Refused hits have counted: the third is spent.
        assert_eq!(client.hit("user", "alice").await.unwrap(), expected);
    }
}

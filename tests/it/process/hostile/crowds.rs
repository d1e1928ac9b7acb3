//! Too many at once: of connections, of decisions, of keys.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;

use super::{super::RULES, Victim};
use crate::support::clients::{Client, post};
use crate::support::frames::Peer;
use crate::support::process::{PATIENCE, Tidegate, eventually, program};
use crate::support::redis::RedisServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_connections_leave_the_rest_as_it_was() {
    const MOST: usize = 3000;
    let victim = Victim::start_with(&[("TIDEGATE_MAX_CONNECTIONS", &MOST.to_string())]).await;
    let before = victim.tidegate.resident_bytes();
    let address = victim.tidegate.grpc().to_owned();
    let idle: Vec<Peer> = (1..MOST).map(|_| Peer::connect(&address)).collect();
    eventually("every place is taken", || {
        (victim.tidegate.metric(r#"tidegate_connections{listener="grpc"}"#) == MOST as f64)
            .then_some(())
    });
    let mut beyond = TcpStream::connect(&address).expect("a connection");
    beyond.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    assert_eq!(beyond.read(&mut [0]).unwrap_or(0), 0, "it is closed");
    assert!(
        victim.tidegate.metric(r#"tidegate_connections_refused_total{listener="grpc"}"#) >= 1.0
    );
    victim.client.hit("user", "who was there before").await.expect("a decision");
    victim.grew_by_less_than(128 << 20, before);
    drop(idle);
    eventually("places are free again", || {
        (victim.tidegate.metric(r#"tidegate_connections{listener="grpc"}"#) < 10.0).then_some(())
    });
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_beyond_the_maximum_are_refused_at_once() {
    let redis = RedisServer::start();
    let tidegate = Tidegate::with_rules(RULES)
        .redis(&redis)
        .env("TIDEGATE_STORE_TIMEOUT", "60s")
        .env("TIDEGATE_MAX_DECISIONS", 2)
        .start();
    let client = Client::connect(tidegate.grpc()).await;
    redis.pause();
    let waiting = ["alice", "bob"].map(|user| {
        let client = client.clone();
        tokio::spawn(async move { client.hit("user", user).await })
    });
    eventually("two are under way", || {
        (tidegate.metric("tidegate_decisions_under_way") == 2.0).then_some(())
    });
    let start = Instant::now();
    let refused = client.hit("user", "carol").await.expect_err("there is no room");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused:?}");
    assert!(refused.message().contains("TIDEGATE_MAX_DECISIONS"), "{refused:?}");
    let hit = br#"{"domain":"shop","descriptors":[{"entries":[{"key":"user","value":"eve"}]}]}"#;
    assert_eq!(post(tidegate.http(), "/json", hit).unwrap().status, 503);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(tidegate.metric("tidegate_decisions_refused_total"), 2.0);
    // Probes are no decisions.
    assert_eq!(tidegate.get("/healthcheck").status, 200);
    client.health("").await.expect("the state");

    redis.resume();
    for hit in waiting {
        assert_eq!(hit.await.unwrap().unwrap(), Code::Ok);
    }
    assert_eq!(client.hit("user", "carol").await.unwrap(), Code::Ok);
    assert_eq!(tidegate.metric("tidegate_decisions_under_way"), 0.0);
}

#[test]
fn keys_without_end_fill_what_there_is_and_no_more() {
    let rules = "domain: shop\ndescriptors:\n- key: user\n  detailed_metric: true\n  rate_limit: {unit: hour, requests_per_unit: 5}\n";
    let mut tidegate =
        Tidegate::with_rules(rules).env("TIDEGATE_MEMORY_MAX_COUNTERS", 10_000).start();
    let load = |seconds: &str| {
        let mut load = program();
        load.args(["load", "--domain", "shop", "--json", "--server", tidegate.grpc()]);
        load.args(["--keys", "10000000", "--warm-up", "0s", "--duration", seconds]);
        load.args(["--connections", "4", "--in-flight", "64", "--timeout", "20s"]);
        load.args(["--descriptors", "20", "user=%k-%i"]);
        let output = load.output().expect("run tidegate load");
        serde_json::from_slice::<serde_json::Value>(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {output:?}"))
    };
    load("1s");
    let before = tidegate.resident_bytes();
    let report = load("2s");
    let keys = report["calls"].as_u64().expect("calls") * 20;
    assert!(keys > 20_000, "too little to show anything: {report}");
    assert!(tidegate.metric("tidegate_memory_counters") <= 10_000.0);
    let grown = tidegate.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more after {keys} keys");
    assert!(tidegate.is_running());
}

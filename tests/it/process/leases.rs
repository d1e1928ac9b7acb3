//! Leases of real processes on one Redis: never over, and given back at the end.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;

use crate::support::clients::Client;
use crate::support::process::{Setup, Tidegate};
use crate::support::redis::RedisServer;

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2000, count_refused: false, accuracy: leased}
";

fn setup(redis: &RedisServer) -> Setup {
    Tidegate::with_rules(RULES)
        .redis(redis)
        .env("TIDEGATE_DRAIN_DELAY", "0")
        .env("TIDEGATE_REPLICAS", "2")
}

/// How many of so many hits are admitted.
async fn admitted(client: &Client, hits: usize) -> u64 {
    let mut admitted = 0;
    for _ in 0..hits {
        admitted += u64::from(client.hit("user", "alice").await.expect("a decision") == Code::Ok);
    }
    admitted
}

/// What the only counter of Redis holds.
fn counted(redis: &RedisServer) -> u64 {
    let keys = redis.keys();
    assert_eq!(keys.len(), 1, "{keys:?}");
    redis.command(&[b"GET".as_slice(), &keys[0]])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_limit_and_give_back_what_they_hold() {
    let redis = RedisServer::start();
    let (mut one, mut two) = (setup(&redis).start(), setup(&redis).start());
    let clients = [Client::connect(one.grpc()).await, Client::connect(two.grpc()).await];
    let (first, second) = tokio::join!(admitted(&clients[0], 700), admitted(&clients[1], 700));
    assert_eq!(first + second, 1400, "there was room");
    let spent: f64 =
        [&one, &two].map(|it| it.metric("tidegate_lease_hits_spent_total")).iter().sum();
    let held = [&one, &two].map(|it| it.metric("tidegate_lease_blocks_total{outcome=\"granted\"}"));
    assert!(spent > 500.0 && held.iter().all(|blocks| *blocks > 0.0), "{spent} {held:?}");
    // What is under way at the end comes back with the rest.
    for tidegate in [&mut one, &mut two] {
        tidegate.terminate();
        assert!(tidegate.wait().success());
    }
    assert_eq!(counted(&redis), 1400);
    let (one, two) = (setup(&redis).start(), setup(&redis).start());
    let clients = [Client::connect(one.grpc()).await, Client::connect(two.grpc()).await];
    let (first, second) = tokio::join!(admitted(&clients[0], 700), admitted(&clients[1], 700));
    assert!(first + second <= 600, "{first} + {second}");
    assert!(first + second >= 400, "{first} + {second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_takes_its_blocks_along_and_no_more() {
    let redis = RedisServer::start();
    let (one, two) = (setup(&redis).start(), setup(&redis).start());
    let client = Client::connect(one.grpc()).await;
    let first = admitted(&client, 500).await;
    assert_eq!(first, 500);
    one.signal("KILL");
    let client = Client::connect(two.grpc()).await;
    let second = admitted(&client, 1900).await;
    // A block is at most an eighth of the limit, and one more may have been under way.
    assert!(first + second <= 2000 && first + second >= 1500, "{first} + {second}");
}

//! The restore drill: counters written, saved, lost, restored; and counting goes on.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::google::protobuf::UInt64Value;

use super::{backup, counters, directory, snapshots, succeed};
use crate::support::clients::{Client, descriptor, request};
use crate::support::process::{Tidegate, eventually};
use crate::support::redis::RedisServer;

/// One limit of each algorithm, whose windows outlive the test.
const RULES: &str = "
domain: shop
descriptors:
- key: fixed
  rate_limit: {unit: year, requests_per_unit: 5}
- key: sliding
  rate_limit: {unit: year, requests_per_unit: 5, algorithm: sliding_window}
- key: bucket
  rate_limit: {unit: year, requests_per_unit: 5, algorithm: token_bucket}
";

const KEYS: [&str; 3] = ["fixed", "sliding", "bucket"];

/// Asks with so many hits of each limit, for `user`; tells what is left.
async fn ask(client: &Client, user: &str, hits: u64) -> Result<Vec<u32>, tonic::Status> {
    let descriptors = KEYS.map(|key| {
        let mut descriptor = descriptor(&[(key, user)]);
        descriptor.hits_addend = Some(UInt64Value { value: hits });
        descriptor
    });
    let answer = client.ask(request("shop", descriptors)).await?;
    Ok(answer.statuses.iter().map(|status| status.limit_remaining).collect())
}

async fn drill(format: &str) {
    let mut redis = RedisServer::start();
    let tidegate = Tidegate::with_rules(RULES)
        .redis(&redis)
        .env("TIDEGATE_KEY_FORMAT", format)
        // Replicas that count each other have a key, too.
        .env("TIDEGATE_REPLICAS", 1)
        .env("REDIS_SOCKET_TYPE", "unix")
        .start();
    let client = Client::connect(tidegate.grpc()).await;
    for (user, hits, left) in [("alice", 3, 2), ("bob", 5, 0), ("carol", 1, 4)] {
        assert_eq!(ask(&client, user, hits).await.unwrap(), [left; 3], "{user}");
    }
    let written = counters(&redis);
    assert_eq!(written.len(), 9, "{written:?}");

    let store = tempfile::tempdir().unwrap();
    let (place, socket) = (store.path().to_str().unwrap(), redis.url());
    let said = succeed(&mut backup(&["take", place, "-s", &socket]));
    assert!(said.ends_with("9 keys\n"), "{said}");
    let [snapshot] = &snapshots(store.path())[..] else { panic!("one snapshot expected") };

    // Lost: everybody may do everything again.
    let _: () = redis.command(&["FLUSHALL"]);
    assert_eq!(ask(&client, "bob", 5).await.unwrap(), [0; 3]);

    redis.kill();
    let (data, file) = (directory(&redis), format!("{place}/{snapshot}"));
    succeed(&mut backup(&["restore", &file, data.to_str().unwrap()]));
    redis.restart();
    assert_eq!(counters(&redis), written, "to the byte and the millisecond");

    // The program finds the server again and counts on.
    let (handle, runtime) = (client.clone(), tokio::runtime::Handle::current());
    let found = move || runtime.block_on(ask(&handle, "alice", 0)).ok();
    let left = tokio::task::spawn_blocking(|| eventually("Redis is back", found)).await.unwrap();
    assert_eq!(left, [2; 3]);
    assert_eq!(ask(&client, "bob", 0).await.unwrap(), [0; 3]);
    assert_eq!(ask(&client, "carol", 1).await.unwrap(), [3; 3]);
    for key in KEYS {
        assert_eq!(client.hit(key, "bob").await.unwrap(), Code::OverLimit, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_is_counted_after_a_restore() {
    drill("tidegate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_with_keys_of_the_reference() {
    drill("envoyproxy").await;
}

//! The commands that docs/operations.md shows do what it says.

use std::fs;
use std::process::Command;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::google::protobuf::UInt64Value;
use tempfile::TempDir;

use super::{before_path, counters, program, succeed};
use crate::support::clients::{Client, descriptor, request};
use crate::support::process::{Setup, Tidegate, eventually};
use crate::support::redis::RedisServer;

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limits:
  - {unit: year, requests_per_unit: 2}
  - {unit: year, requests_per_unit: 3, algorithm: sliding_window}
  - {unit: year, requests_per_unit: 4, algorithm: token_bucket}
";

/// A shell whose `redis-cli` speaks to `redis`, and the page that its commands come from.
struct Shell {
    page: String,
    tools: TempDir,
}

impl Shell {
    fn new(redis: &RedisServer) -> Self {
        let real = succeed(Command::new("sh").args(["-c", "command -v redis-cli"]));
        let text = format!("#!/bin/sh\nexec {} -s {} \"$@\"\n", real.trim(), redis.url());
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
        Self { page: fs::read_to_string(page).unwrap(), tools: program("redis-cli", &text) }
    }

    /// Runs the block of the page that begins with this line.
    fn run(&self, first: &str) -> String {
        let start = format!("```sh\n{first}");
        let (_, rest) = self.page.split_once(&start).unwrap_or_else(|| panic!("{first}"));
        let block = format!("{first}{}", rest.split("```").next().unwrap());
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &block]).env("PATH", before_path(&self.tools));
        succeed(&mut shell)
    }
}

fn setup(redis: &RedisServer) -> Setup {
    Tidegate::with_rules(RULES).redis(redis).env("REDIS_SOCKET_TYPE", "unix")
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_looked_at_and_reset_by_hand() {
    let redis = RedisServer::start();
    let tidegate = setup(&redis).env("LOCAL_CACHE_SIZE_IN_BYTES", "1000000").start();
    let client = Client::connect(tidegate.grpc()).await;
    for (user, code) in [
        ("alice", Code::Ok),
        ("alice", Code::Ok),
        ("alice", Code::OverLimit),
        ("alicent", Code::Ok),
        ("bob", Code::Ok),
    ] {
        assert_eq!(client.hit("user", user).await.unwrap(), code, "{user}");
    }
    let shell = Shell::new(&redis);
    let seen =
        shell.run("redis-cli --scan --pattern 'tg1:{shop:user=alice}:*' | while read -r key");
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.len(), 3, "{seen}");
    for (key, value, _) in counters(&redis) {
        let alice = key.contains("user=alice}");
        assert_eq!(lines.iter().any(|line| line.starts_with(&format!("{key} {value} "))), alice);
    }

    shell.run("redis-cli --scan --pattern 'tg1:{shop:user=alice}:*' |\n");
    let left = counters(&redis);
    assert_eq!(left.len(), 6, "{left:?}");
    assert!(left.iter().all(|(key, ..)| !key.contains("user=alice}")), "{left:?}");

    // Who remembered the refusal has been told.
    let (handle, runtime) = (client.clone(), tokio::runtime::Handle::current());
    let free = move || {
        let code = runtime.block_on(handle.hit("user", "alice")).unwrap();
        (code == Code::Ok).then_some(())
    };
    tokio::task::spawn_blocking(|| eventually("alice is free", free)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_share_a_redis_by_prefixes() {
    let redis = RedisServer::start();
    let (staging, production) = (
        setup(&redis).env("CACHE_KEY_PREFIX", "staging:").start(),
        setup(&redis).env("CACHE_KEY_PREFIX", "production:").start(),
    );
    for tidegate in [&staging, &production] {
        let client = Client::connect(tidegate.grpc()).await;
        let mut all = descriptor(&[("user", "alice")]);
        all.hits_addend = Some(UInt64Value { value: 2 });
        let answer = client.ask(request("shop", [all])).await.unwrap();
        assert_eq!(answer.overall_code(), Code::Ok);
        assert_eq!(client.hit("user", "alice").await.unwrap(), Code::OverLimit);
    }
    let keys = counters(&redis);
    assert_eq!(keys.len(), 6, "{keys:?}");
    let shell = Shell::new(&redis);
    shell.run("redis-cli --scan --pattern 'staging:*' |");
    let left = counters(&redis);
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|(key, ..)| key.starts_with("production:tg1:{shop:")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_an_error_and_forgets_nobody() {
    let redis = RedisServer::start();
    let tidegate = setup(&redis).start();
    let client = Client::connect(tidegate.grpc()).await;
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);
    let counted = counters(&redis);

    let _: () = redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let policy: Vec<String> = redis.command(&["CONFIG", "GET", "maxmemory-policy"]);
    assert_eq!(policy[1], "noeviction");
    for user in ["alice", "bob"] {
        assert!(client.hit("user", user).await.is_err(), "{user}");
    }
    assert_eq!(counters(&redis), counted);

    let _: () = redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::OverLimit);
}

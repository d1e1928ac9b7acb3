//! Replicas that count each other in Redis, and share limits accordingly when it is away.

use super::*;

const BEAT: &str = "100ms";

fn replica(redis: &RedisServer) -> Tidegate {
    let setup = Tidegate::with_rules(RULES).redis(redis).env("TIDEGATE_DRAIN_DELAY", "0");
    setup.env("TIDEGATE_REPLICAS_HEARTBEAT", BEAT).env("TIDEGATE_WORKERS", "1").start()
}

fn knows(tidegate: &Tidegate, replicas: u32) {
    eventually(format!("{replicas} replicas are known"), || {
        (tidegate.metric("tidegate_replicas") == f64::from(replicas)).then_some(())
    });
}

/// How many of thirty hits pass; the limit is twenty.
async fn admitted(tidegate: &Tidegate, value: &str) -> usize {
    let client = Client::connect(tidegate.grpc()).await;
    let mut admitted = 0;
    for _ in 0..30 {
        let code = client.hit("local", value).await.expect("a decision");
        admitted += usize::from(code == Code::Ok);
    }
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_is_that_of_those_who_are_alive() {
    let mut redis = RedisServer::start_tcp();
    let [one, mut two, mut three] = [replica(&redis), replica(&redis), replica(&redis)];
    [&one, &two, &three].into_iter().for_each(|tidegate| knows(tidegate, 3));

    three.signal("KILL");
    three.wait();
    [&one, &two].into_iter().for_each(|tidegate| knows(tidegate, 2));
    redis.kill();
    assert_eq!(admitted(&one, "alice").await, 10);
    assert_eq!(admitted(&two, "alice").await, 10);
    // What was known last holds for as long as Redis is away.
    assert_eq!(one.metric("tidegate_replicas"), 2.0);

    redis.restart();
    eventually("Redis was told", || {
        let repaid = |tidegate: &Tidegate| tidegate.metric("tidegate_local_hits_repaid_total");
        (repaid(&one) == 10.0 && repaid(&two) == 10.0).then_some(())
    });
    assert_eq!(one.metric("tidegate_replicas"), 2.0, "a Redis that has forgotten is not believed");
    two.terminate();
    assert!(two.wait().success());
    knows(&one, 1);
    redis.kill();
    assert_eq!(admitted(&one, "bob").await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_nobody_knows_is_an_error() {
    let mut redis = RedisServer::start_tcp();
    redis.kill();
    let tidegate = Tidegate::with_rules(RULES).redis(&redis).start_unready();
    assert_eq!(tidegate.metric("tidegate_replicas"), 0.0);
    let client = Client::connect(tidegate.grpc()).await;
    let status = client.hit("local", "alice").await.expect_err("nobody can say");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(client.hit("allow", "alice").await.expect("a decision"), Code::Ok);
    // The setting is taken at its word.
    let setup = Tidegate::with_rules(RULES).redis(&redis).env("TIDEGATE_REPLICAS", 4);
    let tidegate = setup.start_unready();
    assert_eq!(tidegate.metric("tidegate_replicas"), 4.0);
    assert_eq!(admitted(&tidegate, "alice").await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_its_own_is_shared_with_nobody() {
    let tidegate = Tidegate::with_rules(RULES).start();
    assert_eq!(tidegate.metric("tidegate_replicas"), 1.0);
}

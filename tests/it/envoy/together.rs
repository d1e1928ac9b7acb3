//! Instances that share a Redis share its limits.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tokio::task::JoinSet;

use crate::support::clients::Client;
use crate::support::process::Tidegate;
use crate::support::redis::RedisServer;

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 500}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_admit_exactly_the_limit_under_concurrency() {
    let redis = RedisServer::start();
    // A call that is given up may have counted: the machine may be slow, the sum is exact.
    let start = || Tidegate::with_rules(RULES).redis(&redis).env("TIDEGATE_STORE_TIMEOUT", "20s");
    let instances = [start().start(), start().start()];
    let mut callers = JoinSet::new();
    for instance in &instances {
        let client = Client::connect(instance.grpc()).await;
        for _ in 0..8 {
            let client = client.clone();
            callers.spawn(async move {
                let mut admitted = 0;
                for _ in 0..100 {
                    let code = client.hit("user", "alice").await.expect("a decision");
                    admitted += usize::from(code == Code::Ok);
                }
                admitted
            });
        }
    }
    let admitted: usize = callers.join_all().await.into_iter().sum();
    assert_eq!(admitted, 500);
}

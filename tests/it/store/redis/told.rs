//! The refusal cache over Redis: what other processes give back is heard.

use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::{Meter, Source};
use tidegate::rules::Algorithm;
use tidegate::store::redis::{Credentials, Login, RedisConfig, RedisStore, SocketType};
use tidegate::store::secret::Secret;
use tidegate::store::{RefusalCache, Store};

use crate::store::{count, meter};
use crate::support::cluster::RedisCluster;
use crate::support::process::eventually;
use crate::support::redis::RedisServer;
use crate::support::stores;

const START: u64 = 1_700_000_000_000_000;
const ALGORITHMS: [Algorithm; 3] =
    [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: 10 }];

fn config(server: &RedisServer) -> RedisConfig {
    RedisConfig::new(&server.url(), SocketType::Tcp, None).unwrap()
}

async fn spend(store: &impl Store, (key, meter): (&str, Meter)) -> (bool, Source) {
    let count = count(store, START, (key, meter), Spend(1)).await;
    (count.admitted, count.source)
}

/// Exhausts a counter until that is remembered.
async fn exhaust(store: &RefusalCache<RedisStore>, counter: (&str, Meter)) {
    count(store, START, counter, Spend(10)).await;
    assert_eq!(spend(store, counter).await, (false, Source::Store));
    assert_eq!(spend(store, counter).await, (false, Source::RefusalCache));
}

/// What one store gives back, another one that remembers a refusal spends.
async fn is_heard(here: &RefusalCache<RedisStore>, there: &RedisStore) {
    for algorithm in ALGORITHMS {
        let key = format!("{algorithm:?}:");
        let counter = (&*key, meter(algorithm, 10, 3600));
        exhaust(here, counter).await;
        count(there, START, counter, GiveBack(1)).await;
        // A message is on its way; what is refused meanwhile spends nothing.
        while !spend(here, counter).await.0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(spend(here, counter).await, (false, Source::Store), "{algorithm:?}");
        assert_eq!(spend(here, counter).await, (false, Source::RefusalCache), "{algorithm:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_gives_back_can_be_spent() {
    let server = RedisServer::start();
    is_heard(&stores::remembering(config(&server)).await, &stores::redis(&server).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_gives_back_in_a_cluster_can_be_spent() {
    let cluster = RedisCluster::start();
    let here = stores::remembering(cluster.config()).await;
    assert!(here.refusals.as_ref().unwrap().is_active());
    is_heard(&here, &stores::cluster(&cluster).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_while_nobody_listens_is_not_missed() {
    let server = RedisServer::start();
    let here = stores::remembering(config(&server)).await;
    let counter = ("k:", meter(Algorithm::FixedWindow, 10, 3600));
    exhaust(&here, counter).await;
    let opened = here.store.stats().opened;
    server.command::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    count(&stores::redis(&server).await, START, counter, GiveBack(1)).await;
    eventually("another connection", || (here.store.stats().opened > opened).then_some(()));
    here.store.connected().wait_for(|up| *up).await.unwrap();
    assert_eq!(spend(&here, counter).await, (true, Source::Store));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_listen_always_asks() {
    let server = RedisServer::start();
    let rules = ["ACL", "SETUSER", "mute", "on", ">secret", "~*", "+@all", "resetchannels"];
    server.command::<()>(&rules);
    let mut config = config(&server);
    config.dialing.login = Credentials::Given(Login::parse(&Secret::new("mute:secret")));
    let here = stores::remembering(config).await;
    assert!(!here.refusals.as_ref().unwrap().is_active());
    let counter = ("k:", meter(Algorithm::FixedWindow, 10, 3600));
    count(&here, START, counter, Spend(10)).await;
    for _ in 0..3 {
        assert_eq!(spend(&here, counter).await, (false, Source::Store));
    }
    // It may not tell either, which hinders nothing.
    count(&here, START, counter, GiveBack(1)).await;
    assert_eq!(spend(&here, counter).await, (true, Source::Store));
}

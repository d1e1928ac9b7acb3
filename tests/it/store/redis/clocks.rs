//! Replicas whose clocks differ: sliding windows and buckets go by the clock of Redis.

use std::time::Duration;

use tidegate::clock::{Clock, Timestamp};
use tidegate::limiter::Action::Spend;
use tidegate::limiter::Meter;
use tidegate::rules::Algorithm;
use tidegate::store::redis::RedisStore;

use crate::store::{RedisServer, config, connect, count, meter};

const YEAR: u64 = 31_536_000;
const SKEW: u64 = 2_000_000;

fn now() -> u64 {
    Clock::System.now().as_micros()
}

/// Two replicas; the second one's clock is two seconds ahead.
async fn replicas(server: &RedisServer) -> [(RedisStore, u64); 2] {
    [(connect(config(server)).await, 0), (connect(config(server)).await, SKEW)]
}

/// Asks both in turn for as many hits as would pass if each went by its own clock.
async fn admitted(server: &RedisServer, meter: Meter, each: u64) -> u64 {
    let replicas = replicas(server).await;
    let mut admitted = 0;
    for _ in 0..each {
        for (store, ahead) in &replicas {
            let count = count(store, now() + ahead, ("k_", meter), Spend(1)).await;
            admitted += u64::from(count.admitted);
        }
    }
    admitted
}

#[tokio::test]
async fn a_sliding_window_admits_its_limit_to_both_together() {
    let server = RedisServer::start();
    // So long a window that none begins while this runs.
    let meter = meter(Algorithm::SlidingWindow, 20, YEAR);
    assert_eq!(admitted(&server, meter, 40).await, 20);
}

#[tokio::test]
async fn a_bucket_admits_its_burst_to_both_together() {
    let server = RedisServer::start();
    let slow = meter(Algorithm::TokenBucket { burst: 20 }, 20, YEAR);
    assert_eq!(admitted(&server, slow, 40).await, 20);
}

#[tokio::test]
async fn short_windows_and_fast_buckets_admit_what_one_clock_would() {
    let server = RedisServer::start();
    let algorithms = [Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: 5 }];
    for algorithm in algorithms {
        let (meter, key) = (meter(algorithm, 5, 1), format!("{algorithm:?}"));
        let replicas = replicas(&server).await;
        let (start, mut admitted) = (now(), 0);
        for round in 0..60 {
            let (store, ahead) = &replicas[round % 2];
            let count = count(store, now() + ahead, (&key, meter), Spend(1)).await;
            admitted += u64::from(count.admitted);
        }
        let end = now();
        // By two clocks the replica ahead would find another window, or a bucket that had
        // two more seconds to fill.
        let most = match algorithm {
            Algorithm::TokenBucket { .. } => 5 + 5 * (end - start) / 1_000_000,
            _ => 5 * (1 + end / 1_000_000 - start / 1_000_000),
        };
        assert!((5..=most).contains(&admitted), "{meter:?}: {admitted} of {most}");
    }
}

#[tokio::test]
async fn waits_are_told_by_the_clock_of_redis() {
    let server = RedisServer::start();
    let store = connect(config(&server)).await;
    let bucket = meter(Algorithm::TokenBucket { burst: 1 }, 1, 3600);
    // The batch comes from long ago: only its fixed windows go by it.
    let long_ago = Timestamp::from_secs(60).as_micros();
    assert!(count(&store, long_ago, ("k_", bucket), Spend(1)).await.admitted);
    let wait = count(&store, long_ago, ("k_", bucket), Spend(1)).await.wait.unwrap();
    let hour = Duration::from_secs(3600);
    assert!((hour - Duration::from_secs(60)..=hour).contains(&wait), "{wait:?}");
}

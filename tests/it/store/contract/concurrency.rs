//! Many tasks on few counters: never over, and sets stay whole.

use std::sync::Arc;

use tidegate::limiter::Action::Spend;
use tidegate::limiter::Meter;
use tidegate::rules::Algorithm;
use tidegate::store::Store;
use tokio::task::JoinSet;

use crate::store::{Entry, LIMIT, count, counts, meter};

const START: u64 = 1_700_000_000_000_000;
const TASKS: u64 = 8;
const EACH: u64 = 60;
const LIMIT_OF_BOTH: u64 = 100;

contract!(sets_of_two_counters_are_never_over_and_never_torn, single_hits_are_never_over);

fn meters() -> [Meter; 3] {
    let rate = LIMIT_OF_BOTH as u32;
    [
        meter(Algorithm::FixedWindow, rate, 1000),
        meter(Algorithm::SlidingWindow, rate, 1000),
        meter(Algorithm::TokenBucket { burst: rate }, rate, 1000),
    ]
}

async fn sets_of_two_counters_are_never_over_and_never_torn(store: Arc<impl Store>) {
    for (i, meter) in meters().into_iter().enumerate() {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let (a, b) = (format!("a{i}"), format!("b{i}"));
                let mut admitted = 0;
                for at in 0..EACH {
                    let mut set: [Entry<'_>; 2] =
                        [(&a, meter, Spend(1), LIMIT), (&b, meter, Spend(1), LIMIT)];
                    // Half of the tasks name the counters the other way round.
                    set.rotate_left((task % 2) as usize);
                    let counts = counts(&*store, START + at, &[&set]).await;
                    assert_eq!(counts[0].spent, counts[1].spent);
                    admitted += u64::from(counts[0].spent);
                }
                admitted
            });
        }
        let admitted: u64 = tasks.join_all().await.iter().sum();
        assert_eq!(admitted, LIMIT_OF_BOTH, "{meter:?}");
        for key in [format!("a{i}"), format!("b{i}")] {
            let look = count(&*store, START + EACH, (&key, meter), Spend(0)).await;
            assert_eq!(look.after, LIMIT_OF_BOTH, "{meter:?}");
        }
    }
}

async fn single_hits_are_never_over(store: Arc<impl Store>) {
    for (i, meter) in meters().into_iter().enumerate() {
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let mut admitted = 0;
                for at in 0..EACH {
                    let hits = 1 + at % 3;
                    let key = i.to_string();
                    let count = count(&*store, START + at, (&key, meter), Spend(hits)).await;
                    admitted += if count.admitted { hits } else { 0 };
                }
                admitted
            });
        }
        let admitted: u64 = tasks.join_all().await.iter().sum();
        assert_eq!(admitted, LIMIT_OF_BOTH, "{meter:?}");
    }
}

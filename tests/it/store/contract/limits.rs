//! Limits that change while their counters live: a counter belongs to its key, not to the
//! number it is held against.

use std::sync::Arc;
use std::time::Duration;

use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::{Meter, Refused};
use tidegate::rules::Algorithm;
use tidegate::store::Store;

use crate::store::{count, five_in_ten, meter};

const START: u64 = 1_700_000_000_000_000;
const SECOND: u64 = 1_000_000;

contract!(
    raising_frees_at_once,
    lowering_bites_at_once,
    a_bucket_gains_at_its_new_rate,
    blocking_for_a_while_frees_nothing,
    a_limit_may_change_what_it_does_with_refused_hits,
);

/// The same meter with another limit.
fn with(meter: Meter, rate: u32) -> Meter {
    let algorithm = match meter.algorithm {
        Algorithm::TokenBucket { .. } => Algorithm::TokenBucket { burst: rate },
        other => other,
    };
    Meter { algorithm, rate, ..meter }
}

async fn raising_frees_at_once(store: Arc<impl Store>) {
    for (i, meter) in five_in_ten().into_iter().enumerate() {
        let key = i.to_string();
        let spend = async |rate, hits| {
            let count = count(&*store, START, (&key, with(meter, rate)), Spend(hits)).await;
            (count.admitted, count.after)
        };
        assert_eq!(spend(5, 5).await, (true, 5), "{meter:?}");
        assert_eq!(spend(5, 1).await, (false, 5), "{meter:?}");
        assert_eq!(spend(8, 4).await, (false, 5), "{meter:?}");
        assert_eq!(spend(8, 3).await, (true, 8), "{meter:?}");
        assert_eq!(spend(1_000_000, 999_992).await, (true, 1_000_000), "{meter:?}");
    }
}

async fn lowering_bites_at_once(store: Arc<impl Store>) {
    for (i, meter) in five_in_ten().into_iter().enumerate() {
        let key = i.to_string();
        let ask =
            async |rate, action| count(&*store, START, (&key, with(meter, rate)), action).await;
        assert!(ask(5, Spend(3)).await.admitted);
        let refused = ask(3, Spend(1)).await;
        assert_eq!((refused.admitted, refused.after), (false, 3), "{meter:?}");
        let refused = ask(2, Spend(1)).await;
        assert!(!refused.admitted && refused.after >= 2, "{meter:?}: {refused:?}");
        let blocked = ask(0, Spend(1)).await;
        assert_eq!((blocked.admitted, blocked.wait), (false, None), "{meter:?}");
        ask(2, GiveBack(9)).await;
        assert!(ask(2, Spend(2)).await.admitted, "{meter:?}");
    }
}

async fn a_bucket_gains_at_its_new_rate(store: Arc<impl Store>) {
    // Six an hour are one in ten minutes; then one a second.
    let bucket = |rate| ("b", meter(Algorithm::TokenBucket { burst: 6 }, rate, 3600));
    let ask = async |secs, rate, hits| {
        count(&*store, START + secs * SECOND, bucket(rate), Spend(hits)).await
    };
    assert!(ask(0, 6, 6).await.admitted);
    assert_eq!(ask(0, 6, 1).await.wait, Some(Duration::from_secs(600)));
    assert_eq!(ask(0, 3600, 1).await.wait, Some(Duration::from_secs(1)));
    // The refused request has set the new pace, though it was spared.
    assert_eq!(ask(2, 3600, 0).await.after, 4);
    assert!(ask(2, 3600, 2).await.admitted);
    assert_eq!(ask(2, 3600, 1).await.wait, Some(Duration::from_secs(1)));
    assert_eq!(ask(2, 6, 1).await.wait, Some(Duration::from_secs(600)));
    // A burst lowered alone: what was taken stays taken.
    let small = ("b", meter(Algorithm::TokenBucket { burst: 2 }, 6, 3600));
    let refused = count(&*store, START + 2 * SECOND, small, Spend(1)).await;
    assert_eq!((refused.after, refused.wait), (2, Some(Duration::from_secs(3000))));
}

async fn blocking_for_a_while_frees_nothing(store: Arc<impl Store>) {
    for (i, meter) in five_in_ten().into_iter().enumerate() {
        let key = i.to_string();
        for refused in [Refused::Spare, Refused::Spend] {
            let ask = async |rate| {
                let meter = Meter { refused, ..with(meter, rate) };
                count(&*store, START, (&key, meter), Spend(1)).await.admitted
            };
            let fresh = u64::from(refused == Refused::Spare) * 5;
            for _ in 0..fresh {
                assert!(ask(5).await, "{meter:?}");
            }
            assert!(!ask(0).await, "{meter:?}");
            assert!(!ask(5).await, "{meter:?}");
        }
    }
}

async fn a_limit_may_change_what_it_does_with_refused_hits(store: Arc<impl Store>) {
    for (i, spare) in five_in_ten().into_iter().enumerate() {
        let (key, spend) = (i.to_string(), Meter { refused: Refused::Spend, ..spare });
        let ask = async |meter, hits| count(&*store, START, (&key, meter), Spend(hits)).await;
        assert_eq!(ask(spare, 2).await.after, 2);
        assert_eq!(ask(spend, 2).await.after, 4);
        assert_eq!(ask(spare, 2).await.after, 4);
        let beyond = ask(spend, 2).await.after;
        assert!(beyond >= 5);
        assert_eq!(ask(spare, 1).await.after, beyond, "{spare:?}");
    }
}

//! Each algorithm on its own: counting to the limit, refusing, waiting, starting anew.

use std::sync::Arc;
use std::time::Duration;

use tidegate::limiter::Action::{GiveBack, Spend, Undo};
use tidegate::limiter::{Count, Meter, Refused, Source};
use tidegate::rules::Algorithm;
use tidegate::store::Store;

use crate::store::{count, five_in_ten, meter};

/// The first microsecond of a window of ten seconds.
const START: u64 = 1_700_000_000_000_000;
const SECOND: u64 = 1_000_000;

contract!(
    counts_to_the_limit_and_refuses,
    spares_or_spends_what_is_refused,
    comes_back_as_time_passes,
    tells_the_truth_about_waiting,
    a_look_changes_nothing,
    gives_back,
    an_undo_takes_nothing_of_others,
    never_admits_more_than_the_limit_at_once,
    keeps_algorithms_apart,
    a_clock_that_jumps_gives_nothing_away,
);

fn spending(meter: Meter) -> Meter {
    Meter { refused: Refused::Spend, ..meter }
}

async fn counts_to_the_limit_and_refuses(store: Arc<impl Store>) {
    for meter in five_in_ten() {
        let key = format!("{:?}", meter.algorithm);
        for after in 1..=5 {
            let count = count(&*store, START, (&key, meter), Spend(1)).await;
            assert_eq!((count.after, count.admitted, count.spent), (after, true, true));
            let until_new = match meter.algorithm {
                Algorithm::TokenBucket { .. } => 2 * after,
                _ => 10,
            };
            assert_eq!(count.wait, Some(Duration::from_secs(until_new)), "{key}");
        }
        let count = count(&*store, START, (&key, meter), Spend(1)).await;
        assert_eq!((count.after, count.admitted, count.spent), (5, false, false), "{key}");
    }
}

async fn spares_or_spends_what_is_refused(store: Arc<impl Store>) {
    for meter in five_in_ten() {
        let key = format!("{:?}", meter.algorithm);
        let spend = async |meter, hits| {
            let count = count(&*store, START, (&key, meter), Spend(hits)).await;
            (count.after, count.admitted, count.spent)
        };
        assert_eq!(spend(meter, 3).await, (3, true, true), "{key}");
        assert_eq!(spend(meter, 3).await, (3, false, false), "{key}");
        assert_eq!(spend(meter, 2).await, (5, true, true), "{key}");
        count(&*store, START, (&key, meter), GiveBack(2)).await;
        // A window counts beyond its limit; a bucket is empty.
        let beyond = if matches!(meter.algorithm, Algorithm::TokenBucket { .. }) { 5 } else { 7 };
        assert_eq!(spend(spending(meter), 4).await, (beyond, false, true), "{key}");
        assert_eq!(spend(meter, 1).await, (beyond, false, false), "{key}");
    }
}

/// What a full counter holds after some seconds, window by window and evenly.
async fn comes_back_as_time_passes(store: Arc<impl Store>) {
    let [fixed, sliding, bucket] = five_in_ten();
    let tables: [(Meter, &[(u64, u64)]); 3] = [
        (fixed, &[(0, 5), (9, 5), (10, 0)]),
        // The older hits count for as much of their window as lies within the last ten
        // seconds, which at its first microsecond is almost all.
        (sliding, &[(0, 5), (9, 5), (10, 4), (12, 3), (16, 1), (18, 0), (20, 0)]),
        (bucket, &[(0, 5), (1, 5), (2, 4), (3, 4), (5, 3), (8, 1), (10, 0), (100, 0)]),
    ];
    for (meter, table) in tables {
        let key = format!("{:?}", meter.algorithm);
        assert!(count(&*store, START, (&key, meter), Spend(5)).await.admitted);
        for (secs, after) in table {
            let look = count(&*store, START + secs * SECOND, (&key, meter), Spend(0)).await;
            assert_eq!(look.after, *after, "{key} after {secs} s");
        }
    }
}

async fn tells_the_truth_about_waiting(store: Arc<impl Store>) {
    let random = &mut fastrand::Rng::with_seed(7);
    for (i, meter) in five_in_ten().into_iter().chain(odd_meters()).enumerate() {
        let key = i.to_string();
        let (key, mut now) = ((&*key, meter), START + 1);
        let mut refused = 0;
        for _ in 0..60 {
            now += random.u64(0..2 * SECOND);
            let spend = Spend(random.u64(1..4));
            let first = count(&*store, now, key, spend).await;
            let (Some(wait), false) = (first.wait, first.admitted) else { continue };
            refused += 1;
            let wait = u64::try_from(wait.as_micros()).unwrap();
            let early = count(&*store, now + wait - 1, key, spend).await;
            assert!(!early.admitted, "{meter:?}: {spend:?} fits before {wait} us");
            let then = count(&*store, now + wait, key, spend).await;
            assert!(then.admitted, "{meter:?}: {spend:?} does not fit after {wait} us");
            now += wait;
        }
        assert!(refused > 5, "{meter:?}: {refused}");
    }
}

/// Meters whose times are no whole microseconds.
fn odd_meters() -> [Meter; 3] {
    [
        meter(Algorithm::SlidingWindow, 7, 11),
        meter(Algorithm::TokenBucket { burst: 3 }, 7, 11),
        meter(Algorithm::TokenBucket { burst: 13 }, 3, 4),
    ]
}

async fn a_look_changes_nothing(store: Arc<impl Store>) {
    for meter in five_in_ten() {
        let key = format!("{:?}", meter.algorithm);
        let ask = async |action| count(&*store, START + 1, (&key, meter), action).await;
        assert_eq!(ask(Spend(0)).await.after, 0, "{key}");
        let first = ask(Spend(4)).await;
        for _ in 0..3 {
            assert_eq!(ask(Spend(0)).await, first, "{key}");
        }
        assert_eq!(ask(Spend(1)).await.after, 5, "{key}");
        assert!(ask(Spend(0)).await.admitted, "{key}: nothing always fits up to the limit");
    }
}

async fn gives_back(store: Arc<impl Store>) {
    for meter in five_in_ten() {
        let key = format!("{:?}", meter.algorithm);
        let ask = async |action| {
            let count = count(&*store, START, (&key, meter), action).await;
            assert!(count.admitted && count.spent, "{key}: {action:?}");
            count.after
        };
        let actions = [GiveBack(2), Spend(5), GiveBack(2), Spend(1), GiveBack(9), Spend(5)];
        for (action, after) in actions.into_iter().zip([0, 5, 3, 4, 0, 5]) {
            assert_eq!(ask(action).await, after, "{key}: {action:?}");
        }
        assert_eq!(ask(GiveBack(u64::MAX)).await, 0, "{key}");
    }
    // A sliding window gives back its newest hits first.
    let sliding = ("older", meter(Algorithm::SlidingWindow, 5, 10));
    count(&*store, START, sliding, Spend(4)).await;
    let later = START + 15 * SECOND;
    assert_eq!(count(&*store, later, sliding, Spend(2)).await.after, 3);
    assert_eq!(count(&*store, later, sliding, GiveBack(4)).await.after, 0);
}

/// Seconds until others spend four, until the undo, and what is held then.
type Undone = (u64, u64, u64);

async fn an_undo_takes_nothing_of_others(store: Arc<impl Store>) {
    let [fixed, sliding, bucket] = five_in_ten();
    let tables: [(Meter, &[Undone]); 3] = [
        (fixed, &[(0, 0, 4), (0, 9, 4)]),
        // In the next window the older hits go, in the one after nothing is left of them.
        (sliding, &[(0, 0, 4), (0, 9, 4), (10, 10, 4), (10, 12, 4), (20, 20, 4)]),
        // Every two seconds one has come back by itself.
        (bucket, &[(0, 0, 4), (0, 1, 4), (2, 2, 4), (2, 10, 0), (9, 10, 4), (10, 10, 4)]),
    ];
    for (meter, table) in tables {
        for (i, (others, undo, held)) in table.iter().enumerate() {
            let key = format!("{i}{:?}", meter.algorithm);
            let meter = (&*key, meter);
            let own = count(&*store, START, meter, Spend(1)).await;
            assert!(own.spent);
            let spent = count(&*store, START + others * SECOND, meter, Spend(4)).await;
            assert!(spent.spent, "{key}");
            let undo_it = Undo { hits: 1, since: own.at };
            let undone = count(&*store, START + undo * SECOND, meter, undo_it).await;
            assert_eq!((undone.after, undone.admitted), (*held, true), "{key}");
        }
    }
}

async fn never_admits_more_than_the_limit_at_once(store: Arc<impl Store>) {
    for meter in five_in_ten() {
        for hits in [6, 1 << 31, 1 << 32, 1 << 53, u64::MAX] {
            let key = format!("{:?}{hits}", meter.algorithm);
            let refused = count(&*store, START, (&key, meter), Spend(hits)).await;
            let none = Count {
                after: 0,
                admitted: false,
                spent: false,
                wait: None,
                at: refused.at,
                source: Source::Store,
            };
            assert_eq!(refused, none, "{key}");
            let refused = count(&*store, START, (&key, spending(meter)), Spend(hits)).await;
            let (admitted, spent, wait) = (refused.admitted, refused.spent, refused.wait);
            assert_eq!((admitted, spent, wait), (false, true, None), "{key}");
            let next = count(&*store, START, (&key, meter), Spend(1)).await;
            assert!(!next.admitted && next.wait.is_some(), "{key}: {next:?}");
        }
        let nothing = Meter { rate: 0, ..meter };
        let refused = count(&*store, START, ("nothing", nothing), Spend(1)).await;
        assert_eq!((refused.admitted, refused.wait), (false, None), "{meter:?}");
    }
}

async fn keeps_algorithms_apart(store: Arc<impl Store>) {
    let [fixed, sliding, bucket] = five_in_ten();
    // Keys of a plan differ by algorithm and window; see `limiter::keys`.
    let minute = meter(Algorithm::SlidingWindow, 5, 60);
    let counters = [("k_", fixed), ("k_s10_", sliding), ("k_b10_", bucket), ("k_s60_", minute)];
    for round in 0..2 {
        for (hits, counter) in (1..).zip(counters) {
            let spent = count(&*store, START, counter, Spend(hits)).await;
            assert_eq!(spent.after, if hits * (round + 1) > 5 { hits } else { hits * (round + 1) });
        }
    }
}

async fn a_clock_that_jumps_gives_nothing_away(store: Arc<impl Store>) {
    for meter in [five_in_ten(), five_in_ten().map(spending)].concat() {
        let key = format!("{:?}{:?}", meter.algorithm, meter.refused);
        let mut admitted = 0;
        for secs in [0, 9, 10, 1, 11, 0, 10, 9, 19].repeat(6) {
            for spend in [Spend(2), Spend(0), Spend(1)] {
                let count = count(&*store, START + secs * SECOND, (&key, meter), spend).await;
                if let (true, Spend(hits)) = (count.admitted, spend) {
                    admitted += hits;
                }
            }
        }
        // Two windows were seen; a bucket gains at most nine in nineteen seconds.
        let most = if matches!(meter.algorithm, Algorithm::TokenBucket { .. }) { 14 } else { 10 };
        assert!((5..=most).contains(&admitted), "{key}: {admitted} admitted");
    }
}

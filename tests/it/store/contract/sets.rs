//! Sets: all or nothing, in order, one after the other.

use std::sync::Arc;

use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::{Meter, Part, Refused};
use tidegate::rules::Algorithm;
use tidegate::store::Store;

use crate::store::{Entry, LIMIT, counts, five_in_ten, meter};

const START: u64 = 1_700_000_000_000_000;

contract!(
    a_set_spends_from_all_of_its_counters_or_from_none,
    a_refused_set_says_which_hits_would_have_fitted,
    quota_groups_refuse_only_together,
    operations_on_one_counter_see_each_other,
    sets_see_what_those_before_them_left,
    a_set_may_give_back_and_look,
    a_set_may_be_large,
);

/// Pairs of meters, each algorithm with each.
fn pairs() -> Vec<(Meter, Meter)> {
    let five = five_in_ten();
    five.iter().flat_map(|one| five.iter().map(|other| (*one, *other))).collect()
}

/// What counters hold.
async fn held(store: &impl Store, counters: &[(&str, Meter)]) -> Vec<u64> {
    let looks: Vec<[Entry<'_>; 1]> =
        counters.iter().map(|(key, meter)| [(*key, *meter, Spend(0), LIMIT)]).collect();
    let sets: Vec<&[Entry<'_>]> = looks.iter().map(|look| &look[..]).collect();
    counts(store, START, &sets).await.iter().map(|count| count.after).collect()
}

async fn a_set_spends_from_all_of_its_counters_or_from_none(store: Arc<impl Store>) {
    for (i, (one, other)) in pairs().into_iter().enumerate() {
        for refused in [Refused::Spare, Refused::Spend] {
            let (one, other) = (Meter { refused, ..one }, Meter { refused, ..other });
            let (a, b) = (format!("a{i}{refused:?}"), format!("b{i}{refused:?}"));
            let spend = async |hits_a, hits_b| {
                let set: &[Entry<'_>] =
                    &[(&a, one, Spend(hits_a), LIMIT), (&b, other, Spend(hits_b), LIMIT)];
                let counts = counts(&*store, START, &[set]).await;
                (counts[0].admitted && counts[1].admitted, counts[0].spent && counts[1].spent)
            };
            assert_eq!(spend(1, 3).await, (true, true));
            for (hits_a, hits_b) in [(1, 3), (5, 1), (9, 9), (1, u64::MAX)] {
                assert_eq!(spend(hits_a, hits_b).await, (false, false));
                let held = held(&*store, &[(&a, one), (&b, other)]).await;
                assert_eq!(held, [1, 3], "{one:?} {other:?}");
            }
            assert_eq!(spend(4, 2).await, (true, true));
            assert_eq!(held(&*store, &[(&a, one), (&b, other)]).await, [5, 5]);
        }
    }
}

async fn a_refused_set_says_which_hits_would_have_fitted(store: Arc<impl Store>) {
    for (i, (one, other)) in pairs().into_iter().enumerate() {
        let (a, b) = (format!("a{i}"), format!("b{i}"));
        let set = |hits| -> [Entry<'_>; 2] {
            [(&a, one, Spend(hits), LIMIT), (&b, other, Spend(2 * hits), LIMIT)]
        };
        counts(&*store, START, &[&set(2)]).await;
        let counts = counts(&*store, START, &[&set(1)]).await;
        let facts = |i: usize| (counts[i].admitted, counts[i].spent, counts[i].after);
        assert_eq!((facts(0), facts(1)), ((true, false, 2), (false, false, 4)));
        assert!(counts[1].wait.is_some_and(|wait| !wait.is_zero()));
    }
}

async fn quota_groups_refuse_only_together(store: Arc<impl Store>) {
    let quota = |group| Part { group, quota: true };
    let limit = |group| Part { group, quota: false };
    for (i, meter) in five_in_ten().into_iter().enumerate() {
        let keys = ["a", "b", "c"].map(|name| format!("{name}{i}"));
        let [a, b, c] = keys.each_ref().map(|key| (key.as_str(), meter));
        let spend = async |hits: [u64; 3]| {
            let set: &[Entry<'_>] = &[
                (a.0, meter, Spend(hits[0]), quota(0)),
                (b.0, meter, Spend(hits[1]), quota(1)),
                (c.0, meter, Spend(hits[2]), limit(2)),
            ];
            let counts = counts(&*store, START, &[set]).await;
            counts.iter().map(|count| (count.admitted, count.spent)).collect::<Vec<_>>()
        };
        let (yes, no, idle) = ((true, true), (false, false), (true, false));
        assert_eq!(spend([4, 1, 1]).await, [yes, yes, yes]);
        // One quota is over: it is spared, the others spend.
        assert_eq!(spend([2, 2, 1]).await, [no, yes, yes]);
        assert_eq!(held(&*store, &[a, b, c]).await, [4, 3, 2]);
        // All of them are.
        assert_eq!(spend([2, 3, 1]).await, [no, no, idle]);
        // A limit is.
        assert_eq!(spend([1, 1, 4]).await, [idle, idle, no]);
        assert_eq!(held(&*store, &[a, b, c]).await, [4, 3, 2]);
        // Two limits of one group: the group is over when one of them is.
        let group: &[Entry<'_>] =
            &[(a.0, meter, Spend(2), quota(0)), (b.0, meter, Spend(2), quota(0))];
        counts(&*store, START, &[group]).await;
        assert_eq!(held(&*store, &[a, b]).await, [4, 3]);
        let groups: &[Entry<'_>] = &[group[0], group[1], (c.0, meter, Spend(1), quota(1))];
        counts(&*store, START, &[groups]).await;
        assert_eq!(held(&*store, &[a, b, c]).await, [4, 5, 3]);
    }
}

async fn operations_on_one_counter_see_each_other(store: Arc<impl Store>) {
    for (i, meter) in five_in_ten().into_iter().enumerate() {
        let key = i.to_string();
        let spend = async |hits: [u64; 2]| {
            let set: &[Entry<'_>] =
                &[(&key, meter, Spend(hits[0]), LIMIT), (&key, meter, Spend(hits[1]), LIMIT)];
            let counts = counts(&*store, START, &[set]).await;
            counts.iter().map(|c| (c.admitted, c.spent, c.after)).collect::<Vec<_>>()
        };
        assert_eq!(spend([3, 3]).await, [(true, false, 0), (false, false, 0)], "{meter:?}");
        assert_eq!(spend([1, 2]).await, [(true, true, 1), (true, true, 3)], "{meter:?}");
        assert_eq!(spend([2, 1]).await, [(true, false, 3), (false, false, 3)], "{meter:?}");
        assert_eq!(spend([0, 2]).await, [(true, true, 3), (true, true, 5)], "{meter:?}");
    }
}

async fn sets_see_what_those_before_them_left(store: Arc<impl Store>) {
    for (i, (one, other)) in pairs().into_iter().enumerate() {
        let (a, b) = (format!("a{i}"), format!("b{i}"));
        let both = |hits| -> [Entry<'_>; 2] {
            [(&a, one, Spend(hits), LIMIT), (&b, other, Spend(hits), LIMIT)]
        };
        let counts = counts(
            &*store,
            START,
            &[&both(4), &both(2), &[(&a, one, Spend(1), LIMIT)], &both(1), &both(0)],
        )
        .await;
        let spent: Vec<_> = counts.iter().map(|count| (count.spent, count.after)).collect();
        let no = |after| (false, after);
        let yes = |after| (true, after);
        // The third set takes what the fourth would have needed.
        let expected = [yes(4), yes(4), no(4), no(4), yes(5), no(5), no(4), yes(5), yes(4)];
        assert_eq!(spent, expected, "{one:?} {other:?}");
    }
}

async fn a_set_may_give_back_and_look(store: Arc<impl Store>) {
    for (i, meter) in five_in_ten().into_iter().enumerate() {
        let (a, b) = (format!("a{i}"), format!("b{i}"));
        let apply = async |back, hits| {
            let set: &[Entry<'_>] = &[
                (&a, meter, GiveBack(back), LIMIT),
                (&a, meter, Spend(0), LIMIT),
                (&b, meter, Spend(hits), LIMIT),
            ];
            counts(&*store, START, &[set]).await;
            held(&*store, &[(&a, meter), (&b, meter)]).await
        };
        assert_eq!(apply(1, 2).await, [0, 2], "{meter:?}");
        counts(&*store, START, &[&[(&a, meter, Spend(4), LIMIT)]]).await;
        assert_eq!(apply(2, 4).await, [4, 2], "{meter:?}: nothing of a refused set counts");
        assert_eq!(apply(1, 3).await, [3, 5], "{meter:?}");
    }
}

async fn a_set_may_be_large(store: Arc<impl Store>) {
    let keys: Vec<String> = (0..200).map(|i| format!("key{i}")).collect();
    let meter = meter(Algorithm::TokenBucket { burst: 5 }, 5, 10);
    let set = |hits: u64| -> Vec<Entry<'_>> {
        keys.iter().map(|key| (key.as_str(), meter, Spend(hits), LIMIT)).collect()
    };
    assert!(counts(&*store, START, &[&set(3)]).await.iter().all(|count| count.after == 3));
    assert!(counts(&*store, START, &[&set(3)]).await.iter().all(|count| !count.spent));
    assert!(counts(&*store, START, &[&set(2)]).await.iter().all(|count| count.after == 5));
}

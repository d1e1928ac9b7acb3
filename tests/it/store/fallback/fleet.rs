//! Several replicas count for themselves: together they stay within the limit.

use proptest::test_runner::TestRunner;

use super::*;

/// Asks until the store was told what it missed.
async fn repaid(store: &Fallback<Arc<Flaky>>) {
    store.probe().await.unwrap();
    let told = async {
        while store.reserve.stats().owed > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("the end of the debts");
    // The last call may still be under way.
    tokio::time::sleep(MS).await;
}

#[tokio::test]
async fn together_they_admit_no_more_than_the_limit() {
    for meter in five_in_ten() {
        for replicas in [1, 2, 3, 7] {
            for seed in 0..40 {
                let mut random = fastrand::Rng::with_seed(seed);
                let limit = random.u32(1..40);
                let algorithm = match meter.algorithm {
                    Algorithm::TokenBucket { .. } => Algorithm::TokenBucket { burst: limit },
                    other => other,
                };
                let meter = Meter { rate: limit, algorithm, ..meter };
                admits_no_more((meter, replicas), &mut random, seed).await;
            }
        }
    }
}

/// Some hits with the store, known to all; then an outage; then the store again.
async fn admits_no_more((meter, replicas): (Meter, u32), random: &mut fastrand::Rng, seed: u64) {
    let (flaky, clock) = (Flaky::new(), ManualClock::at(START));
    let fleet: Vec<_> = (0..replicas).map(|_| falling_back_at(&flaky, replicas, &clock)).collect();
    let mut admitted = 0;
    let mut hit = async |random: &mut fastrand::Rng| {
        let (who, hits) = (random.usize(0..fleet.len()), random.u64(1..4));
        let line = ("a", meter, Spend(hits), OnStoreError::Local);
        let count = one(&fleet[who], line).await.unwrap();
        admitted += if count.admitted { hits } else { 0 };
        admitted
    };
    for _ in 0..random.usize(0..12) {
        hit(random).await;
    }
    for store in &fleet {
        one(store, ("a", meter, Spend(0), OnStoreError::Local)).await.unwrap();
    }
    flaky.is(Mode::Unavailable);
    let mut total = 0;
    for _ in 0..100 {
        total = hit(random).await;
    }
    let limit = u64::from(meter.size());
    let context = format!("{meter:?}, {replicas} replicas, seed {seed}");
    assert!(total <= limit, "{total} of {limit}: {context}");
    flaky.is(Mode::Answers);
    for store in &fleet {
        repaid(store).await;
        assert_eq!(store.reserve.stats().unpaid, 0, "{context}");
    }
    assert_eq!(flaky.holds(("a", meter), START).await, total, "the total is honest: {context}");
    for _ in 0..20 {
        total = hit(random).await;
    }
    assert!(total <= limit, "{total} of {limit} with the store again: {context}");
}

#[tokio::test]
async fn what_one_replica_did_not_know_is_all_that_is_too_much() {
    let flaky = Flaky::new();
    let (knows, does_not) = (falling_back(&flaky, 2), falling_back(&flaky, 2));
    let line = |hits| ("a", fixed(10), Spend(hits), OnStoreError::Local);
    assert!(one(&knows, line(6)).await.unwrap().admitted);
    flaky.is(Mode::Unavailable);
    assert_eq!(one(&knows, line(0)).await.unwrap().after, 8, "three of its five are gone");
    assert_eq!(one(&does_not, line(0)).await.unwrap().after, 5, "none of its five are gone");
}

#[tokio::test]
async fn what_is_known_holds_after_the_number_of_replicas_has_changed() {
    for meter in five_in_ten() {
        for (before, after) in [(4, 2), (2, 4), (1, 3), (3, 1), (0, 2)] {
            let flaky = Flaky::new();
            let line = |hits| ("a", meter, Spend(hits), OnStoreError::Local);
            let fleet: Vec<_> = (0..after).map(|_| falling_back(&flaky, before)).collect();
            assert!(one(&fleet[0], line(2)).await.unwrap().admitted);
            for store in &fleet {
                one(store, line(0)).await.unwrap();
                store.reserve.share_by(after);
            }
            flaky.is(Mode::Unavailable);
            let mut admitted = 2;
            for store in fleet.iter().cycle().take(30) {
                admitted += u64::from(one(store, line(1)).await.unwrap().admitted);
            }
            let share = 5 / u64::from(after) - 2_u64.div_ceil(after.into());
            assert_eq!(admitted, 2 + share * u64::from(after), "{meter:?} {before} {after}");
        }
    }
}

#[tokio::test]
async fn nothing_is_shared_while_nobody_knows_by_how_many() {
    let flaky = Flaky::new();
    let store = falling_back(&flaky, 0);
    let line = ("a", fixed(10), Spend(1), OnStoreError::Local);
    assert!(one(&store, line).await.unwrap().admitted, "the store counts");
    flaky.is(Mode::Unavailable);
    assert!(matches!(one(&store, line).await, Err(StoreError::Unavailable(_))));
    assert_eq!((store.reserve.replicas(), store.reserve.stats().owed), (0, 0));
    store.reserve.share_by(2);
    assert_eq!(one(&store, line).await.unwrap().source, Source::Fallback);
}

#[tokio::test]
async fn what_may_have_been_counted_is_not_counted_again() {
    // Nor is what was refused, also where refused hits count.
    let flaky = Flaky::new();
    let store = falling_back(&flaky, 1);
    flaky.is(Mode::Unavailable);
    let counting = Meter { refused: tidegate::limiter::Refused::Spend, ..fixed(3) };
    for (hits, admitted) in [(2, true), (2, false), (1, false)] {
        let line = ("a", counting, Spend(hits), OnStoreError::Local);
        assert_eq!(one(&store, line).await.unwrap().admitted, admitted);
    }
    assert_eq!(store.reserve.stats().owed, 2);
    for (mode, owed) in [(Mode::Unavailable, 2), (Mode::Broken, 0), (Mode::Silent, 0)] {
        let flaky = Flaky::new();
        let store = falling_back(&flaky, 1);
        flaky.is(mode);
        let line = ("a", fixed(10), Spend(2), OnStoreError::Local);
        assert!(one(&store, line).await.unwrap().spent, "{mode:?}");
        assert_eq!(store.reserve.stats().owed, owed, "{mode:?}");
        flaky.is(Mode::Answers);
        repaid(&store).await;
        assert_eq!(flaky.holds(("a", fixed(10)), START).await, 2, "{mode:?}: once");
    }
}

#[tokio::test]
async fn the_answer_to_a_repayment_may_be_lost_too() {
    let flaky = Flaky::new();
    let store = falling_back(&flaky, 1);
    flaky.is(Mode::Unavailable);
    one(&store, ("a", fixed(10), Spend(2), OnStoreError::Local)).await.unwrap();
    flaky.is(Mode::Broken);
    repaid(&store).await;
    flaky.is(Mode::Answers);
    repaid(&store).await;
    let stats = store.reserve.stats();
    assert_eq!((stats.owed, stats.repaid, stats.unpaid), (0, 0, 2));
    assert_eq!(flaky.holds(("a", fixed(10)), START).await, 2, "once, in spite of it");
}

#[tokio::test]
async fn hits_of_an_ended_window_are_forgotten() {
    let (flaky, clock) = (Flaky::new(), ManualClock::at(START));
    let store = falling_back_at(&flaky, 1, &clock);
    flaky.is(Mode::Unavailable);
    one(&store, ("a", fixed(10), Spend(2), OnStoreError::Local)).await.unwrap();
    clock.advance(Duration::from_secs(60));
    flaky.is(Mode::Answers);
    repaid(&store).await;
    assert_eq!(flaky.holds(("a", fixed(10)), clock_now(60)).await, 0);
    assert_eq!(store.reserve.stats().repaid, 0);
}

fn clock_now(later: u64) -> Timestamp {
    Timestamp::from_secs(START.as_secs() + later)
}

#[tokio::test]
async fn debts_of_many_counters_are_paid_and_bounded() {
    let flaky = Flaky::new();
    let store = falling_back(&flaky, 1);
    flaky.is(Mode::Unavailable);
    // More than the thousand counters that are held here: those are errors.
    let mut refused = 0;
    for i in 0..1100 {
        let key = format!("key {i}");
        let answer = one(&store, (&key, fixed(10), Spend(1), OnStoreError::Local)).await;
        refused += u64::from(answer.is_err());
    }
    assert_eq!((refused, store.reserve.stats().owed), (100, 1000));
    flaky.is(Mode::Answers);
    repaid(&store).await;
    assert_eq!(store.reserve.stats().repaid, 1000);
    assert_eq!(flaky.counters.held(), 1000);
}

#[test]
fn knowing_more_never_admits_more() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::deterministic();
    let cases = (1u32..50, 1u32..9, 0u64..60, 0u64..60);
    let outcome = runner.run(&cases, |(limit, replicas, known, more)| {
        let left = |known| {
            runtime.block_on(async {
                let flaky = Flaky::new();
                let store = falling_back(&flaky, replicas);
                let meter = Meter { refused: tidegate::limiter::Refused::Spend, ..fixed(limit) };
                one(&store, ("a", meter, Spend(known), OnStoreError::Local)).await.unwrap();
                flaky.is(Mode::Unavailable);
                let line = ("a", meter, Spend(0), OnStoreError::Local);
                u64::from(limit) - one(&store, line).await.unwrap().after
            })
        };
        let here = left(known);
        assert!(here * u64::from(replicas) <= u64::from(limit).saturating_sub(known));
        assert!(left(known + more) <= here);
        Ok(())
    });
    outcome.unwrap();
}

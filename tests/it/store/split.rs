//! Sets that span shards, over two Redis: one for the counters of a second.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tidegate::clock::Timestamp;
use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::{Batch, Count, Meter, NewOperation, Part, Refused, RefusedSets};
use tidegate::rules::Algorithm;
use tidegate::store::redis::PerSecondStore;
use tidegate::store::{Store, StoreError};

use super::{Entry, LIMIT, batch_of_sets, counts, meter, values};
use crate::support::cluster::RedisCluster;
use crate::support::redis::RedisServer;
use crate::support::stores;

const START: u64 = 1_700_000_000_000_000;

async fn pair() -> (RedisServer, RedisServer, PerSecondStore) {
    let (main, second) = (RedisServer::start(), RedisServer::start());
    let store = stores::per_second(&main, &second).await;
    (main, second, store)
}

#[tokio::test]
async fn a_window_of_one_second_counts_in_the_second_redis() {
    let (main, second, store) = pair().await;
    let lines =
        [("a_", 1, Spend(1)), ("a_", 2, Spend(2)), ("b_", 60, Spend(3)), ("b_", 1, Spend(4))];
    assert_eq!(values(&store, 60, &lines).await, [1, 2, 3, 4]);
    assert_eq!(values(&store, 60, &lines).await, [2, 4, 6, 8]);
    assert_eq!(main.keys(), [b"a_60", b"b_60"]);
    assert_eq!(second.keys(), [b"a_60", b"b_60"]);
    let [of_main, of_second] = store.stats();
    assert_eq!((of_main.active, of_second.active), (1, 1));
    assert!(store.describe().contains(", per second "), "{}", store.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_fails_its_counters_and_the_sets_that_need_it() {
    let (_main, mut second, store) = pair().await;
    let (fixed, minute) =
        (meter(Algorithm::FixedWindow, 5, 1), meter(Algorithm::FixedWindow, 5, 60));
    let set: [Entry<'_>; 2] = [("a_", fixed, Spend(1), LIMIT), ("b_", minute, Spend(1), LIMIT)];
    assert!(counts(&store, START, &[&set]).await.iter().all(|count| count.spent));
    second.kill();
    store.connected().wait_for(|up| !*up).await.expect("a living store");
    assert!(store.probe().await.is_err());
    let alone: [&[Entry<'_>]; 3] = [&set, &set[..1], &set[1..]];
    let counts = store.apply(&batch_of_sets(START, &alone)).await;
    let is_gone =
        |count: &Result<Count, StoreError>| matches!(count, Err(StoreError::Unavailable(_)));
    let is_broken = |count: &Result<Count, StoreError>| matches!(count, Err(StoreError::Broken(_)));
    assert!(counts[..2].iter().all(is_broken), "the other was asked: {counts:?}");
    assert!(counts[2..3].iter().all(is_gone), "{counts:?}");
    assert_eq!(counts[3].as_ref().map(|count| count.after), Ok(2), "nothing stays reserved");
    second.restart();
    store.connected().wait_for(|up| *up).await.expect("a living store");
    assert_eq!(store.probe().await, Ok(()));
}

#[tokio::test]
async fn nothing_is_given_back_for_a_set_that_is_refused() {
    let (_main, _second, store) = pair().await;
    let meters = |rate, secs| meter(Algorithm::FixedWindow, rate, secs);
    let a = |action| -> Entry<'_> { ("a_", meters(9, 1), action, LIMIT) };
    let b = |action| -> Entry<'_> { ("b_", meters(2, 60), action, LIMIT) };
    counts(&store, START, &[&[a(Spend(5))]]).await;
    let facts = async |set: &[Entry<'_>]| {
        let counts = counts(&store, START, &[set]).await;
        counts.iter().map(|c| (c.after, c.admitted, c.spent)).collect::<Vec<_>>()
    };
    let refused = facts(&[a(GiveBack(3)), b(Spend(3))]).await;
    assert_eq!(refused, [(5, true, false), (0, false, false)]);
    let admitted = facts(&[a(GiveBack(3)), b(Spend(2))]).await;
    assert_eq!(admitted, [(2, true, true), (2, true, true)]);
}

/// One operation: which key of which of two windows, and how.
#[derive(Clone, Debug)]
struct Line {
    key: (u8, bool),
    action: tidegate::limiter::Action,
    part: Part,
}

/// What a history is about.
#[derive(Clone, Debug)]
struct Story {
    /// By the key's window: of a second or of a minute.
    meters: [Meter; 2],
    refused_sets: RefusedSets,
    /// Microseconds since the step before, and sets.
    steps: Vec<(u64, Vec<Vec<Line>>)>,
}

fn a_meter(window: u64) -> impl Strategy<Value = Meter> {
    let algorithm = prop_oneof![
        Just(Algorithm::FixedWindow),
        Just(Algorithm::SlidingWindow),
        (1_u32..8).prop_map(|burst| Algorithm::TokenBucket { burst }),
    ];
    let refused = prop::sample::select(vec![Refused::Spend, Refused::Spare]);
    (algorithm, 0_u32..8, refused).prop_map(move |(algorithm, rate, refused)| Meter {
        refused,
        ..meter(algorithm, rate, window)
    })
}

/// Sets in which a counter occurs once, as in all that rules can make.
fn a_set() -> impl Strategy<Value = Vec<Line>> {
    let keys: Vec<(u8, bool)> = (0..3).flat_map(|key| [(key, false), (key, true)]).collect();
    let some = prop::sample::subsequence(keys, 1..5).prop_shuffle();
    let facts = prop::collection::vec((0_u64..5, 0_u16..3), 5);
    (some, facts).prop_map(|(keys, facts)| {
        let line = |(key, (hits, group))| Line {
            key,
            action: Spend(hits),
            part: Part { group, quota: group > 0 },
        };
        keys.into_iter().zip(facts).map(line).collect()
    })
}

fn a_story() -> impl Strategy<Value = Story> {
    let passed = prop_oneof![2 => Just(0_u64), 2 => 0_u64..1_500_000, 1 => 0_u64..90_000_000];
    let sets = prop::collection::vec(a_set(), 1..4);
    let refused = vec![RefusedSets::SpendNothing, RefusedSets::SpendWhatIsOver];
    let steps = prop::collection::vec((passed, sets), 1..20);
    (a_meter(1), a_meter(60), prop::sample::select(refused), steps).prop_map(
        |(second, minute, refused_sets, steps)| Story {
            meters: [second, minute],
            refused_sets,
            steps,
        },
    )
}

fn batch(story: &Story, now: u64, sets: &[Vec<Line>]) -> Batch {
    let mut batch = Batch::new(Timestamp::from_micros(now));
    batch.refused_sets = story.refused_sets;
    for (set, lines) in sets.iter().enumerate() {
        for &Line { key: (key, long), action, part } in lines {
            let meter = story.meters[usize::from(long)];
            let new = NewOperation { part, ..NewOperation::alone(meter, action, set as u16) };
            batch.push(new, |out| out.extend_from_slice(format!("{key}{long}_").as_bytes()));
        }
    }
    batch
}

/// Where nobody else counts, a set that is dissolved is as good as one that is not.
fn agrees_with_memory(
    runtime: &tokio::runtime::Runtime,
    cases: u32,
    (store, forget): (&impl Store, &dyn Fn()),
) {
    let settings = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
    let checked = TestRunner::new(settings).run(&a_story(), |story| {
        forget();
        let memory = stores::memory();
        let mut now = START;
        for (passed, sets) in &story.steps {
            now += passed;
            let batch = batch(&story, now, sets);
            let here = runtime.block_on(memory.apply(&batch));
            let there = runtime.block_on(store.apply(&batch));
            prop_assert_eq!(here, there, "at {}: {:#?}", now, sets);
        }
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_pair_agrees_with_memory() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (main, second, store) = runtime.block_on(pair());
    let forget = || [&main, &second].iter().for_each(|server| server.command(&["FLUSHALL"]));
    agrees_with_memory(&runtime, 200, (&store, &forget));
}

#[test]
fn a_cluster_agrees_with_memory() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = RedisCluster::start();
    let store = runtime.block_on(stores::cluster(&cluster));
    agrees_with_memory(&runtime, 100, (&store, &|| cluster.flush()));
    assert_eq!(cluster.errors("CROSSSLOT"), 0);
}

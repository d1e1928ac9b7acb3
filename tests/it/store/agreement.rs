//! The two stores answer alike: random histories of all algorithms, asked of both.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tidegate::clock::Timestamp;
use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::{Action, Batch, Meter, NewOperation, Part, Refused, RefusedSets, Window};
use tidegate::rules::Algorithm;
use tidegate::store::Store;

use super::RedisServer;
use crate::support::stores;

const WINDOWS: [u64; 6] = [1, 7, 60, 3600, 31_536_000, 5 * 31_536_000];
const RATES: [u32; 8] = [0, 1, 3, 7, 10, 1000, 999_999_937, u32::MAX];
const CENTURY: u128 = 100 * 365 * 86_400;

/// One operation: which of three keys, which algorithm, and how.
#[derive(Clone, Debug)]
struct Line {
    key: u8,
    meter: Meter,
    action: Action,
    part: Part,
}

/// Microseconds since the step before, sets, and what refused ones spend.
type Step = (u64, Vec<Vec<Line>>, RefusedSets);

fn meter() -> impl Strategy<Value = Meter> {
    let algorithm = prop_oneof![
        Just(Algorithm::FixedWindow),
        Just(Algorithm::SlidingWindow),
        prop::sample::select(&RATES[1..]).prop_map(|burst| Algorithm::TokenBucket { burst }),
    ];
    let refused = prop::sample::select(vec![Refused::Spend, Refused::Spare]);
    (algorithm, prop::sample::select(&RATES[..]), prop::sample::select(&WINDOWS[..]), refused)
        .prop_map(|(algorithm, rate, window, refused)| {
            let window = Window::from_secs(window);
            Meter { algorithm, rate, window, refused }
        })
        .prop_filter("a bucket refills within a century", |meter| match meter.algorithm {
            Algorithm::TokenBucket { burst } => {
                u128::from(burst) * u128::from(meter.window.as_secs())
                    <= CENTURY * u128::from(meter.rate.max(1))
            }
            _ => true,
        })
}

/// Hits of a set of several; with more than a limit can be the script's sums would round.
fn hits() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0_u64..6,
        1 => 0..=u64::from(u32::MAX) + 1,
    ]
}

fn any_hits() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => hits(),
        1 => (1_u64 << 53) - 3..(1 << 53) + 3,
        1 => any::<u64>(),
    ]
}

fn line(hits: impl Strategy<Value = u64> + Clone) -> impl Strategy<Value = Line> {
    let action = prop_oneof![4 => hits.clone().prop_map(Spend), 1 => hits.prop_map(GiveBack)];
    // A group is in quota mode or is not.
    let part = (0_u16..3).prop_map(|group| Part { group, quota: group > 0 });
    (0_u8..2, meter(), action, part).prop_map(|(key, meter, action, part)| Line {
        key,
        meter,
        action,
        part,
    })
}

fn boxed(hits: impl Strategy<Value = u64> + 'static) -> BoxedStrategy<u64> {
    hits.boxed()
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let set = prop_oneof![
        3 => prop::collection::vec(line(boxed(any_hits())), 1),
        2 => prop::collection::vec(line(boxed(hits())), 2..5),
    ];
    let passed = prop_oneof![
        2 => Just(0_u64),
        2 => 0_u64..3_000_000,
        1 => 0_u64..90_000_000,
        1 => 0_u64..40_000_000_000_000,
    ];
    let refused = [RefusedSets::SpendNothing, RefusedSets::SpendWhatIsOver];
    let refused = prop::sample::select(refused.to_vec());
    prop::collection::vec((passed, prop::collection::vec(set, 0..5), refused), 1..30)
}

/// Keys are those of a plan: they differ by algorithm and window.
fn key(line: &Line) -> String {
    let algorithm = match line.meter.algorithm {
        Algorithm::FixedWindow => "f",
        Algorithm::SlidingWindow => "s",
        Algorithm::TokenBucket { .. } => "b",
    };
    format!("{}:{algorithm}{}:", line.key, line.meter.window.as_secs())
}

fn batch(now: u64, sets: &[Vec<Line>], refused_sets: RefusedSets) -> Batch {
    let mut batch = Batch::new(Timestamp::from_micros(now));
    batch.refused_sets = refused_sets;
    for (set, lines) in sets.iter().enumerate() {
        for line in lines {
            let &Line { meter, action, part, .. } = line;
            let new = NewOperation { part, ..NewOperation::alone(meter, action, set as u16) };
            batch.push(new, |out| out.extend_from_slice(key(line).as_bytes()));
        }
    }
    batch
}

/// Few windows and keys, or histories would hardly meet a counter twice.
fn narrowed(mut history: Vec<Step>, window: u64) -> Vec<Step> {
    for line in history.iter_mut().flat_map(|(_, sets, _)| sets.iter_mut().flatten()) {
        if line.meter.window.as_secs() > window {
            line.meter.window = Window::from_secs(window);
        }
    }
    history
}

#[test]
fn memory_and_redis_agree() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let redis = runtime.block_on(stores::redis(&server));

    let settings = ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() };
    let histories = (history(), prop::sample::select(&WINDOWS[..]));
    let checked = TestRunner::new(settings).run(&histories, |(history, window)| {
        server.command::<()>(&["FLUSHALL"]);
        let memory = stores::memory();
        let mut now = 1_700_000_000_000_000;
        for (passed, sets, refused) in narrowed(history, window) {
            now += passed;
            let batch = batch(now, &sets, refused);
            let here = runtime.block_on(memory.apply(&batch));
            let there = runtime.block_on(redis.apply(&batch));
            prop_assert_eq!(here, there, "at {}: {:#?}", now, sets);
        }
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

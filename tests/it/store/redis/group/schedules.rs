//! Random schedules, by seed: the answers of groups are those of the memory store that is
//! asked one batch after the other, and what is lost on the way never lets too many pass.

use fastrand::Rng;
use tidegate::clock::Timestamp;
use tidegate::limiter::{Meter, NewOperation, Part, Refused, RefusedSets, Window};
use tidegate::rules::Algorithm;

use super::*;
use crate::store::{becomes, count};

/// A batch of one to four sets on few counters, most of them of one operation. The counters
/// of a set are in one slot of a cluster.
fn any_batch(rng: &mut Rng, now: u64) -> Batch {
    let mut batch = Batch::new(Timestamp::from_micros(now));
    let refused = [RefusedSets::SpendNothing, RefusedSets::SpendWhatIsOver];
    batch.refused_sets = refused[rng.usize(..2)];
    for set in 0..rng.u16(1..5) {
        let operations = if rng.u8(..4) == 0 { rng.u16(2..4) } else { 1 };
        let slot = rng.u8(..3);
        for group in 0..operations {
            let algorithms = [
                ("f", Algorithm::FixedWindow),
                ("f", Algorithm::FixedWindow),
                ("s", Algorithm::SlidingWindow),
                ("b", Algorithm::TokenBucket { burst: 9 }),
            ];
            let (name, algorithm) = algorithms[rng.usize(..4)];
            let refused = if rng.bool() { Refused::Spend } else { Refused::Spare };
            let meter = Meter { algorithm, rate: 30, window: Window::from_secs(10), refused };
            let hits = match operations {
                1 if rng.u8(..60) == 0 => u64::MAX - rng.u64(..3),
                _ => rng.u64(..4),
            };
            let action = if rng.u8(..5) == 0 { GiveBack(hits) } else { Spend(hits) };
            let part = Part { group, quota: group > 0 };
            let key = format!("{}{{{slot}}}{name}_", rng.u8(..2));
            batch.push(NewOperation { part, ..NewOperation::alone(meter, action, set) }, |out| {
                out.extend_from_slice(key.as_bytes());
            });
        }
    }
    batch
}

/// Asks for the batches of a seed `together`, some at a time; the answers are those of memory
/// to one batch after the other.
pub(in super::super) async fn answers_as_one_after_the_other(
    seed: u64,
    together: impl AsyncFn(&[Batch]) -> Vec<Counts>,
) {
    let memory = stores::memory();
    let mut rng = Rng::with_seed(seed);
    let mut now = 1_700_000_000_000_000;
    for _ in 0..4 {
        let batches: Vec<Batch> = (0..rng.usize(1..60))
            .map(|_| {
                now += if rng.u8(..8) == 0 { rng.u64(..3_000_000) } else { 0 };
                any_batch(&mut rng, now)
            })
            .collect();
        let there = together(&batches).await;
        for (place, (batch, there)) in batches.iter().zip(there).enumerate() {
            let here = memory.apply(batch).await;
            assert_eq!(here, there, "seed {seed}, batch {place}: {batch:#?}");
        }
    }
}

#[tokio::test]
async fn groups_answer_as_one_after_the_other() {
    for seed in 0..12 {
        let server = RedisServer::start();
        let store = Arc::new(connect(patient(&server)).await);
        let together = async |batches: &[Batch]| together(&server, &store, batches).await;
        answers_as_one_after_the_other(seed, together).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_never_let_too_many_pass() {
    for seed in 0..4 {
        let server = RedisServer::start();
        let store = Arc::new(connect(patient(&server)).await);
        let mut rng = Rng::with_seed(seed);
        for meter in five_in_ten() {
            let mut admitted = 0;
            for _ in 0..4 {
                let mut callers = tokio::task::JoinSet::new();
                for _ in 0..rng.usize(1..60) {
                    let store = Arc::clone(&store);
                    callers.spawn(async move {
                        let mut batch = Batch::new(Timestamp::from_secs(60));
                        batch.push(NewOperation::alone(meter, Spend(1), 0), |out| {
                            out.extend_from_slice(b"k_");
                        });
                        store.apply(&batch).await
                    });
                }
                server.command::<()>(&["CLIENT", "KILL", "SKIPME", "yes"]);
                let answers = callers.join_all().await;
                let passed = |counts: &&Counts| counts[0].as_ref().is_ok_and(|c| c.admitted);
                admitted += answers.iter().filter(passed).count();
                becomes(&store, true).await;
            }
            assert!(admitted <= 5, "seed {seed}: {admitted} by {meter:?}");
            let witness = connect(patient(&server)).await;
            let left = count(&witness, 60_000_000, ("k_", meter), Spend(6)).await;
            assert!(!left.admitted, "more than all never fits");
        }
    }
}

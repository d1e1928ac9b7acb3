//! What is answered when the store cannot say: in time, as limits say, and never too much.

mod fleet;
mod parts;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate::clock::{Clock, ManualClock, Timestamp};
use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::{Action, Batch, Count, Leeway, Meter, NewOperation, Part, Source};
use tidegate::rules::{Algorithm, OnStoreError};
use tidegate::store::memory::MemoryStore;
use tidegate::store::{Counts, Fallback, FallbackConfig, Reserve, Store, StoreError};
use tokio::time::Instant;

use super::{LIMIT, five_in_ten, meter};
use crate::support::stores;

const START: Timestamp = Timestamp::from_secs(1_700_000_000);
const MS: Duration = Duration::from_millis(1);

/// A store that fails on command.
struct Flaky {
    counters: MemoryStore,
    mode: Mutex<Mode>,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Answers,
    /// It is not asked at all.
    Unavailable,
    /// It counts, and the answer is lost.
    Broken,
    /// It counts, and the answer never comes.
    Silent,
    /// It answers after so many milliseconds.
    After(u64),
    /// It is not asked for keys that begin with `x`.
    WithoutX,
}

impl Flaky {
    fn new() -> Arc<Self> {
        Arc::new(Self { counters: stores::memory(), mode: Mutex::new(Mode::Answers) })
    }

    fn is(&self, mode: Mode) {
        *self.mode.lock() = mode;
    }

    /// What the counter holds.
    async fn holds(&self, (key, meter): (&str, Meter), now: Timestamp) -> u64 {
        let look = batch(now, &[(key, meter, Spend(0), OnStoreError::Error)]);
        self.counters.apply(&look).await[0].as_ref().unwrap().after
    }
}

impl Store for Flaky {
    async fn apply(&self, batch: &Batch) -> Counts {
        let gone = || Err(StoreError::Unavailable("gone".to_owned()));
        let all = |count: &dyn Fn() -> Result<Count, StoreError>| {
            batch.operations().iter().map(|_| count()).collect()
        };
        let mode = *self.mode.lock();
        match mode {
            Mode::Answers => self.counters.apply(batch).await,
            Mode::Unavailable => all(&gone),
            Mode::Broken => {
                self.counters.apply(batch).await;
                all(&|| Err(StoreError::Broken("gone".to_owned())))
            }
            Mode::Silent => {
                self.counters.apply(batch).await;
                std::future::pending().await
            }
            Mode::After(millis) => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                self.counters.apply(batch).await
            }
            Mode::WithoutX => {
                let mut counts = self.counters.apply(batch).await;
                for (operation, count) in batch.operations().iter().zip(&mut counts) {
                    if batch.key(operation).windows(2).any(|part| part == b"xx") {
                        *count = gone();
                    }
                }
                counts
            }
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let mode = *self.mode.lock();
        match mode {
            Mode::Unavailable => Err(StoreError::Unavailable("gone".to_owned())),
            _ => Ok(()),
        }
    }

    fn name(&self) -> &'static str {
        "flaky"
    }
}

/// `store` with what stands in for it, one of so many replicas.
fn falling_back(store: &Arc<Flaky>, replicas: u32) -> Fallback<Arc<Flaky>> {
    falling_back_at(store, replicas, &ManualClock::at(START))
}

fn falling_back_at(store: &Arc<Flaky>, replicas: u32, clock: &ManualClock) -> Fallback<Arc<Flaky>> {
    let config = FallbackConfig { deadline: 10 * MS, replicas, max_counters: 1000 };
    let reserve = Reserve::new(config, Clock::Manual(clock.clone()));
    Fallback::new(Arc::clone(store), Arc::new(reserve))
}

/// One operation: key, meter, action, what it says for now.
type Line<'a> = (&'a str, Meter, Action, OnStoreError);

/// Operations that each stand for themselves.
fn batch(now: Timestamp, lines: &[Line<'_>]) -> Batch {
    let mut batch = Batch::new(now);
    for (set, line) in lines.iter().enumerate() {
        push(&mut batch, *line, (set as u16, LIMIT));
    }
    batch
}

/// Operations that stand together.
fn one_set(now: Timestamp, lines: &[Line<'_>]) -> Batch {
    let mut batch = Batch::new(now);
    for line in lines {
        push(&mut batch, *line, (0, LIMIT));
    }
    batch
}

fn push(batch: &mut Batch, line: Line<'_>, (set, part): (u16, Part)) {
    let (key, meter, action, on_store_error) = line;
    let leeway = Leeway { on_store_error, ..Leeway::default() };
    let new = NewOperation { leeway, part, ..NewOperation::alone(meter, action, set) };
    batch.push(new, |out| out.extend_from_slice(key.as_bytes()));
}

fn fixed(rate: u32) -> Meter {
    meter(Algorithm::FixedWindow, rate, 60)
}

async fn one(store: &impl Store, line: Line<'_>) -> Result<Count, StoreError> {
    store.apply(&batch(START, &[line])).await.remove(0)
}

#[tokio::test]
async fn each_limit_says_what_is_answered() {
    use OnStoreError::{Allow, Deny, Error, Local};
    let flaky = Flaky::new();
    let check = async |says, action, expected: Option<(bool, bool, u64, Option<u64>)>| {
        let store = falling_back(&flaky, 2);
        let answer = one(&store, ("a", fixed(10), action, says)).await;
        let wait = |count: &Count| count.wait.map(|wait| wait.as_secs());
        let told = answer.as_ref().ok().map(|c| (c.admitted, c.spent, c.after, wait(c)));
        assert_eq!(told, expected, "{says:?} {action:?}");
        if let Ok(count) = answer {
            assert_eq!((count.source, count.at), (Source::Fallback, START));
        }
    };
    let left = 60 - START.as_secs() % 60;
    for mode in [Mode::Unavailable, Mode::Broken, Mode::Silent] {
        flaky.is(mode);
        check(Error, Spend(1), None).await;
        check(Error, GiveBack(1), None).await;
        check(Allow, Spend(1), Some((true, false, 1, Some(left)))).await;
        check(Allow, Spend(99), Some((true, false, 10, Some(left)))).await;
        check(Allow, GiveBack(3), Some((true, false, 0, Some(left)))).await;
        check(Deny, Spend(1), Some((false, false, 10, Some(1)))).await;
        check(Deny, Spend(0), Some((false, false, 10, Some(1)))).await;
        check(Deny, GiveBack(3), Some((true, false, 0, Some(left)))).await;
        // Half of the limit is ours: of ten, five are not for us to give.
        check(Local, Spend(2), Some((true, true, 7, Some(left)))).await;
        check(Local, Spend(6), Some((false, false, 5, Some(left)))).await;
        check(Local, Spend(11), Some((false, false, 5, None))).await;
        check(Local, GiveBack(1), Some((true, false, 0, Some(left)))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_decision_ends_by_the_sooner_of_two_deadlines() {
    let check = async |mode, patience: Option<u64>, expected: (bool, Duration)| {
        let flaky = Flaky::new();
        flaky.is(mode);
        let store = falling_back(&flaky, 1);
        let mut asked = batch(START, &[("a", fixed(10), Spend(1), OnStoreError::Error)]);
        asked.patience = patience.map(Duration::from_millis);
        let start = Instant::now();
        let answer = store.apply(&asked).await.remove(0);
        assert_eq!((answer.is_ok(), start.elapsed()), expected, "{mode:?} {patience:?}");
        let late = u64::from(matches!(answer, Err(StoreError::Timeout(_))));
        assert_eq!(store.reserve.stats().late, late);
    };
    // Timers may end a millisecond late, which is kept back.
    check(Mode::Silent, None, (false, 9 * MS)).await;
    check(Mode::Silent, Some(20), (false, 9 * MS)).await;
    check(Mode::Silent, Some(5), (false, 4 * MS)).await;
    check(Mode::Silent, Some(1), (false, MS)).await;
    check(Mode::Silent, Some(0), (false, MS)).await;
    check(Mode::After(7), None, (true, 7 * MS)).await;
    check(Mode::After(8), Some(5), (false, 4 * MS)).await;
    check(Mode::Answers, Some(0), (true, Duration::ZERO)).await;
    check(Mode::Unavailable, None, (false, Duration::ZERO)).await;
}

#[tokio::test]
async fn a_set_that_does_not_pass_spends_nothing_here() {
    use OnStoreError::{Allow, Deny, Error, Local};
    let flaky = Flaky::new();
    flaky.is(Mode::Unavailable);
    let check = async |others: &[OnStoreError], spends: bool| {
        let store = falling_back(&flaky, 1);
        let mut lines = vec![("a", fixed(10), Spend(3), Local)];
        lines.extend(others.iter().map(|says| ("b", fixed(10), Spend(3), *says)));
        let answers = store.apply(&one_set(START, &lines)).await;
        let count = answers[0].as_ref().unwrap();
        assert_eq!((count.admitted, count.spent), (true, spends), "{others:?}");
        let now = one(&store, ("a", fixed(10), Spend(0), Local)).await.unwrap();
        assert_eq!(now.after, if spends { 3 } else { 0 }, "{others:?}");
        assert_eq!(
            store.reserve.stats().owed,
            now.after + u64::from(spends && others == [Local]) * 3
        );
    };
    check(&[Allow], true).await;
    check(&[Local], true).await;
    check(&[Deny], false).await;
    check(&[Error], false).await;
    check(&[Allow, Deny], false).await;
    // All or nothing holds here too.
    let store = falling_back(&flaky, 1);
    let lines = [("a", fixed(10), Spend(3), Local), ("c", fixed(2), Spend(3), Local)];
    let answers = store.apply(&one_set(START, &lines)).await;
    let told: Vec<_> = answers.iter().map(|count| count.as_ref().unwrap().admitted).collect();
    assert_eq!(told, [true, false]);
    assert_eq!(one(&store, ("a", fixed(10), Spend(0), Local)).await.unwrap().after, 0);
}

#[tokio::test]
async fn nothing_passes_that_is_not_counted() {
    use OnStoreError::{Allow, Local};
    let flaky = Flaky::new();
    flaky.is(Mode::Unavailable);
    let store = falling_back(&flaky, 1);
    let quota = |group| Part { group, quota: true };
    let mut batch = Batch::new(START);
    push(&mut batch, ("a", fixed(10), Spend(3), Local), (0, LIMIT));
    push(&mut batch, ("b", fixed(0), Spend(3), Local), (0, quota(1)));
    push(&mut batch, ("c", fixed(10), Spend(3), Allow), (0, quota(2)));
    let answers = store.apply(&batch).await;
    let told = answers.iter().map(|count| count.as_ref().unwrap());
    let told: Vec<_> = told.map(|count| (count.admitted, count.spent)).collect();
    assert_eq!(told, [(false, false), (false, false), (true, false)]);
    // A quota that refuses, and hits that are given back, do not refuse alone.
    for other in [
        (("c", fixed(10), Spend(3), OnStoreError::Deny), (0, quota(2))),
        (("c", fixed(10), GiveBack(3), OnStoreError::Deny), (0, LIMIT)),
    ] {
        let store = falling_back(&flaky, 1);
        let mut batch = Batch::new(START);
        push(&mut batch, ("a", fixed(10), Spend(3), Local), (0, LIMIT));
        push(&mut batch, other.0, other.1);
        let count = store.apply(&batch).await.remove(0).unwrap();
        assert_eq!((count.admitted, count.spent), (true, true));
    }
}

#[tokio::test]
async fn what_the_store_answers_stands_beside_what_it_does_not() {
    let flaky = Flaky::new();
    flaky.is(Mode::WithoutX);
    let store = falling_back(&flaky, 1);
    let lines = [
        ("a", fixed(10), Spend(4), OnStoreError::Local),
        ("xx", fixed(10), Spend(4), OnStoreError::Allow),
        ("xx", fixed(10), Spend(4), OnStoreError::Error),
    ];
    let answers = store.apply(&batch(START, &lines)).await;
    let sources: Vec<_> = answers.iter().map(|c| c.as_ref().ok().map(|c| c.source)).collect();
    assert_eq!(sources, [Some(Source::Store), Some(Source::Fallback), None]);
    // And what it said is known from then on.
    flaky.is(Mode::Unavailable);
    let count = one(&store, ("a", fixed(10), Spend(6), OnStoreError::Local)).await.unwrap();
    assert_eq!((count.after, count.admitted), (10, true));
}

//! Thousands of small seeded runs of threads on the memory store: never over, never torn.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use fastrand::Rng;
use tidegate::clock::Timestamp;
use tidegate::limiter::Action::Spend;
use tidegate::limiter::{Batch, Count, Meter, Part, Refused};
use tidegate::rules::Algorithm;
use tidegate::store::Store;
use tidegate::store::memory::{MemoryConfig, MemoryStore};

use super::{Entry, LIMIT, batch_of_sets, meter};

const RUNS: u64 = 2_000;
const START: u64 = 1_700_000_000_000_000;
const KEYS: [&str; 3] = ["a", "b", "c"];

/// The memory store answers at once.
fn apply(store: &MemoryStore, batch: &Batch) -> Vec<Count> {
    let mut answer = pin!(store.apply(batch));
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(counts) => counts.into_iter().map(|count| count.unwrap()).collect(),
        Poll::Pending => panic!("the memory store waits"),
    }
}

/// What threads share: a store, a clock that may jump, and what was admitted.
struct Run {
    store: MemoryStore,
    meter: Meter,
    elapsed: AtomicU64,
    latest: AtomicU64,
    spent: [AtomicU64; KEYS.len()],
}

impl Run {
    fn new(meter: Meter) -> Self {
        Self {
            store: MemoryStore::new(MemoryConfig { max_counters: 100 }),
            meter,
            elapsed: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            spent: Default::default(),
        }
    }

    /// One caller: hits, sets and looks in random order, at times that jump.
    fn call(&self, random: &mut Rng) {
        for _ in 0..random.u64(1..8) {
            if random.u8(..) < 60 {
                self.elapsed.store(random.u64(0..25_000_000), Ordering::Relaxed);
            }
            let elapsed = self.elapsed.load(Ordering::Relaxed);
            self.latest.fetch_max(elapsed, Ordering::Relaxed);
            if random.u8(..) < 20 {
                self.store.sweep(Timestamp::from_micros(START + elapsed));
            }
            self.ask(random, START + elapsed);
        }
    }

    fn ask(&self, random: &mut Rng, now: u64) {
        let mut chosen: Vec<usize> = (0..KEYS.len()).collect();
        random.shuffle(&mut chosen);
        chosen.truncate(random.usize(1..=KEYS.len()));
        let quota = random.bool();
        let entry = |(group, key): (usize, &usize)| -> Entry<'_> {
            let part = Part { group: group as u16, quota };
            (KEYS[*key], self.meter, Spend(random.u64(0..4)), part)
        };
        let set: Vec<Entry<'_>> = chosen.iter().enumerate().map(entry).collect();
        let counts = apply(&self.store, &batch_of_sets(now, &[&set]));
        let refused = counts.iter().filter(|count| !count.admitted).count();
        if set.len() > 1 && (refused == set.len() || (refused > 0 && !quota)) {
            assert!(counts.iter().all(|count| !count.spent), "{counts:?}");
        }
        for ((key, (.., action, _)), count) in chosen.iter().zip(&set).zip(&counts) {
            if let (true, true, Spend(hits)) = (count.admitted, count.spent, action) {
                self.spent[*key].fetch_add(*hits, Ordering::Relaxed);
            }
        }
    }

    /// The most that a counter may have admitted.
    fn most(&self) -> u64 {
        let latest = self.latest.load(Ordering::Relaxed);
        let (rate, window) = (u64::from(self.meter.rate), self.meter.window.as_micros());
        match self.meter.algorithm {
            Algorithm::TokenBucket { burst } => u64::from(burst) + rate * latest / window,
            _ => rate * (latest / window + 1),
        }
    }
}

fn check(algorithm: impl Fn(&mut Rng) -> Algorithm) {
    for seed in 0..RUNS {
        let random = &mut Rng::with_seed(seed);
        let refused = if random.bool() { Refused::Spare } else { Refused::Spend };
        let run = Run::new(Meter { refused, ..meter(algorithm(random), random.u32(0..8), 10) });
        thread::scope(|scope| {
            for _ in 0..2 {
                let mut random = random.fork();
                let run = &run;
                scope.spawn(move || run.call(&mut random));
            }
            run.call(random);
        });
        for (key, spent) in KEYS.iter().zip(&run.spent) {
            let spent = spent.load(Ordering::Relaxed);
            assert!(spent <= run.most(), "seed {seed}: {spent} of {} in {key}", run.most());
        }
    }
}

#[test]
fn fixed_windows_are_never_over() {
    check(|_| Algorithm::FixedWindow);
}

#[test]
fn sliding_windows_are_never_over() {
    check(|_| Algorithm::SlidingWindow);
}

#[test]
fn buckets_are_never_over() {
    check(|random| Algorithm::TokenBucket { burst: random.u32(1..12) });
}

#[test]
fn at_one_moment_what_was_admitted_is_what_is_held() {
    for seed in 0..RUNS {
        let random = &mut Rng::with_seed(seed);
        let run = Run::new(meter(Algorithm::TokenBucket { burst: 9 }, 9, 10));
        thread::scope(|scope| {
            for _ in 0..2 {
                let mut random = random.fork();
                let run = &run;
                scope.spawn(move || (0..6).for_each(|_| run.ask(&mut random, START)));
            }
        });
        for (key, spent) in KEYS.iter().zip(&run.spent) {
            let look: &[Entry<'_>] = &[(key, run.meter, Spend(0), LIMIT)];
            let held = apply(&run.store, &batch_of_sets(START, &[look]))[0].after;
            assert_eq!(held, spent.load(Ordering::Relaxed), "seed {seed}: {key}");
        }
    }
}

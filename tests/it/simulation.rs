//! A deterministic simulation: replicas with the real rules, limiter, decorators and policies,
//! over a simulated Redis, network and clock, and checks after every step.
//!
//! A schedule is made of its seed alone, and time is simulated. `SIMULATION_SCHEDULES=10000`
//! runs that many; `SIMULATION_SEED=...` runs that one, and tells its steps;
//! `SIMULATION_WHOLE=1` has the whole store in each. What is checked
//! stands in [`oracle`], [`counters`], [`callers`] and [`recovery`].

#![allow(clippy::print_stdout, reason = "a schedule that is replayed tells its steps")]

mod callers;
mod counters;
mod link;
mod oracle;
mod recovery;
mod redis;
mod replica;
mod rules;
mod short;
mod threads;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use parking_lot::Mutex;

use link::Depth;
use oracle::Figures;
use world::World;

/// How many schedules are run unless the environment says otherwise.
const SCHEDULES: u64 = 3000;
/// One of so many has all of the store in it, down to its bytes, and takes longer.
const WHOLE: u64 = 20;
/// How many threads run them.
const THREADS: usize = 2;

/// What a schedule came to.
struct Played {
    digest: u64,
    figures: Figures,
    outcome: Result<(), String>,
}

fn play(seed: u64, is_told: bool) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        // Pauses of the store are drawn from here.
        fastrand::seed(seed);
        let whole = number("SIMULATION_WHOLE").unwrap_or(WHOLE);
        let depth = if seed.is_multiple_of(whole) { Depth::Bytes } else { Depth::Batches };
        let mut world = World::new(seed, depth, is_told);
        let outcome = world.play().await;
        Played { digest: world.digest(), figures: world.figures(), outcome }
    })
}

/// Plays a schedule and tells what is wrong with it, and how to see it again.
fn failure(seed: u64, sum: &Mutex<Figures>) -> Option<String> {
    let outcome = match catch_unwind(AssertUnwindSafe(|| play(seed, false))) {
        Ok(played) => {
            sum.lock().add(&played.figures);
            played.outcome
        }
        Err(_) => Err("a panic, told above".to_owned()),
    };
    let problem = outcome.err()?;
    let whole = number("SIMULATION_WHOLE").unwrap_or(WHOLE);
    let variables = format!("SIMULATION_WHOLE={whole} SIMULATION_SEED={seed}");
    Some(format!("{problem}\nalone: {variables} cargo test --test it simulation::what"))
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

#[test]
fn what_must_hold_holds_after_every_step() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let Played { figures, outcome, .. } = play(seed, true);
        println!("{figures:?}");
        return outcome.unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
    let schedules = number("SIMULATION_SCHEDULES").unwrap_or(SCHEDULES);
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (failures, sum) = (Mutex::new(Vec::new()), Mutex::new(Figures::default()));
    let work = || {
        while !is_over.load(SeqCst) {
            let seed = next.fetch_add(1, SeqCst);
            if seed >= schedules {
                return;
            }
            if let Some(failure) = failure(seed, &sum) {
                failures.lock().push(failure);
                is_over.store(true, SeqCst);
            }
        }
    };
    thread::scope(|scope| {
        (0..THREADS).for_each(|_| drop(scope.spawn(work)));
    });
    let (failures, sum) = (failures.into_inner(), sum.into_inner());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("{schedules} schedules: {sum:?}");
    // The schedules do what they are for.
    let least = [sum.by_store, sum.by_lease, sum.by_cache, sum.by_share, sum.stood_in, sum.failed];
    assert!(least.iter().all(|hits| *hits > schedules), "{sum:?}");
    assert!(sum.given_back > schedules / 10, "{sum:?}");
}

#[test]
fn a_seed_is_the_same_schedule_each_time() {
    for seed in 0..50 {
        let (one, other) = (play(seed, false), play(seed, false));
        assert_eq!((one.digest, one.figures), (other.digest, other.figures), "seed {seed}");
    }
}

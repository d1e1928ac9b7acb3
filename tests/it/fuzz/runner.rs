//! Feeds a target, watches it, and tells how to see a failure again.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::input::input;
use super::targets::Outcome;

/// A target and what it is fed with.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// The name of its test, too.
    pub(super) name: &'static str,
    pub(super) run: fn(&[u8]) -> Outcome,
    /// Real inputs, most of which are taken.
    pub(super) corpus: fn() -> Vec<Vec<u8>>,
    /// Its part of all inputs, in hundredths.
    pub(super) percent: u64,
    /// The most bytes that an input may hold at a time.
    pub(super) memory: u64,
}

/// All inputs of all targets in a usual run of the tests.
const INPUTS: u64 = 30_000;
/// No input takes that long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
/// Attempts to make a failing input smaller.
const ATTEMPTS: usize = 3000;

/// What a run has seen.
#[derive(Default)]
struct Seen {
    taken: u64,
    slowest: (Duration, u64),
    largest: (u64, u64),
}

/// Runs the target over its part of the inputs.
///
/// `FUZZ_INPUTS` is the number of inputs of all targets together,
/// `FUZZ_FIRST` the number of the first one of each.
pub(super) fn check(target: Target) {
    let all = number("FUZZ_INPUTS").unwrap_or(INPUTS);
    let (first, count) = (number("FUZZ_FIRST").unwrap_or(0), (all * target.percent).div_ceil(100));
    let (progress, under_way) = mpsc::channel();
    let started = Instant::now();
    let worker = std::thread::spawn(move || feed(target, first..first + count, &progress));
    let mut last = first;
    loop {
        match under_way.recv_timeout(PATIENCE) {
            Ok(number) => last = number,
            Err(RecvTimeoutError::Timeout) => {
                panic!("input {last} does not end\n{}", replay(target, last));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let seen = worker.join().unwrap_or_else(|reason| panic::resume_unwind(reason));
    let Seen { taken, slowest, largest } = seen;
    println!(
        "{}: {count} inputs in {:.1?}, {taken} taken; \
         the slowest took {:.1?} (number {}), the largest {} KiB (number {})",
        target.name,
        started.elapsed(),
        slowest.0,
        slowest.1,
        largest.0 >> 10,
        largest.1,
    );
    // A target that refuses everything tests the door alone.
    assert!(count < 1000 || taken > count / 50, "{taken} of {count} inputs were taken");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.replace('_', "").parse().unwrap_or_else(|_| panic!("{variable} is {text:?}")))
}

fn feed(target: Target, numbers: std::ops::Range<u64>, progress: &Sender<u64>) -> Seen {
    let corpus = (target.corpus)();
    for (number, real) in corpus.iter().enumerate() {
        if let Err(reason) = trial(target, real) {
            panic!("{}: item {number} of the corpus: {reason}\n{}", target.name, shown(real));
        }
    }
    let mut seen = Seen::default();
    for number in numbers {
        let _ = progress.send(number);
        let bytes = input(number, &corpus);
        let started = Instant::now();
        match trial(target, &bytes) {
            Ok((outcome, memory)) => {
                seen.taken += u64::from(outcome == Outcome::Taken);
                seen.slowest = seen.slowest.max((started.elapsed(), number));
                seen.largest = seen.largest.max((memory, number));
            }
            Err(reason) => {
                let small = smaller(target, bytes, progress);
                let replay = replay(target, number);
                panic!("input {number}: {reason}\nmade smaller: {}\n{replay}", shown(&small));
            }
        }
    }
    seen
}

/// What became of an input and how much memory it held at most, or why it must not be so.
fn trial(target: Target, bytes: &[u8]) -> Result<(Outcome, u64), String> {
    let mut outcome = Ok(Outcome::Refused);
    let memory = allocation_counter::measure(|| outcome = caught(|| (target.run)(bytes)));
    let held = memory.bytes_max;
    match outcome? {
        _ if held > target.memory => Err(format!("it held {held} bytes")),
        outcome => Ok((outcome, held)),
    }
}

/// Cuts parts off for as long as it fails without them.
fn smaller(target: Target, mut bytes: Vec<u8>, progress: &Sender<u64>) -> Vec<u8> {
    let (mut attempts, mut length) = (0, bytes.len().div_ceil(2));
    while length > 0 && attempts < ATTEMPTS {
        let mut at = 0;
        while at < bytes.len() && attempts < ATTEMPTS {
            let _ = progress.send(0);
            attempts += 1;
            let mut cut = bytes.clone();
            cut.drain(at..(at + length).min(bytes.len()));
            match trial(target, &cut) {
                Ok(_) => at += length,
                Err(_) => bytes = cut,
            }
        }
        length /= 2;
    }
    bytes
}

fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 3000;
    let text = bytes.iter().take(LONGEST).copied().collect::<Vec<_>>().escape_ascii().to_string();
    let more = bytes.len().saturating_sub(LONGEST);
    if more == 0 { format!("b\"{text}\"") } else { format!("b\"{text}\" and {more} bytes more") }
}

fn replay(target: Target, number: u64) -> String {
    let name = target.name;
    format!("again: FUZZ_FIRST={number} FUZZ_INPUTS=1 cargo test --test it fuzz::{name}")
}

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What `run` gives, or the text and place of its panic, which is printed nowhere.
fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    thread_local! {
        static REASON: Cell<Option<String>> = const { Cell::new(None) };
    }
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| match IS_CAUGHT.get() {
            true => REASON.set(Some(info.to_string())),
            false => usual(info),
        }));
    });
    let outer = IS_CAUGHT.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    IS_CAUGHT.set(outer);
    result.map_err(|_| REASON.take().unwrap_or_default())
}

#[test]
fn a_failure_is_told_with_what_replays_it() {
    let target = Target {
        name: "example",
        run: |bytes| {
            assert!(!bytes.contains(&b'7'), "a seven");
            Outcome::Taken
        },
        corpus: || vec![b"0123456".to_vec()],
        percent: 100,
        memory: 1 << 20,
    };
    let (progress, _under_way) = mpsc::channel();
    let reason = caught(|| feed(target, 0..10_000, &progress).taken).expect_err("it has a seven");
    assert!(reason.contains("a seven") && reason.contains("made smaller: b\"7\""), "{reason}");
    assert!(reason.contains("FUZZ_FIRST="), "{reason}");
    let keep: fn(&[u8]) -> Outcome = |bytes| {
        drop(std::hint::black_box(bytes.to_vec()));
        Outcome::Taken
    };
    let greedy = Target { memory: 10, run: keep, ..target };
    assert!(trial(greedy, &[0; 100]).is_err_and(|reason| reason.contains("100 bytes")));
}

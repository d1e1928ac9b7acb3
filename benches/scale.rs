//! What many counters and many rules take: memory, time, pauses.
//!
//! `cargo bench --bench scale` takes a minute and a gigabyte; `-- 1000000` is for fewer
//! counters than ten million. Times are of whole decisions in the store, the batch and its
//! key included.
//!
//! A machine that does other things interrupts whoever is measured, for milliseconds. So
//! whatever is said about one thread is said in the time that it had a processor, too; and
//! waits for another thread stand beside those of the same run without it.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use tidegate::app::Core;
use tidegate::clock::{Clock, Timestamp};
use tidegate::limiter::{Action, Batch, Meter, NewOperation, Refused, Request, Terms, Window};
use tidegate::rules::{Algorithm, Entry, SourceFile};
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::store::Store;
use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::telemetry::Call;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// When counters are made, and when those of a minute have expired.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const LATER: Timestamp = Timestamp::from_secs(1_800_000_060);

/// The argument that asks what memory costs.
const TOUCH: &str = "touch";
/// How many decisions one figure is taken from.
const DECISIONS: usize = 2_000_000;
/// How many counters outlive the others.
const LASTING: u64 = 100_000;
/// Bytes in a page of memory.
const PAGE: u64 = 4096;
/// How long the service rests between two sweeps of ten million counters.
const REST: Duration = Duration::from_millis(4);

fn main() {
    if std::env::args().any(|argument| argument == TOUCH) {
        return touch();
    }
    let given = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    // First, as memory that the process has had already would not tell.
    counters(given.unwrap_or(10_000_000));
    rules();
}

/// Rules of which a request meets one.
fn rules() {
    println!(
        "{:>12} {:>12} {:>12} {:>12} {:>16}",
        "rules", "reload ms", "free ms", "page ms", "ns a decision"
    );
    for rules in [10, 1_000, 100_000] {
        let settings = Settings::from_lookup(&|_| None, &[]).unwrap();
        let store = MemoryStore::new(MemoryConfig::default());
        let core = Core::new(&settings, store, Clock::System);
        let mut text = "domain: shop\ndescriptors:\n".to_owned();
        for rule in 0..rules {
            let limit = "rate_limit: {unit: hour, requests_per_unit: 1000000000}";
            text += &format!("- key: tenant\n  value: t{rule}\n  {limit}\n");
        }
        let file = SourceFile { name: "rules.yaml".to_owned(), bytes: text.into_bytes() };
        let set = || Ok(FileSet { files: vec![file.clone()], warnings: Vec::new() });
        let reload = best(|| drop(core.reloader.apply(set())));
        let free = {
            core.reloader.apply(set());
            best_of(1, || core.reloader.replaced.free())
        };
        let tenants: Vec<String> = (0..rules).map(|rule| format!("t{rule}")).collect();
        tenants.iter().for_each(|tenant| check(&core, tenant));
        let page = best(|| {
            let mut page = core.front.service.metrics.page();
            core.front.service.metrics.render(&mut page);
            page.render()
        });
        let decisions = random(rules as u64).take(500_000).map(|rule| rule as usize);
        let cost = best(|| decisions.clone().for_each(|rule| check(&core, &tenants[rule])));
        println!(
            "{rules:>12} {:>12.1} {:>12.1} {:>12.1} {:>16.0}",
            reload * 1e3,
            free * 1e3,
            page * 1e3,
            cost * 1e9 / 500_000.0
        );
    }
    println!();
}

/// One decision of a request that a rule has for its own.
fn check(core: &Core<MemoryStore>, tenant: &str) {
    let mut request = Request::new("shop", 1);
    request.push([Entry { key: "tenant", value: tenant }], Terms::default());
    let context = &mut Context::from_waker(Waker::noop());
    let answer = pin!(core.front.service.check(&request, &mut Call::unheard())).poll(context);
    assert!(matches!(answer, Poll::Ready(Ok(_))));
}

/// Seconds that work takes; what disturbs it makes it longer.
fn best<T>(work: impl FnMut() -> T) -> f64 {
    best_of(5, work)
}

fn best_of<T>(times: usize, mut work: impl FnMut() -> T) -> f64 {
    let mut once = || {
        let started = Instant::now();
        drop(black_box(work()));
        started.elapsed().as_secs_f64()
    };
    (0..times).map(|_| once()).fold(f64::INFINITY, f64::min)
}

/// Counters of which a request meets one.
fn counters(most: u64) {
    let empty = resident();
    let store = MemoryStore::new(MemoryConfig { max_counters: (most + 2 * LASTING) as usize });
    println!("{most} counters of one kind of key, {} slices a round\n", store.sweeps());

    println!("{:>12} {:>14} {:>16} {:>8}", "counters", "bytes each", "ns a decision", "ratio");
    let (mut held, mut first) = (0, None);
    let mut inserts = Pauses::new();
    for counters in [10_000, 100_000, 1_000_000, 10_000_000].map(|it: u64| it.min(most)) {
        (held..counters).for_each(|key| inserts.time(|| hit(&store, key, 60, NOW)));
        held = counters;
        let cost = cost(&store, held);
        let ratio = cost / *first.get_or_insert(cost);
        let bytes = (resident() as f64 - empty as f64) / store.held() as f64;
        println!("{held:>12} {bytes:>14.1} {cost:>16.0} {ratio:>8.2}");
    }

    println!("\n{:<38} {:>9} {:>9} {:>9} {:>9}", "microseconds", "p50", "p99.99", "max", "max cpu");
    // Memory that this process has had would not tell.
    assert!(Command::new(std::env::current_exe().unwrap()).arg(TOUCH).status().unwrap().success());
    inserts.print("an insert, from none to all");
    let mut hits = Pauses::new();
    random(held).take(held as usize).for_each(|key| hits.time(|| hit(&store, key, 60, NOW)));
    hits.print("the same number of hits, no inserts");
    (0..LASTING).for_each(|key| hit(&store, key, 3600, NOW));
    let mut slices = Pauses::new();
    (0..store.sweeps()).for_each(|_| slices.time(|| assert_eq!(store.sweep(NOW), 0)));
    slices.print("a slice that finds nothing expired");

    let round = REST * store.sweeps() as u32;
    waits(&store, || thread::sleep(round)).print("a decision while nothing is swept");
    let (mut slices, started) = (Pauses::new(), Instant::now());
    let waits = waits(&store, || {
        for _ in 0..store.sweeps() {
            slices.time(|| store.sweep(LATER));
            thread::sleep(REST);
        }
    });
    waits.print("a decision while all that is swept");
    slices.print("a slice of which all has expired");
    let (left, took) = (store.held(), started.elapsed());
    let megabytes = resident() as f64 / 1e6;
    println!("\nswept in {took:.1?}; {left} counters and {megabytes:.0} MB are left");
    let mut again = Pauses::new();
    (0..held).for_each(|key| again.time(|| hit(&store, key + most, 60, LATER)));
    println!("the same flood again: {:.0} MB", resident() as f64 / 1e6);
    again.print("an insert of it");
}

/// What the system takes for a gigabyte that the process has not had yet.
fn touch() {
    let (mut pauses, mut memory) = (Pauses::new(), vec![0_u8; 1 << 30]);
    memory.chunks_mut(PAGE as usize).for_each(|page| pauses.time(|| black_box(page)[0] = 1));
    pauses.print("the first touch of a page of memory");
}

/// Nanoseconds of a hit on one of the first `held` keys.
fn cost(store: &MemoryStore, held: u64) -> f64 {
    let keys = random(held).take(DECISIONS);
    let secs = best(|| keys.clone().for_each(|key| hit(store, key, 60, NOW)));
    secs * 1e9 / DECISIONS as f64
}

/// How long decisions of another thread take while `work` is done.
fn waits(store: &MemoryStore, work: impl FnOnce()) -> Pauses {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let decide = scope.spawn(|| {
            let mut pauses = Pauses::new();
            let more = random(LASTING).take_while(|_| !stop.load(Ordering::Relaxed));
            more.for_each(|key| pauses.time(|| hit(store, key, 3600, LATER)));
            pauses
        });
        work();
        stop.store(true, Ordering::Relaxed);
        decide.join().unwrap()
    })
}

/// One decision: the memory store never waits, so one poll is all.
fn hit(store: &MemoryStore, key: u64, window: u64, now: Timestamp) {
    let (algorithm, refused) = (Algorithm::FixedWindow, Refused::Spend);
    let meter = Meter { algorithm, rate: u32::MAX, window: Window::from_secs(window), refused };
    let mut batch = Batch::new(now);
    let operation = NewOperation::alone(meter, Action::Spend(1), 0);
    batch.push(operation, |bytes| write!(bytes, "shop_user_{key}_").unwrap());
    match pin!(store.apply(&batch)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(counts) => assert!(counts.iter().all(Result::is_ok), "{counts:?}"),
        Poll::Pending => unreachable!("the memory store waited"),
    }
}

/// Numbers below `end`, without order.
fn random(end: u64) -> impl Iterator<Item = u64> + Clone {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(move || random.u64(..end))
}

/// Bytes of memory that the process has.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * PAGE
}

/// How long things took: on the clock, and the longest on the processor.
struct Pauses {
    nanos: Histogram<u64>,
    longest: Duration,
}

impl Pauses {
    fn new() -> Self {
        Self { nanos: Histogram::new(3).unwrap(), longest: Duration::ZERO }
    }

    fn time<T>(&mut self, work: impl FnOnce() -> T) {
        let (processor, clock) = (processor(), Instant::now());
        work();
        let clock = clock.elapsed();
        self.longest = self.longest.max(self::processor() - processor);
        self.nanos.record(clock.as_nanos() as u64).unwrap();
    }

    fn print(&self, what: &str) {
        let at = |quantile| self.nanos.value_at_quantile(quantile) as f64 / 1e3;
        let (max, longest) = (self.nanos.max() as f64 / 1e3, self.longest.as_nanos() as f64 / 1e3);
        println!("{what:<38} {:>9.1} {:>9.1} {max:>9.0} {longest:>9.1}", at(0.5), at(0.9999));
    }
}

/// The processor time of this thread.
fn processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

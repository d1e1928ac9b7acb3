//! A decision inside the process allocates nothing once its counters exist.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate::app::Core;
use tidegate::clock::{Clock, ManualClock, Timestamp};
use tidegate::limiter::{Request, Terms, Verdict};
use tidegate::rules::{Entry, SourceFile};
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::telemetry::{Call, Caller, Format, Formats, Trace, TraceSink};

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: hour, requests_per_unit: 1000000}
- key: path
  value: /api/*
  rate_limit: {unit: hour, requests_per_unit: 1000000}
- key: sliding
  rate_limit: {unit: hour, requests_per_unit: 1000000, algorithm: sliding_window}
- key: bucket
  rate_limit: {unit: hour, requests_per_unit: 1000000, algorithm: token_bucket}
- key: both
  rate_limits:
  - {unit: minute, requests_per_unit: 1000000}
  - {unit: day, requests_per_unit: 1000000}
- key: network
  match: {cidr: [10.0.0.0/8]}
  rate_limit: {unit: hour, requests_per_unit: 1000000}
- key: pattern
  match: {regex: '^/v[0-9]+/'}
  rate_limit: {unit: hour, requests_per_unit: 1000000}
- key: closed
  rate_limit: {unit: hour, requests_per_unit: 0}
- key: open
  rate_limit: {unlimited: true}
";

/// A core that counts in memory by these rules, with that decision log.
fn core(decision_log: &str) -> Core<MemoryStore> {
    let log = |name: &str| (name == "TIDEGATE_DECISION_LOG").then(|| decision_log.to_owned());
    let settings = Settings::from_lookup(&log, &[]).unwrap();
    let clock = Clock::Manual(ManualClock::at(Timestamp::from_secs(1_700_000_000)));
    let core = Core::new(&settings, MemoryStore::new(MemoryConfig::default()), clock);
    let file = SourceFile { name: "rules.yaml".to_owned(), bytes: RULES.as_bytes().to_vec() };
    core.reloader.apply(Ok(FileSet { files: vec![file], warnings: Vec::new() }));
    core
}

/// Decides a request with these descriptors of one entry each by `core`; tells what was decided
/// and how much was allocated by `times` of it, once it had been decided before.
fn decide(core: &Core<MemoryStore>, descriptors: &[(&str, &str)], times: usize) -> (Verdict, u64) {
    decide_in(core, &HeaderMap::new(), (descriptors, times))
}

/// The same for calls with these headers.
fn decide_in(
    core: &Core<MemoryStore>,
    headers: &HeaderMap,
    (descriptors, times): (&[(&str, &str)], usize),
) -> (Verdict, u64) {
    let tracer = &core.front.service.observer.tracer;
    let mut request = Request::new("shop", 1);
    for &(key, value) in descriptors {
        request.push([Entry { key, value }], Terms::default());
    }
    // The memory store never waits, so one poll is all.
    let decide =
        || match pin!(core.front.service.check(&request, &mut Call::begin(headers, tracer)))
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(answer) => answer.unwrap().decision.overall,
            Poll::Pending => panic!("the memory store waited"),
        };
    let verdict = decide();
    let allocated = allocation_counter::measure(|| {
        for _ in 0..times {
            assert_eq!(decide(), verdict);
        }
    });
    (verdict, allocated.count_total)
}

#[test]
fn decisions_allocate_nothing_after_the_first() {
    let check = |descriptors: &[(&str, &str)], verdict| {
        // Decisions that the log does not choose cost nothing either.
        for decision_log in ["off", "error,fallback", "error,refused:1e-300,passed:1e-300"] {
            let decided = decide(&core(decision_log), descriptors, 1000);
            assert_eq!(decided, (verdict, 0), "{descriptors:?} {decision_log}");
        }
    };
    check(&[("user", "alice")], Verdict::Ok);
    check(&[("path", "/api/users/17")], Verdict::Ok);
    check(&[("sliding", "alice")], Verdict::Ok);
    check(&[("bucket", "alice")], Verdict::Ok);
    check(&[("both", "alice")], Verdict::Ok);
    check(&[("network", "10.1.2.3")], Verdict::Ok);
    check(&[("pattern", "/v1/users")], Verdict::Ok);
    check(&[("open", "to all")], Verdict::Ok);
    check(&[("unknown", "to the rules")], Verdict::Ok);
    check(&[("closed", "alice")], Verdict::OverLimit);
    check(
        &[("user", "alice"), ("sliding", "bob"), ("bucket", "carol"), ("closed", "dave")],
        Verdict::OverLimit,
    );
}

/// Wants no call but those that their callers sample; what it gets is gone.
#[derive(Debug)]
struct Rate0;

impl TraceSink for Rate0 {
    fn wants(&self, caller: Option<&Caller>, _: u128) -> bool {
        caller.and_then(|caller| caller.sampled).unwrap_or(false)
    }

    fn ended(&self, _: &Arc<Trace>) {}
}

#[test]
fn calls_that_are_not_sampled_allocate_nothing() {
    let core = core("off");
    let formats = Formats([Format::W3c, Format::B3].into_iter().collect());
    core.front.service.observer.tracer.start(formats, vec![Arc::new(Rate0)]);
    let allocated = |headers: &[(&'static str, &'static str)]| {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers: HeaderMap = headers.collect();
        let (verdict, allocated) = decide_in(&core, &headers, (&[("user", "alice")], 1000));
        assert_eq!(verdict, Verdict::Ok);
        allocated
    };
    assert_eq!(allocated(&[]), 0);
    let off = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    assert_eq!(allocated(&[("traceparent", off), ("tracestate", "a=b")]), 0);
    assert_eq!(allocated(&[("b3", "0")]), 0);
    // Those that are sampled do, or the above could not fail.
    let on = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert!(allocated(&[("traceparent", on)]) >= 1000);
}

/// What is counted by the test above, or it could not fail.
#[test]
fn allocations_are_seen() {
    let allocated = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!(allocated.count_total, 1);
}

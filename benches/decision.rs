//! What one decision costs inside the process: plan, count in memory, decide, record.
//!
//! `cargo bench --bench decision` prints, per case, its time and the allocations of one
//! request after warm-up.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::app::Core;
use tidegate::clock::{Clock, ManualClock, Timestamp};
use tidegate::limiter::{Request, Terms};
use tidegate::rules::{Entry, SourceFile};
use tidegate::service::{Answer, Service};
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::store::{LeaseConfig, LeaseTable, Leases, Store};
use tidegate::telemetry::Call;

fn memory() -> MemoryStore {
    MemoryStore::new(MemoryConfig::default())
}

/// A core with that many rules of which a request meets one.
fn core<S: Store>(rules: usize, store: S) -> Core<S> {
    let settings = Settings::from_lookup(&|_| None, &[]).unwrap();
    let clock = Clock::Manual(ManualClock::at(Timestamp::from_secs(1_700_000_000)));
    let core = Core::new(&settings, store, clock);
    let mut text = String::from(
        "domain: shop\ndescriptors:\n- key: user\n  rate_limit: {unit: hour, requests_per_unit: 1000000000}\n",
    );
    text += "- key: path\n  value: /api/*\n  rate_limit: {unit: hour, requests_per_unit: 1000}\n";
    for algorithm in ["sliding_window", "token_bucket"] {
        let limit = "unit: hour, requests_per_unit: 1000000000";
        let _ = writeln!(text, "- key: {algorithm}");
        let _ = writeln!(text, "  rate_limit: {{{limit}, algorithm: {algorithm}}}");
    }
    text += "- key: leased\n";
    text += "  rate_limit: {unit: hour, requests_per_unit: 1000000000, accuracy: leased}\n";
    for i in 5..rules {
        let limit = "rate_limit: {unit: hour, requests_per_unit: 5}";
        let _ = writeln!(text, "- key: tenant\n  value: t{i}\n  {limit}");
    }
    let file = SourceFile { name: "rules.yaml".to_owned(), bytes: text.into_bytes() };
    core.reloader.apply(Ok(FileSet { files: vec![file], warnings: Vec::new() }));
    assert_eq!(core.health.facts().rules.limits, rules);
    core
}

fn request<'a>(descriptors: &[(&'a str, &'a str)]) -> Request<'a> {
    let mut request = Request::new("shop", 1);
    for (key, value) in descriptors {
        request.push([Entry { key, value }], Terms::default());
    }
    request
}

/// The memory store never waits, so one poll is all.
fn check<S: Store>(service: &Service<S>, request: &Request<'_>) -> Answer {
    match pin!(service.check(request, &mut Call::unheard()))
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(answer) => answer.unwrap(),
        Poll::Pending => unreachable!("the memory store waited"),
    }
}

fn decisions(criterion: &mut Criterion) {
    let one: &[(&str, &str)] = &[("user", "alice")];
    let four: &[(&str, &str)] =
        &[("user", "alice"), ("user", "bob"), ("tenant", "t5"), ("path", "/api/x")];
    let cases = [
        ("one descriptor, 10 rules", 10, one),
        ("one descriptor, 100 000 rules", 100_000, one),
        ("wildcard, 10 rules", 10, &[("path", "/api/users/17")]),
        ("sliding window, 10 rules", 10, &[("sliding_window", "alice")]),
        ("token bucket, 10 rules", 10, &[("token_bucket", "alice")]),
        ("four descriptors, 10 rules", 10, four),
    ];
    for (name, rules, descriptors) in cases {
        measure(criterion, name, (&core(rules, memory()), descriptors));
    }
}

/// Hits that are spent from blocks, which are taken beside it.
fn leases(criterion: &mut Criterion) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_time().build().unwrap();
    let _inside = runtime.enter();
    let table = Arc::new(LeaseTable::new(LeaseConfig::default()));
    let core = core(10, Leases::new(memory(), Some(Arc::clone(&table))));
    let descriptors = &[("leased", "alice")];
    let now = core.front.service.clock.now();
    while table.stats(now).unspent < 10_000 {
        check(&core.front.service, &request(descriptors));
    }
    measure(criterion, "leased, 10 rules", (&core, descriptors));
}

fn measure<S: Store>(
    criterion: &mut Criterion,
    name: &str,
    (core, descriptors): (&Core<S>, &[(&str, &str)]),
) {
    let service = &core.front.service;
    let request = request(descriptors);
    check(service, &request);
    let info = allocation_counter::measure(|| {
        black_box(check(service, black_box(&request)));
    });
    println!("{name}: {} allocations per request", info.count_total);
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| black_box(check(service, black_box(&request))));
    });
}

criterion_group!(benches, decisions, leases);
criterion_main!(benches);

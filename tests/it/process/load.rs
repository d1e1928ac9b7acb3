//! `tidegate load` against the real program: its counts are the server's counts.

use std::io::Read as _;
use std::process::{Child, Output, Stdio};

use serde_json::Value;

use super::RULES;
use crate::support::process::{Tidegate, eventually, program};

/// Runs the generator with `options` against `server`.
fn load(server: &str, options: &str) -> Output {
    let mut load = program();
    load.args(["load", "--domain", "shop", "--json", "--server", server]);
    if !options.contains("--timeout") {
        load.args(["--timeout", "20s"]); // on a busy machine a stall is no failure
    }
    load.args(options.split_whitespace()).output().expect("run tidegate load")
}

fn report(output: &Output) -> Value {
    assert!(output.stderr.is_empty(), "nothing but the report is written: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A report of a run that got decisions.
fn good(server: &str, options: &str) -> Value {
    let output = load(server, options);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    report(&output)
}

fn count(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("{field} is no count: {report}"))
}

/// What every report keeps.
fn adds_up(report: &Value) {
    let errors = report["errors"].as_object().expect("errors by code").values();
    let errors: u64 = errors.map(|count| count.as_u64().expect("a count")).sum();
    assert_eq!(errors, count(report, "failed"), "{report}");
    let ended = count(report, "ok") + count(report, "over_limit") + errors;
    assert_eq!(ended, count(report, "calls"), "{report}");
}

/// How often the rule of [`RULES`] was asked, and how often it refused.
fn counted(tidegate: &Tidegate) -> (u64, u64) {
    let sum = |name: &str| {
        let series =
            format!("ratelimit_service_rate_limit_{name}{{domain=\"shop\",key1=\"user\"}}");
        tidegate.metric(&series) as u64
    };
    (sum("total_hits"), sum("over_limit"))
}

#[test]
fn a_closed_loop_counts_what_the_server_counts() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let options = "user=%k --keys 5 --warm-up 0s --duration 1s --connections 3 --threads 2";
    let report = good(tidegate.grpc(), options);
    adds_up(&report);
    assert_eq!(count(&report, "ok"), 10, "five users have two requests each: {report}");
    assert_eq!(report["loop"], "closed");
    assert_eq!(counted(&tidegate), (count(&report, "calls"), count(&report, "over_limit")));
    for (field, percentile) in [("latency_us", "p50"), ("ok_latency_us", "max")] {
        assert!(report[field][percentile].as_f64() > Some(0.0), "{report}");
    }
    assert!(report["cpu_us_per_call"].as_f64().is_some(), "{report}");
}

#[test]
fn calls_before_the_span_are_told_apart() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let report = good(tidegate.grpc(), "user=a --warm-up 1s --duration 1s");
    adds_up(&report);
    assert_eq!(count(&report, "ok"), 0, "the warm-up has spent them: {report}");
    assert!(count(&report, "warm_up_calls") > 2, "{report}");
    let all = count(&report, "calls") + count(&report, "warm_up_calls");
    assert_eq!(counted(&tidegate).0, all);
}

#[test]
fn an_open_loop_makes_or_misses_every_planned_call() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("grpc.sock").display().to_string();
    let tidegate = Tidegate::with_rules(RULES).env("GRPC_UDS", &socket).start();
    let options = "user=%k --keys 9 --distribution zipf:0.9 --rate 500 --warm-up 200ms \
                   --duration 1s --threads 2";
    let report = good(&socket, options);
    adds_up(&report);
    assert_eq!(report["loop"], "open");
    // A second of the 1.2 holds 500, of which a thread may have its first in the warm-up.
    assert!((499..=501).contains(&count(&report, "planned")), "{report}");
    assert_eq!(count(&report, "planned"), count(&report, "calls") + count(&report, "missed"));
    assert!(report["late_us"]["p50"].is_number(), "{report}");
    assert!(counted(&tidegate).0 >= count(&report, "calls"));
}

#[test]
fn several_descriptors_and_hits_go_with_each_call() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let options = "user=%i-%k --descriptors 3 --hits 2 --keys 4 --warm-up 0s --duration 1s";
    let report = good(tidegate.grpc(), options);
    assert_eq!(count(&report, "ok"), 4, "two hits use a user up: {report}");
    let (hits, over_limit) = counted(&tidegate);
    assert_eq!(hits, count(&report, "calls") * 6);
    assert_eq!(over_limit, count(&report, "over_limit") * 6);
}

#[test]
fn a_server_that_stops_answering_costs_calls_and_not_the_run() {
    let tidegate = Tidegate::with_rules(RULES).start();
    tidegate.signal("STOP");
    let options = "user=a --rate 200 --connections 1 --in-flight 2 --timeout 50ms --warm-up 0s \
                   --duration 500ms";
    let output = load(tidegate.grpc(), options);
    assert_eq!(output.status.code(), Some(1), "no call got a decision: {output:?}");
    let report = report(&output);
    adds_up(&report);
    assert!(report["errors"]["DEADLINE_EXCEEDED"].as_u64() > Some(0), "{report}");
    assert!(count(&report, "missed") > 0, "{report}");
    assert_eq!(count(&report, "calls") + count(&report, "missed"), 100, "{report}");
}

#[test]
fn connections_that_age_cost_no_call() {
    let tidegate = Tidegate::with_rules(RULES).env("GRPC_MAX_CONNECTION_AGE", "500ms").start();
    let report = good(tidegate.grpc(), "user=a --warm-up 0s --duration 1500ms --connections 2");
    adds_up(&report);
    assert_eq!(count(&report, "failed"), 0, "{report}");
    assert_eq!(counted(&tidegate).0, count(&report, "calls"));
}

#[test]
fn an_interrupted_run_reports_what_it_measured() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let mut load = program();
    load.args(["load", "user=a", "--domain", "shop", "--json", "--duration", "1h"]);
    load.args(["--warm-up", "0s", "--server", tidegate.grpc()]);
    let mut child = load.stdout(Stdio::piped()).spawn().expect("run tidegate load");
    eventually("calls are counted", || (counted(&tidegate).0 > 10).then_some(()));
    let report = interrupted(&mut child);
    adds_up(&report);
    assert_eq!(report["interrupted"], true);
    assert_eq!(counted(&tidegate).0, count(&report, "calls"));
}

fn interrupted(child: &mut Child) -> Value {
    let pid = child.id().to_string();
    let kill = std::process::Command::new("kill").args(["-s", "INT", &pid]).status();
    assert!(kill.expect("run kill").success());
    let mut text = String::new();
    child.stdout.take().expect("its output").read_to_string(&mut text).expect("a report");
    assert_eq!(child.wait().expect("its end").code(), Some(0), "{text}");
    serde_json::from_str(&text).expect("a report")
}

#[test]
fn people_get_lines() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let mut load = program();
    load.args(["load", "user=a", "--domain", "shop", "--duration", "1s", "--warm-up", "0s"]);
    let output = load.args(["--server", tidegate.grpc()]).output().expect("run tidegate load");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    for part in [" calls in 1.0 s", "OK                   2", "OVER_LIMIT", "p99.9 "] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn what_cannot_be_measured_is_an_error_at_once() {
    let check = |options: &str, code: i32, expected: &str| {
        let output = load("127.0.0.1:1", options);
        assert_eq!(output.status.code(), Some(code), "{options}: {output:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(expected), "{options}: {error}");
    };
    check("", 2, "KEY=VALUE");
    check("user", 2, "is not key=value");
    check("user=%x", 2, "after % comes k, i or another %");
    check("user=a --rate 0", 2, "between 0.01 and");
    check("user=a --rate fast", 2, "between 0.01 and");
    check("user=a --keys 0", 2, "--keys");
    check("user=a --distribution normal", 2, "one, uniform, zipf");
    check("user=a --duration 10", 2, "write 10s");
    check("user=a --duration 2days", 2, "more than a day");
    check("user=a --duration 0s", 1, "measures nothing");
    check("user=a --timeout 0s", 2, "between 1ms and 60s");
    check("user=a --threads 9", 1, "cannot share 8 connections");
    check("user=a --connections 1000 --in-flight 1000", 1, "in flight");
    check("user=a", 1, "cannot reach a server at 127.0.0.1:1");
}

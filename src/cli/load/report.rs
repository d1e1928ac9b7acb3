//! What was measured, for people and for programs.
//!
//! Pure. Fields and their meaning are described in `docs/load.md`.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use tonic::Code;

use super::keys::Distribution;
use super::tally::Tally;

/// A run and its result.
#[derive(Debug)]
pub(super) struct Report {
    /// Where the server is.
    pub(super) server: String,
    /// Connections, and calls in flight on each.
    pub(super) connections: (usize, usize),
    /// Calls per second that were planned; none in a closed loop.
    pub(super) rate: Option<f64>,
    /// Threads of the generator.
    pub(super) threads: usize,
    /// How many keys, and how they were drawn.
    pub(super) keys: (u64, Distribution),
    /// How many descriptors a request had.
    pub(super) descriptors: usize,
    /// The measured span.
    pub(super) span: Duration,
    /// CPU time of the generator in it, if known.
    pub(super) cpu: Option<Duration>,
    /// Whether it was ended before its time.
    pub(super) interrupted: bool,
    /// What was counted.
    pub(super) tally: Tally,
}

/// Percentiles as they are printed and named.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];
/// A generator busier than this measures itself.
const SATURATED: f64 = 0.9;

impl Report {
    /// One object.
    pub(super) fn json(&self) -> anyhow::Result<Value> {
        let tally = &self.tally;
        let errors: Map<_, _> =
            tally.errors().map(|(code, count)| (name(code), count.into())).collect();
        Ok(json!({
            "server": self.server,
            "loop": if self.rate.is_some() { "open" } else { "closed" },
            "connections": self.connections.0,
            "in_flight": self.connections.1,
            "threads": self.threads,
            "descriptors": self.descriptors,
            "keys": self.keys.0,
            "distribution": self.keys.1.to_string(),
            "planned_rate": self.rate,
            "interrupted": self.interrupted,
            "seconds": self.span.as_secs_f64(),
            "warm_up_calls": tally.warm_up,
            "planned": self.rate.map(|_| tally.calls() + tally.missed),
            "missed": tally.missed,
            "calls": tally.calls(),
            "rate": self.achieved(),
            "ok": tally.allowed.len(),
            "over_limit": tally.refused.len(),
            "failed": tally.failed.len(),
            "errors": errors,
            "latency_us": percentiles(&tally.all()?),
            "ok_latency_us": percentiles(&tally.allowed),
            "over_limit_latency_us": percentiles(&tally.refused),
            "late_us": percentiles(&tally.late),
            "cpu_us_per_call": self.cpu_per_call().map(|cpu| cpu * 1e6),
            "cpu_busy": self.busy(),
        }))
    }

    /// Some lines.
    pub(super) fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let (calls, seconds) = (self.tally.calls(), self.span.as_secs_f64());
        let early = if self.interrupted { ", interrupted" } else { "" };
        writeln!(text, "{calls} calls in {seconds:.1} s{early}: {:.0}/s", self.achieved())?;
        writeln!(text, "  OK          {:>10}", self.tally.allowed.len())?;
        writeln!(text, "  OVER_LIMIT  {:>10}", self.tally.refused.len())?;
        for (code, count) in self.tally.errors() {
            writeln!(text, "  {count} x {}", name(code))?;
        }
        if let Some(rate) = self.rate {
            let missed = self.tally.missed;
            writeln!(text, "  missed      {missed:>10}  of {} planned", calls + missed)?;
            writeln!(text, "latency from the planned time, at {rate}/s")?;
        } else {
            let (connections, in_flight) = self.connections;
            writeln!(text, "latency, {connections} connections x {in_flight} calls in flight")?;
        }
        let all = self.tally.all()?;
        line(&mut text, "all", &all)?;
        for (name, part) in [("OK", &self.tally.allowed), ("OVER_LIMIT", &self.tally.refused)] {
            // What holds all calls has been said.
            if part.len() < all.len() {
                line(&mut text, name, part)?;
            }
        }
        line(&mut text, "sent late", &self.tally.late)?;
        self.generator(&mut text)?;
        Ok(text)
    }

    fn generator(&self, text: &mut String) -> std::fmt::Result {
        let (Some(cpu), Some(busy)) = (self.cpu_per_call(), self.busy()) else { return Ok(()) };
        let (us, percent) = (cpu * 1e6, busy * 100.0);
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        writeln!(
            text,
            "generator: {us:.1} us of CPU per call, {} {threads}, {percent:.0} % busy",
            self.threads
        )?;
        if busy > SATURATED {
            writeln!(text, "the generator had no CPU left: the server may be faster than this")?;
        }
        Ok(())
    }

    /// Calls per second.
    fn achieved(&self) -> f64 {
        self.tally.calls() as f64 / self.span.as_secs_f64().max(1e-9)
    }

    /// Seconds of CPU for a call.
    fn cpu_per_call(&self) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() / self.tally.calls().max(1) as f64)
    }

    /// The busy share of the threads' time.
    fn busy(&self) -> Option<f64> {
        let all = self.span.as_secs_f64().max(1e-9) * self.threads as f64;
        Some(self.cpu?.as_secs_f64() / all)
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let us = |nanoseconds: u64| Value::from(nanoseconds as f64 / 1e3);
    let mut map = Map::new();
    for (name, quantile) in PERCENTILES {
        map.insert(name.to_owned(), us(histogram.value_at_quantile(quantile)));
    }
    map.insert("max".to_owned(), us(histogram.max()));
    Value::Object(map)
}

fn line(text: &mut String, name: &str, histogram: &Histogram<u64>) -> std::fmt::Result {
    if histogram.is_empty() {
        return Ok(());
    }
    write!(text, "  {name:<10}")?;
    for (name, quantile) in PERCENTILES {
        write!(text, "  {name} {}", time(histogram.value_at_quantile(quantile)))?;
    }
    writeln!(text, "  max {}", time(histogram.max()))
}

fn time(nanoseconds: u64) -> String {
    match nanoseconds as f64 {
        n if n < 1e6 => format!("{:.0} us", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

/// As the specification of gRPC writes it.
fn name(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::super::tally::Outcome;
    use super::*;

    fn report(rate: Option<f64>) -> Report {
        let mut tally = Tally::new(Duration::from_secs(10)).expect("a tally");
        for n in 1..=100 {
            tally.record(Outcome::Allowed, Duration::from_micros(n * 10));
        }
        tally.record(Outcome::Refused, Duration::from_millis(3));
        tally.record(Outcome::Failed(Code::DeadlineExceeded), Duration::from_secs(2));
        tally.missed = 8;
        Report {
            server: "127.0.0.1:8081".to_owned(),
            connections: (8, 16),
            rate,
            threads: 1,
            keys: (1, Distribution::Uniform),
            descriptors: 1,
            span: Duration::from_secs(2),
            cpu: Some(Duration::from_micros(1_020)),
            interrupted: false,
            tally,
        }
    }

    #[test]
    fn the_object_says_what_was_counted() {
        let object = report(Some(55.0)).json().expect("an object");
        let check = |field: &str, expected: Value| assert_eq!(object[field], expected, "{field}");
        check("loop", "open".into());
        check("calls", 102.into());
        check("planned", 110.into());
        check("rate", 51.0.into());
        check("ok", 100.into());
        check("over_limit", 1.into());
        check("failed", 1.into());
        check("errors", json!({"DEADLINE_EXCEEDED": 1}));
        check("late_us", Value::Null);
        check("cpu_us_per_call", 10.0.into());
        let near = |value: &Value, expected: f64| {
            let value = value.as_f64().expect("a number");
            assert!((value / expected - 1.0).abs() < 0.002, "{value}, not {expected}");
        };
        near(&object["latency_us"]["p50"], 510.0);
        near(&object["latency_us"]["max"], 2e6);
        near(&object["ok_latency_us"]["p99"], 990.0);
        near(&object["over_limit_latency_us"]["p99.99"], 3_000.0);
        assert_eq!(report(None).json().expect("an object")["planned"], Value::Null);
    }

    #[test]
    fn people_read_it_in_their_units() {
        let text = report(Some(55.0)).text().expect("some lines");
        for part in ["102 calls in 2.0 s: 51/s", "1 x DEADLINE_EXCEEDED", "8  of 110 planned"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        for part in ["p50 510 us", "max 3.00 ms", "max 2.00 s", "10.0 us of CPU per call"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(!text.contains("no CPU left"), "{text}");
        let busy = Report { cpu: Some(Duration::from_millis(1_900)), ..report(None) };
        let text = busy.text().expect("some lines");
        assert!(text.contains("no CPU left") && !text.contains("planned"), "{text}");
    }
}

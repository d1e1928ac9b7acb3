//! What the process tells about requests: its log, and what it remembers of refusals.

mod decisions;
mod folding;
mod level;
mod lines;
mod privacy;
mod stalled;
mod top;

use serde_json::Value;

use crate::support::process::Tidegate;

/// Two requests a year for each user, none for others.
const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
- key: closed
  rate_limit: {unit: hour, requests_per_unit: 0}
- key: seen
  shadow_mode: true
  rate_limit: {unit: day, requests_per_unit: 0}
- key: bucket
  rate_limit: {unit: minute, requests_per_unit: 1, algorithm: token_bucket, burst: 1}
";

/// The events of a log in JSON; a line that is none fails the test.
fn events(log: &str) -> Vec<Value> {
    let event = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    log.lines().map(event).collect()
}

/// The events with that message, of a log that has ended.
fn told(tidegate: &mut Tidegate, message: &str) -> Vec<Value> {
    tidegate.signal("INT");
    tidegate.wait();
    let all = events(&tidegate.log());
    all.into_iter().filter(|event| event["message"] == message).collect()
}

//! A service over rules of every kind, asked without a socket.

use std::collections::HashMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tidegate::app::Core;
use tidegate::clock::{Clock, ManualClock, Timestamp};
use tidegate::rules::SourceFile;
use tidegate::server::Front;
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::wire::Failure;
use tidegate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::wire::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

/// Rules of every kind. What a bucket holds is the same for all of them.
const RULES: [&str; 2] = [
    "
domain: shop
descriptors:
- key: user
  value_to_metric: true
  rate_limit: {unit: second, requests_per_unit: 3, name: user}
  descriptors:
  - key: path
    detailed_metric: true
    rate_limit: {unit: minute, requests_per_unit: 5}
- {key: user, value: 'a*', share_threshold: true, rate_limit: {unit: day, requests_per_unit: 7}}
- {key: most, rate_limit: {unit: year, unit_multiplier: 5, requests_per_unit: 4294967295}}
- {key: sliding, rate_limit: {unit: hour, requests_per_unit: 9, algorithm: sliding_window}}
- key: slidingmost
  rate_limit: {unit: year, requests_per_unit: 4294967295, algorithm: sliding_window}
- {key: bucket, rate_limit: {unit: minute, requests_per_unit: 10, algorithm: token_bucket, burst: 20}}
- {key: bucketslow, rate_limit: {unit: year, requests_per_unit: 1, algorithm: token_bucket, burst: 20}}
- key: both
  rate_limits:
  - {unit: minute, requests_per_unit: 4}
  - {unit: year, requests_per_unit: 6, algorithm: sliding_window}
- {key: network, match: {cidr: [10.0.0.0/8, '::/0']}, rate_limit: {unit: week, requests_per_unit: 2}}
- {key: pattern, match: {regex: '^/v[0-9]+/'}, rate_limit: {unit: month, requests_per_unit: 8}}
- {key: listed, match: {any_of: [gold, silver]}, rate_limit: {unit: hour, requests_per_unit: 2}}
- {key: closed, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: open, rate_limit: {unlimited: true}}
- {key: shadow, shadow_mode: true, rate_limit: {unit: hour, requests_per_unit: 1}}
- {key: quota, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 2}}
- key: replacing
  rate_limit: {unit: hour, requests_per_unit: 3, replaces: [{name: user}]}
  metadata: {team: core, deep: {list: [1, x, .inf, .nan, null, true]}}
",
    "
domain: together
all_or_nothing: true
descriptors:
- {key: one, rate_limit: {unit: hour, requests_per_unit: 5}}
- {key: two, rate_limit: {unit: hour, requests_per_unit: 2}}
- {key: bucket, rate_limit: {unit: hour, requests_per_unit: 1, algorithm: token_bucket, burst: 20}}
- {key: quota, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 2}}
",
];

/// What the buckets of the rules hold.
const BURST: u32 = 20;

thread_local! {
    static CORE: Core<MemoryStore> = core();
}

fn core() -> Core<MemoryStore> {
    let settings = Settings::from_lookup(
        &|name| match name {
            "LIMIT_RESPONSE_HEADERS_ENABLED" | "RESPONSE_DYNAMIC_METADATA" => Some("true".into()),
            _ => None,
        },
        &[],
    )
    .expect("good settings");
    let clock = Clock::Manual(ManualClock::at(Timestamp::from_micros(1_700_000_123_456_789)));
    let core = Core::new(&settings, empty(), clock);
    let file = |(number, text): (usize, &&str)| SourceFile {
        name: format!("{number}.yaml"),
        bytes: text.as_bytes().to_vec(),
    };
    let files = RULES.iter().enumerate().map(file).collect();
    core.reloader.apply(Ok(FileSet { files, warnings: Vec::new() }));
    assert!(core.front.service.rules.load().is_some(), "the rules are good");
    core
}

fn empty() -> MemoryStore {
    MemoryStore::new(MemoryConfig { max_counters: 10_000 })
}

/// A service by the rules above that has counted nothing yet.
pub(super) struct Fresh(Front<MemoryStore>);

impl Fresh {
    pub(super) fn new() -> Self {
        Self(CORE.with(|core| core.front.with_store(empty())))
    }

    pub(super) fn ask(&self, message: &RateLimitRequest) -> Result<RateLimitResponse, Failure> {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(self.0.answer(message)).poll(&mut context) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("the memory store waited"),
        }
    }
}

/// What was admitted so far, by descriptor, and to how much.
#[derive(Default)]
pub(super) struct Ledger(HashMap<String, (u128, u128)>);

impl Ledger {
    /// Checks an answer by itself and against all before it.
    pub(super) fn check(&mut self, message: &RateLimitRequest, answer: &RateLimitResponse) {
        assert_eq!(answer.statuses.len(), message.descriptors.len(), "one status per descriptor");
        let over = |status: i32| status == Code::OverLimit as i32;
        let is_any_over = answer.statuses.iter().any(|status| over(status.code));
        assert!(is_any_over || !over(answer.overall_code), "nothing refuses, and yet it is over");
        assert_ne!(answer.overall_code, Code::Unknown as i32);
        for (descriptor, status) in message.descriptors.iter().zip(&answer.statuses) {
            let Some(limit) = &status.current_limit else { continue };
            assert!(status.duration_until_reset.is_some_and(|d| d.seconds >= 1), "{status:?}");
            let keys = || descriptor.entries.iter().map(|entry| entry.key.as_str());
            let own = descriptor.limit.is_some();
            let size = match keys().next().is_some_and(|key| !own && key.starts_with("bucket")) {
                true => BURST,
                false => limit.requests_per_unit,
            };
            assert!(status.limit_remaining <= size, "{status:?}");
            let refused = over(answer.overall_code) && message.domain == "together";
            let shadowed = !own && keys().any(|key| key == "shadow");
            let given_back = message.descriptors.iter().any(|d| d.is_negative_hits);
            if over(status.code) || refused || shadowed || given_back {
                continue;
            }
            let name =
                format!("{} {:?} {:?}", message.domain, descriptor.entries, descriptor.limit);
            let hits = descriptor.hits_addend.unwrap_or(message.hits_addend.max(1).into());
            let (admitted, most) = self.0.entry(name).or_insert((0, 0));
            (*admitted, *most) = (*admitted + u128::from(hits), (*most).max(size.into()));
            assert!(*admitted <= *most, "{admitted} of {most} were admitted: {descriptor:?}");
        }
    }
}

/// Checks that a failure says what it is about in few words.
pub(super) fn check_failure(failure: &Failure, input: &[u8]) {
    assert!(matches!(failure.http_status().as_u16(), 400 | 503), "{failure}");
    assert!(!matches!(failure.code(), tonic::Code::Ok | tonic::Code::Unknown), "{failure}");
    assert!(failure.to_string().len() < 4 * input.len() + 1000, "{failure}");
}

//! Whole decisions beyond the reference, from YAML to the answer, with both stores.

use std::time::Duration;

use tidegate::app::Core;
use tidegate::clock::{Clock, ManualClock, Timestamp};
use tidegate::rules::SourceFile;
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::store::Store;
use tidegate::wire::json::Json;
use tidegate::wire::pb::envoy::service::ratelimit::v3::RateLimitResponse;

use crate::support::redis::RedisServer;
use crate::support::stores;

/// A core, a clock, and how to ask.
struct Desk<S> {
    core: Core<S>,
    clock: ManualClock,
    json: Json,
}

impl<S: Store> Desk<S> {
    fn new(store: S, rules: &str) -> Self {
        let clock = ManualClock::at(Timestamp::from_secs(1_700_000_100));
        let lookup =
            |name: &str| (name == "LIMIT_RESPONSE_HEADERS_ENABLED").then(|| "true".to_owned());
        let settings = Settings::from_lookup(&lookup, &[]).unwrap();
        let core = Core::new(&settings, store, Clock::Manual(clock.clone()));
        let desk = Self { core, clock, json: Json::new().unwrap() };
        desk.load(rules);
        desk
    }

    fn load(&self, descriptors: &str) {
        let bytes = format!("domain: d\n{descriptors}").into_bytes();
        let file = SourceFile { name: "rules.yaml".to_owned(), bytes };
        self.core.reloader.apply(Ok(FileSet { files: vec![file], warnings: Vec::new() }));
        assert_eq!(self.core.health.facts().rules.last_error, None);
    }

    /// Asks with one descriptor for each text: `key`, or `key*hits`, or `key-hits`.
    async fn ask(&self, descriptors: &[&str]) -> RateLimitResponse {
        let descriptor = |text: &&str| {
            let (key, hits, back) = match (text.split_once('*'), text.split_once('-')) {
                (Some((key, hits)), _) => (key, hits, false),
                (None, Some((key, hits))) => (key, hits, true),
                (None, None) => (*text, "1", false),
            };
            format!(
                r#"{{"entries":[{{"key":"{key}","value":"v"}}],"hitsAddend":"{hits}","isNegativeHits":{back}}}"#
            )
        };
        let descriptors: Vec<_> = descriptors.iter().map(descriptor).collect();
        let text = format!(r#"{{"domain":"d","descriptors":[{}]}}"#, descriptors.join(","));
        let message = self.json.request(text.as_bytes()).unwrap();
        self.core.front.answer(&message).await.unwrap()
    }

    /// Whether a request passes, and what each of its descriptors has left.
    async fn left(&self, descriptors: &[&str]) -> (bool, Vec<u32>) {
        let answer = self.ask(descriptors).await;
        let left = answer.statuses.iter().map(|status| status.limit_remaining);
        (answer.overall_code == 1, left.collect())
    }

    async fn passes(&self, descriptors: &[&str]) -> bool {
        self.left(descriptors).await.0
    }
}

/// Runs a test with each store.
macro_rules! with_both_stores {
    ($($test:ident)*) => {$(
        mod $test {
            #[tokio::test]
            async fn memory() {
                super::$test(crate::support::stores::memory()).await;
            }

            #[tokio::test]
            async fn redis() {
                let server = super::RedisServer::start();
                super::$test(super::stores::redis(&server).await).await;
            }
        }
    )*};
}

with_both_stores! {
    a_window_of_several_units
    several_limits_on_one_descriptor
    a_refused_request_spends_nothing
    quota_rules_refuse_together
    rules_in_shadow_mode_refuse_nothing_and_count_alone
    giving_back_is_not_undone
    refused_hits_can_be_spared
    limits_change_at_once
    another_algorithm_starts_afresh
    more_hits_than_ever_fit
    the_recipe_for_logins
}

#[tokio::test]
async fn a_request_is_one_round_trip_to_redis_whatever_its_rules() {
    let server = RedisServer::start();
    let calls = || {
        let text: String = server.command(&["INFO", "commandstats"]);
        let evalsha = text.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        evalsha.map_or(0, |rest| rest.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    let desk = Desk::new(stores::redis(&server).await, TOGETHER);
    let before = calls();
    for descriptors in [
        &["one"][..],
        &["five"],
        &["two"],
        &["one", "five", "two", "quota1", "quota2", "shadow", "five-1"],
    ] {
        desk.ask(descriptors).await;
    }
    assert_eq!(calls() - before, 4);
}

async fn a_window_of_several_units<S: Store>(store: S) {
    let desk = Desk::new(
        store,
        "descriptors:
- key: a
  rate_limit: {unit: minute, unit_multiplier: 15, requests_per_unit: 2, name: login}
",
    );
    let answer = desk.ask(&["a"]).await;
    let limit = answer.statuses[0].current_limit.as_ref().unwrap();
    assert_eq!((limit.requests_per_unit, limit.unit, limit.name.as_str()), (2, 2, "login"));
    // 1 700 000 100 is a multiple of 900.
    assert_eq!(answer.statuses[0].duration_until_reset.unwrap().seconds, 900);
    let headers: Vec<_> = answer.response_headers_to_add.iter().map(|h| h.value.as_str()).collect();
    assert_eq!(headers, ["2, 2;w=900", "1", "900"]);
    desk.clock.advance(Duration::from_secs(899));
    assert!(desk.passes(&["a"]).await);
    assert!(!desk.passes(&["a"]).await);
    desk.clock.advance(Duration::from_secs(1));
    assert!(desk.passes(&["a"]).await);
}

async fn several_limits_on_one_descriptor<S: Store>(store: S) {
    let desk = Desk::new(
        store,
        "descriptors:
- key: a
  rate_limits:
  - {unit: second, requests_per_unit: 1, algorithm: token_bucket, burst: 2, name: smooth}
  - {unit: hour, requests_per_unit: 3, name: quota}
",
    );
    let name = |answer: &RateLimitResponse| {
        let limit = answer.statuses[0].current_limit.as_ref();
        (answer.overall_code == 1, limit.unwrap().name.clone(), answer.statuses[0].limit_remaining)
    };
    assert_eq!(name(&desk.ask(&["a"]).await), (true, "smooth".to_owned(), 1));
    assert_eq!(name(&desk.ask(&["a"]).await), (true, "smooth".to_owned(), 0));
    for _ in 0..5 {
        assert_eq!(name(&desk.ask(&["a"]).await), (false, "smooth".to_owned(), 0));
    }
    // The refused ones were not counted against the quota.
    desk.clock.advance(Duration::from_secs(2));
    assert_eq!(name(&desk.ask(&["a"]).await), (true, "quota".to_owned(), 0));
    assert_eq!(name(&desk.ask(&["a"]).await), (false, "quota".to_owned(), 0));
    // Nor against the bucket, which has a token left.
    desk.load(
        "descriptors:
- key: a
  rate_limits:
  - {unit: second, requests_per_unit: 1, algorithm: token_bucket, burst: 2, name: smooth}
  - {unit: hour, requests_per_unit: 9, name: quota}
",
    );
    assert!(desk.passes(&["a"]).await);
    assert!(!desk.passes(&["a"]).await);
}

const TOGETHER: &str = "all_or_nothing: true
descriptors:
- {key: one, rate_limit: {unit: hour, requests_per_unit: 1}}
- {key: five, rate_limit: {unit: hour, requests_per_unit: 5, algorithm: sliding_window}}
- {key: two, rate_limit: {unit: hour, requests_per_unit: 2, algorithm: token_bucket}}
- {key: quota1, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 1}}
- {key: quota2, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 2}}
- {key: shadow, shadow_mode: true, rate_limit: {unit: hour, requests_per_unit: 1}}
";

async fn a_refused_request_spends_nothing<S: Store>(store: S) {
    let desk = Desk::new(store, TOGETHER);
    assert_eq!(desk.left(&["five", "one", "two"]).await, (true, vec![4, 0, 1]));
    for _ in 0..3 {
        assert_eq!(desk.left(&["five", "one", "two"]).await, (false, vec![4, 0, 1]));
    }
    assert_eq!(desk.left(&["five*4", "two"]).await, (true, vec![0, 0]));
    assert_eq!(desk.left(&["five", "two*0"]).await, (false, vec![0, 0]));
}

async fn quota_rules_refuse_together<S: Store>(store: S) {
    let desk = Desk::new(store, TOGETHER);
    assert_eq!(desk.left(&["quota1", "quota2"]).await, (true, vec![0, 1]));
    // One of two is over: the request passes and counts where it fits.
    assert_eq!(desk.left(&["quota1", "quota2"]).await, (true, vec![0, 0]));
    assert_eq!(desk.left(&["quota1", "quota2", "five"]).await, (false, vec![0, 0, 5]));
    assert_eq!(desk.left(&["five"]).await, (true, vec![4]));
}

async fn rules_in_shadow_mode_refuse_nothing_and_count_alone<S: Store>(store: S) {
    let desk = Desk::new(store, TOGETHER);
    assert_eq!(desk.left(&["shadow", "five"]).await, (true, vec![0, 4]));
    assert_eq!(desk.left(&["shadow", "five"]).await, (true, vec![0, 3]));
    assert_eq!(desk.left(&["one"]).await, (true, vec![0]));
    assert_eq!(desk.left(&["shadow", "one", "five"]).await, (false, vec![0, 0, 3]));
}

async fn giving_back_is_not_undone<S: Store>(store: S) {
    let desk = Desk::new(store, TOGETHER);
    assert!(desk.passes(&["one", "five*5"]).await);
    assert_eq!(desk.left(&["one", "five-3"]).await, (false, vec![0, 3]));
    assert_eq!(desk.left(&["five"]).await, (true, vec![2]));
    assert_eq!(desk.left(&["one-1"]).await, (true, vec![1]));
    assert_eq!(desk.left(&["one", "two"]).await, (true, vec![0, 1]));
}

async fn refused_hits_can_be_spared<S: Store>(store: S) {
    let desk = Desk::new(
        store,
        "defaults: {count_refused: false}
descriptors:
- {key: spared, rate_limit: {unit: hour, requests_per_unit: 5}}
- {key: spent, rate_limit: {unit: hour, requests_per_unit: 5, count_refused: true}}
- key: drained
  rate_limit: {unit: hour, requests_per_unit: 5, algorithm: token_bucket, count_refused: true}
",
    );
    for key in ["spared", "spent", "drained"] {
        assert!(desk.passes(&[&format!("{key}*4")]).await);
        assert!(!desk.passes(&[&format!("{key}*2")]).await);
    }
    assert!(desk.passes(&["spared"]).await);
    assert!(!desk.passes(&["spent"]).await);
    assert!(!desk.passes(&["drained"]).await);
}

async fn limits_change_at_once<S: Store>(store: S) {
    let rules = |number: u32| {
        let limit = |algorithm: &str| {
            let limit = format!("unit: hour, requests_per_unit: {number}, algorithm: {algorithm}");
            format!("- {{key: {algorithm}, rate_limit: {{{limit}}}}}\n")
        };
        let limits = ["fixed_window", "sliding_window", "token_bucket"].map(limit);
        format!("descriptors:\n{}", limits.concat())
    };
    let desk = Desk::new(store, &rules(3));
    let keys = ["fixed_window", "sliding_window", "token_bucket"];
    for key in keys {
        assert!(desk.passes(&[&format!("{key}*3")]).await, "{key}");
        assert!(!desk.passes(&[&format!("{key}*1")]).await, "{key}");
    }
    desk.load(&rules(10));
    for key in keys {
        assert!(desk.passes(&[&format!("{key}*5")]).await, "{key} was raised");
    }
    desk.load(&rules(4));
    for key in keys {
        assert!(!desk.passes(&[key]).await, "{key} was lowered");
    }
}

async fn another_algorithm_starts_afresh<S: Store>(store: S) {
    let rules = |algorithm: &str| {
        let limit = format!("unit: hour, requests_per_unit: 1, algorithm: {algorithm}");
        format!("descriptors:\n- {{key: a, rate_limit: {{{limit}}}}}\n")
    };
    let desk = Desk::new(store, &rules("fixed_window"));
    for algorithm in ["fixed_window", "sliding_window", "token_bucket"] {
        desk.load(&rules(algorithm));
        assert_eq!([desk.passes(&["a"]).await, desk.passes(&["a"]).await], [true, false]);
    }
    desk.load(&rules("sliding_window"));
    assert!(!desk.passes(&["a"]).await, "and finds its counter again");
}

async fn the_recipe_for_logins<S: Store>(store: S) {
    let limit =
        "{unit: minute, unit_multiplier: 15, requests_per_unit: 5, algorithm: sliding_window}";
    let rules = format!(
        "all_or_nothing: true
descriptors:
- {{key: user, rate_limit: {limit}}}
- {{key: remote_address, rate_limit: {limit}}}
"
    );
    let desk = Desk::new(store, &rules);
    let attempt = ["user", "remote_address"];
    for _ in 0..4 {
        assert!(desk.passes(&attempt).await);
    }
    // A login that succeeds does not count.
    for _ in 0..3 {
        assert!(desk.passes(&attempt).await);
        assert!(desk.passes(&["user-1", "remote_address-1"]).await);
    }
    assert!(desk.passes(&attempt).await);
    // Hammering neither passes nor prolongs the wait.
    let wait = desk.ask(&attempt).await.statuses[0].duration_until_reset.unwrap().seconds;
    for _ in 0..50 {
        assert!(!desk.passes(&attempt).await);
    }
    desk.clock.advance(Duration::from_secs(wait as u64));
    assert!(desk.passes(&attempt).await);
}

async fn more_hits_than_ever_fit<S: Store>(store: S) {
    let desk = Desk::new(store, TOGETHER);
    for key in ["one", "two", "five"] {
        for hits in ["6", "4294967296", "18446744073709551615"] {
            let answer = desk.ask(&[&format!("{key}*{hits}")]).await;
            assert_eq!(answer.overall_code, 2, "{key} {hits}");
            let reset = answer.statuses[0].duration_until_reset.unwrap().seconds;
            assert!((1..=3600).contains(&reset), "{key} {hits}: {reset}");
        }
        assert!(desk.passes(&[key]).await, "{key}: nothing was spent");
    }
}

//! What was decided, by rule and by request.

use tidegate::app::Core;
use tidegate::clock::Clock;
use tidegate::limiter::{Direction, Request, Terms};
use tidegate::rules::Entry;
use tidegate::settings::Settings;
use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::telemetry::Call;
use tidegate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::wire::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry as PbEntry;
use tidegate::wire::pb::envoy::service::ratelimit::v3::RateLimitRequest;

use super::{core_with, load, samples};

const RULES: &str = "domain: a.b
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
- key: tried
  shadow_mode: true
  rate_limit: {unit: year, requests_per_unit: 0}
- key: free
  rate_limit: {unlimited: true}
- key: 'odd:key'
  rate_limit: {unit: year, requests_per_unit: 2}
- key: named
  value_to_metric: true
  rate_limit: {unit: year, requests_per_unit: 2}
";

fn core(environment: &[(&str, &str)]) -> Core<MemoryStore> {
    let core = core_with(environment);
    load(&core, RULES);
    core
}

async fn hit(core: &Core<MemoryStore>, key: &str, terms: Terms) {
    let mut request = Request::new("a.b", 1);
    request.push([Entry { key, value: "x" }], terms);
    core.front.service.check(&request, &mut Call::unheard()).await.unwrap();
}

async fn ask(core: &Core<MemoryStore>, domain: &str, key: &str) -> bool {
    ask_for(core, (domain, key), "x").await
}

/// Whether there was a decision.
async fn ask_for(core: &Core<MemoryStore>, (domain, key): (&str, &str), value: &str) -> bool {
    let entries = vec![PbEntry { key: key.to_owned(), value: value.to_owned() }];
    let request = RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: vec![RateLimitDescriptor { entries, ..Default::default() }],
        hits_addend: 0,
    };
    core.front.answer(&request).await.is_ok()
}

/// The series of a family that are not zero: labels and value.
fn family(core: &Core<MemoryStore>, name: &str) -> Vec<(String, f64)> {
    let own = samples(core).into_iter().filter_map(|(series, value)| {
        let labels = series.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}')?;
        (value > 0.0).then(|| (labels.to_owned(), value))
    });
    own.collect()
}

fn ruling(domain: &str, rule: &str, outcome: &str) -> String {
    format!("domain=\"{domain}\",rule=\"{rule}\",outcome=\"{outcome}\"")
}

const DECISIONS: &str = "tidegate_decisions_total";

#[tokio::test]
async fn decisions_are_counted_by_rule_and_outcome() {
    let core = core(&[]);
    for _ in 0..3 {
        hit(&core, "user", Terms::default()).await;
        hit(&core, "tried", Terms::default()).await;
    }
    hit(&core, "user", Terms { direction: Direction::GiveBack, ..Terms::default() }).await;
    hit(&core, "free", Terms::default()).await;
    hit(&core, "odd:key", Terms::default()).await;
    hit(&core, "named", Terms::default()).await;
    hit(&core, "none", Terms::default()).await;
    let of = |key: &str, outcome| ruling("a.b", &format!("a.b.{key}"), outcome);
    let expected = [
        (ruling("", "", "unlimited"), 1.0),
        (of("user", "ok"), 2.0),
        (of("user", "over_limit"), 1.0),
        (of("user", "given_back"), 1.0),
        (of("tried", "shadow"), 3.0),
        (of("free", "unlimited"), 1.0),
        (of("odd:key", "ok"), 1.0),
        // Values of requests are not told.
        (of("named", "ok"), 1.0),
    ];
    assert_eq!(family(&core, DECISIONS), expected);

    // What a rule came to survives a reload for as long as there is such a rule.
    load(&core, &RULES.replace("tried", "others"));
    hit(&core, "user", Terms::default()).await;
    let after = family(&core, DECISIONS);
    assert!(after.contains(&(of("user", "over_limit"), 2.0)), "{after:?}");
    assert!(!after.iter().any(|(labels, _)| labels.contains("tried")), "{after:?}");
}

#[tokio::test]
async fn rules_beyond_the_bound_share_a_series() {
    let core = core(&[("TIDEGATE_MAX_METRIC_RULES", "1")]);
    for key in ["user", "free", "odd:key", "named", "named"] {
        hit(&core, key, Terms::default()).await;
    }
    let rest = "tidegate_overflow";
    let expected = [
        (ruling("a.b", "a.b.user", "ok"), 1.0),
        (ruling(rest, rest, "ok"), 3.0),
        (ruling(rest, rest, "unlimited"), 1.0),
    ];
    assert_eq!(family(&core, DECISIONS), expected);
}

#[tokio::test]
async fn shadow_mode_of_the_process_is_told() {
    let core = core(&[("SHADOW_MODE", "true")]);
    for _ in 0..3 {
        assert!(ask(&core, "a.b", "user").await);
    }
    let expected =
        [(ruling("a.b", "a.b.user", "ok"), 2.0), (ruling("a.b", "a.b.user", "shadow"), 1.0)];
    assert_eq!(family(&core, DECISIONS), expected);
    let expected = [("outcome=\"ok\"".to_owned(), 2.0), ("outcome=\"shadowed\"".to_owned(), 1.0)];
    assert_eq!(family(&core, "tidegate_requests_total"), expected);
}

#[tokio::test]
async fn requests_are_counted_once_by_what_became_of_them() {
    let core = core(&[]);
    for key in ["user", "user", "user", "tried", "free"] {
        assert!(ask(&core, "a.b", key).await);
    }
    assert!(!ask(&core, "", "user").await);
    let nothing = RateLimitRequest { domain: "a.b".to_owned(), ..Default::default() };
    assert!(core.front.answer(&nothing).await.is_err());
    let outcome = |name: &str, value| (format!("outcome=\"{name}\""), value);
    let expected = [
        outcome("ok", 3.0),
        outcome("over_limit", 1.0),
        outcome("shadowed", 1.0),
        outcome("invalid", 2.0),
    ];
    assert_eq!(family(&core, "tidegate_requests_total"), expected);
    let count = samples(&core);
    let count = count.iter().find(|(name, _)| name == "tidegate_decision_duration_seconds_count");
    assert_eq!(count.unwrap().1, 7.0);
}

#[tokio::test]
async fn what_the_store_could_not_say_is_told_by_cause() {
    let settings = Settings::from_lookup(&|_| None, &[]).unwrap();
    let store = MemoryStore::new(MemoryConfig { max_counters: 1 });
    let core = Core::new(&settings, store, Clock::System);
    load(&core, RULES);
    // Shards are full one by one.
    let mut failed = 0;
    for user in 0..1000 {
        failed += u64::from(!ask_for(&core, ("a.b", "user"), &user.to_string()).await);
    }
    assert!(failed > 0);
    let unknown = ruling("a.b", "a.b.user", "unknown");
    let ok = ruling("a.b", "a.b.user", "ok");
    let expected = [(ok, 1000.0 - failed as f64), (unknown, failed as f64)];
    assert_eq!(family(&core, DECISIONS), expected);
    let requests = family(&core, "tidegate_requests_total");
    assert!(requests.contains(&("outcome=\"full\"".to_owned(), failed as f64)), "{requests:?}");
    let nobody = ("source=\"nobody\"".to_owned(), failed as f64);
    assert!(family(&core, "tidegate_counts_total").contains(&nobody));
}

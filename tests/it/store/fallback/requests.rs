//! Whole requests of which the store cannot say everything.

use http::{HeaderMap, HeaderValue};
use tidegate::app::Core;
use tidegate::rules::SourceFile;
use tidegate::server::Answered;
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::telemetry::Call;
use tidegate::wire::Failure;
use tidegate::wire::GRPC_TIMEOUT;
use tidegate::wire::json::Json;
use tidegate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;

use super::*;

const RULES: &str = "
domain: d
descriptors:
- {key: none, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: some, rate_limit: {unit: hour, requests_per_unit: 10}}
- {key: shadow, shadow_mode: true, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: quota, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: xx, rate_limit: {unit: hour, requests_per_unit: 10}}
- {key: xxquota, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 10}}
- {key: xxallow, rate_limit: {unit: hour, requests_per_unit: 10, on_store_error: allow}}
- {key: xxdeny, rate_limit: {unit: hour, requests_per_unit: 10, on_store_error: deny}}
- {key: xxlocal, rate_limit: {unit: hour, requests_per_unit: 10, on_store_error: local}}
";

/// The answer with these settings, while the store does not know what begins with `xx`.
async fn ask(env: &[(&str, &str)], keys: &[&str]) -> Result<Answered, Failure> {
    let lookup =
        |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let settings = Settings::from_lookup(&lookup, &[]).unwrap();
    let flaky = Flaky::new();
    flaky.is(Mode::WithoutX);
    let clock = ManualClock::at(START);
    let store = falling_back_at(&flaky, 1, &clock);
    let core = Core::new(&settings, store, Clock::Manual(clock));
    let file = SourceFile { name: "rules.yaml".to_owned(), bytes: RULES.as_bytes().to_vec() };
    core.reloader.apply(Ok(FileSet { files: vec![file], warnings: Vec::new() }));
    assert_eq!(core.health.facts().rules.last_error, None);
    let descriptor = |key: &&str| match key.split_once('=') {
        Some((key, limit)) => format!(
            r#"{{"entries":[{{"key":"{key}"}}],"limit":{{"requestsPerUnit":{limit},"unit":"HOUR"}}}}"#
        ),
        None => format!(r#"{{"entries":[{{"key":"{key}"}}]}}"#),
    };
    let descriptors: Vec<_> = keys.iter().map(descriptor).collect();
    let text = format!(r#"{{"domain":"d","descriptors":[{}]}}"#, descriptors.join(","));
    let message = Json::new().unwrap().request(text.as_bytes()).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("1S"));
    let mut call = Call::begin(&headers, &core.front.service.observer.tracer);
    let answer = core.front.answer_call(&message, &mut call).await;
    let page = {
        let mut page = core.front.service.metrics.page();
        core.front.service.metrics.render(&mut page);
        page.render()
    };
    for (policy, key) in [("allow", "xxallow"), ("deny", "xxdeny"), ("local", "xxlocal")] {
        let count = u64::from(answer.is_ok() && keys.contains(&key) && env.is_empty());
        let line = format!("tidegate_fallback_decisions_total{{policy=\"{policy}\"}} {count}\n");
        assert!(!env.is_empty() || page.contains(&line), "{line}{page}");
    }
    answer
}

/// The overall code, those of the descriptors, and who decided; `None` for an error.
type Told = Option<(Code, Vec<Code>, Option<String>)>;

fn told(answer: Result<Answered, Failure>) -> Told {
    let answer = answer.ok()?;
    let codes = answer.message.statuses.iter().map(|status| status.code());
    let by = answer.decided_by.map(|value| value.to_str().unwrap().to_owned());
    Some((answer.message.overall_code(), codes.collect(), by))
}

#[tokio::test]
async fn a_definite_refusal_wins_over_a_failure() {
    use Code::{Ok, OverLimit, Unknown};
    let check = async |keys: &[&str], expected: Told| {
        assert_eq!(told(ask(&[], keys).await), expected, "{keys:?}");
    };
    check(&["some"], Some((Ok, vec![Ok], None))).await;
    check(&["xx"], None).await;
    check(&["some", "xx"], None).await;
    check(&["none", "xx"], Some((OverLimit, vec![OverLimit, Unknown], None))).await;
    check(&["xx", "some", "none"], Some((OverLimit, vec![Unknown, Ok, OverLimit], None))).await;
    // What does not refuse the request is no refusal of it.
    check(&["shadow", "xx"], None).await;
    // Quotas refuse together: one that is unknown may have room.
    check(&["quota", "xxquota"], None).await;
    check(&["quota", "xx"], Some((OverLimit, vec![OverLimit, Unknown], None))).await;
    check(
        &["quota", "none", "xxquota"],
        Some((OverLimit, vec![OverLimit, OverLimit, Unknown], None)),
    )
    .await;
}

#[tokio::test]
async fn who_decided_is_told() {
    use Code::{Ok, OverLimit};
    let check = async |keys: &[&str], overall: Code, by: &str| {
        let (code, _, decided_by) = told(ask(&[], keys).await).expect("a decision");
        assert_eq!((code, decided_by.as_deref()), (overall, Some(by)), "{keys:?}");
    };
    check(&["xxallow"], Ok, "fallback; policy=allow").await;
    check(&["xxlocal"], Ok, "fallback; policy=local").await;
    check(&["some", "xxdeny"], OverLimit, "fallback; policy=deny").await;
    check(&["xxlocal", "xxallow", "xxlocal"], Ok, "fallback; policy=local,allow").await;
    // A refusal without the store is one all the same.
    check(&["xx", "xxdeny"], OverLimit, "fallback; policy=deny").await;
}

#[tokio::test]
async fn the_process_says_what_limits_do_not() {
    let check = async |policy, keys: &[&str], expected: Option<Code>| {
        let answer = told(ask(&[("TIDEGATE_ON_STORE_ERROR", policy)], keys).await);
        assert_eq!(answer.map(|(code, ..)| code), expected, "{policy} {keys:?}");
    };
    check("error", &["xx"], None).await;
    check("allow", &["xx"], Some(Code::Ok)).await;
    check("deny", &["xx"], Some(Code::OverLimit)).await;
    check("deny", &["xxallow"], Some(Code::Ok)).await;
    // Also for limits that requests bring.
    check("error", &["xx=5"], None).await;
    check("allow", &["xx=5"], Some(Code::Ok)).await;
    check("deny", &["xx=5"], Some(Code::OverLimit)).await;
    check("local", &["xx=0"], Some(Code::OverLimit)).await;
}

#[tokio::test]
async fn callers_learn_the_kind_of_a_failure_only() {
    let failure = ask(&[], &["xx"]).await.unwrap_err();
    assert!(failure.to_string().contains("gone"), "{failure}");
    assert_eq!(failure.told(), "the store is unavailable");
    let status = tonic::Status::from(failure);
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::Unavailable, "the store is unavailable")
    );
}

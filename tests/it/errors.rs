//! Errors and panics reach Sentry, each once and without what is nobody's business.

use std::process::Command;
use std::sync::Arc;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tidegate::app::Core;
use tidegate::clock::Clock;
use tidegate::limiter::Batch;
use tidegate::rules::SourceFile;
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::store::{Counts, Store, StoreError};
use tidegate::telemetry::{Call, Errors, REQUEST_ID, panics};
use tidegate::wire::Failure;
use tidegate::wire::json::Json;

use crate::support::clients::Client;
use crate::support::process::{Setup, Tidegate, program};
use crate::support::redis::RedisServer;
use crate::support::sentry::Sentry;

const RULES: &str = "
domain: shop
descriptors:
- {key: user, rate_limit: {unit: hour, requests_per_unit: 2}}
";

/// What no event may hold.
const MARK: &str = "MARKED";

fn watched(sentry: &Sentry) -> Setup {
    Tidegate::with_rules(RULES)
        .env("SENTRY_DSN", sentry.dsn())
        .env("SENTRY_ENVIRONMENT", "staging")
        .env("SENTRY_RELEASE", "tidegate@test")
        .env("SENTRY_TRACES_SAMPLE_RATE", "0")
        .env("TIDEGATE_WORKERS", "1")
}

#[track_caller]
fn assert_nothing_marked(sentry: &Sentry) {
    // The key of the DSN stands in no body either.
    let text = sentry.text();
    assert!(!text.contains(MARK), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_rules_are_one_event_even_if_the_process_ends_at_once() {
    let sentry = Sentry::start().await;
    let mut tidegate = watched(&sentry).start();
    let broken = format!("domain: shop\ndescriptors:\n- {{key: a, {MARK}: 1}}\n- {{{MARK}: 2}}\n");
    tidegate.write_rules("rules.yaml", &broken);
    tidegate.wait_for_event("rules not loaded");
    tidegate.terminate();
    assert!(tidegate.wait().success());
    let events = sentry.events();
    assert_eq!(events.len(), 1, "{events:#?}");
    let event = &events[0];
    assert_eq!(event["message"], "rules not loaded");
    assert_eq!(event["environment"], "staging");
    assert_eq!(event["release"], "tidegate@test");
    let stack = event.to_string();
    assert!(stack.contains("tidegate::sources::reload"), "a stack: {event:#}");
    assert_nothing_marked(&sentry);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_one_event_and_a_refusal_is_none() {
    let sentry = Sentry::start().await;
    let mut redis = RedisServer::start_tcp();
    let _: () = redis.command(&["CONFIG", "SET", "requirepass", "MARKEDPASSWORD"]);
    let tidegate = watched(&sentry)
        .redis(&redis)
        .env("REDIS_AUTH", "MARKEDPASSWORD")
        .env("TIDEGATE_DECISION_TIMEOUT", "50ms")
        .start();
    let client = Client::connect(tidegate.grpc()).await;
    for expected in [Code::Ok, Code::Ok, Code::OverLimit] {
        assert_eq!(client.hit("user", "MARKEDUSER").await.unwrap(), expected);
    }
    redis.kill();
    for _ in 0..50 {
        client.hit("user", "MARKEDUSER").await.unwrap_err();
    }
    let event = sentry.wait_for(|event| event["message"] == "the store does not answer");
    assert_eq!(event["contexts"]["line"]["store"], "redis");
    for _ in 0..50 {
        client.hit("user", "MARKEDUSER").await.unwrap_err();
    }
    tidegate.terminate();
    tidegate.wait_for_event("stopped");
    drop(tidegate);
    assert_eq!(sentry.events().len(), 1, "{:#?}", sentry.events());
    assert_nothing_marked(&sentry);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentry_that_is_away_or_silent_changes_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let free_port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    for port in [silent_port, free_port] {
        let mut tidegate = Tidegate::with_rules(RULES)
            .env("SENTRY_DSN", format!("http://key@127.0.0.1:{port}/7"))
            .start();
        tidegate.write_rules("rules.yaml", "domain: [");
        tidegate.wait_for_event("rules not loaded");
        let client = Client::connect(tidegate.grpc()).await;
        assert_eq!(client.hit("user", "a").await.unwrap(), Code::Ok);
        drop(client);
        tidegate.terminate();
        assert!(tidegate.wait().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampled_call_is_a_transaction_with_its_stages() {
    let sentry = Sentry::start().await;
    let check = async |rate: f32, expected: usize| {
        let mut tidegate = watched(&sentry).env("SENTRY_TRACES_SAMPLE_RATE", rate).start();
        let client = Client::connect(tidegate.grpc()).await;
        for _ in 0..3 {
            client.hit("user", "MARKEDUSER").await.unwrap();
        }
        drop(client);
        tidegate.terminate();
        assert!(tidegate.wait().success());
        assert_eq!(sentry.items("transaction").len(), expected, "{rate}");
    };
    check(0.0, 0).await;
    check(1.0, 3).await;
    let sent = sentry.items("transaction");
    let outcome = |one: &Value| one["contexts"]["trace"]["data"]["outcome"].clone();
    assert_eq!(sent.iter().map(outcome).collect::<Vec<_>>(), ["ok", "ok", "over_limit"]);
    for one in &sent {
        assert_eq!(one["transaction"], "ShouldRateLimit");
        assert_eq!(one["contexts"]["trace"]["data"]["domain"], "shop");
        assert_eq!(one["contexts"]["trace"]["data"]["rules"], json!(["shop.user"]));
        let spans = one["spans"].as_array().unwrap();
        let stages: Vec<_> = spans.iter().map(|span| span["op"].clone()).collect();
        assert_eq!(stages, ["decode", "plan", "store", "decide"]);
    }
    assert_nothing_marked(&sentry);
}

#[test]
fn a_text_that_is_no_dsn_is_refused_and_not_shown() {
    let output = program().env("SENTRY_DSN", "https://MARKEDKEY/no").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("SENTRY_DSN") && !text.contains(MARK), "{text}");
}

/// Panics when it shall count.
struct Panicking;

impl Store for Panicking {
    async fn apply(&self, batch: &Batch) -> Counts {
        tokio::task::yield_now().await;
        let key = batch.operations().first().map(|first| batch.key(first));
        panic!("a key of mine: {}", String::from_utf8_lossy(key.unwrap_or_default()));
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

/// Names the DSN to the process that shall panic.
const CHILD: &str = "PANICKING_CHILD";

/// The hook is that of a whole process, so that this test has one of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_one_call_and_is_told_with_its_stack_and_whose_call_it_was() {
    if let Ok(dsn) = std::env::var(CHILD) {
        return panic_away(dsn).await;
    }
    let sentry = Sentry::start().await;
    let name = "errors::a_panic_ends_one_call_and_is_told_with_its_stack_and_whose_call_it_was";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, sentry.dsn())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let event = sentry.wait_for(|event| event["level"] == "fatal");
    assert_eq!(sentry.events().len(), 1, "{:#?}", sentry.events());
    assert_eq!(event["tags"]["request_id"], "from-the-caller");
    assert_eq!(event["tags"]["domain"], "shop");
    let panic = &event["exception"]["values"][0];
    assert_eq!(panic["type"], "panic");
    let told = panic["value"].as_str().unwrap();
    assert!(told.starts_with("(text held back) at tests/it/errors.rs:"), "{told}");
    assert!(panic["stacktrace"].to_string().contains("Panicking"), "{panic:#}");
    assert_nothing_marked(&sentry);
}

async fn panic_away(dsn: String) {
    let settings =
        Settings::from_lookup(&|name| (name == "SENTRY_DSN").then(|| dsn.clone()), &[]).unwrap();
    let errors = Errors::open(&settings.errors.clone().unwrap());
    panics::install();
    let core = Core::new(&settings, Panicking, Clock::System);
    let file = SourceFile { name: "rules.yaml".to_owned(), bytes: RULES.as_bytes().to_vec() };
    core.reloader.apply(Ok(FileSet { files: vec![file], warnings: Vec::new() }));
    let text =
        r#"{"domain":"shop","descriptors":[{"entries":[{"key":"user","value":"MARKEDUSER"}]}]}"#;
    let message = Json::new().unwrap().request(text.as_bytes()).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(REQUEST_ID, HeaderValue::from_static("from-the-caller"));
    for _ in 0..3 {
        let mut call = Call::begin(&headers, &core.front.service.observer.tracer);
        let failed = core.front.answer_call(&message, &mut call).await.unwrap_err();
        assert_eq!(failed, Failure::Panicked);
    }
    // Nothing is under way any more.
    Arc::clone(&core.front.activity).quiet().await;
    errors.finish();
}

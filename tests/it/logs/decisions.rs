//! The decision log.

use serde_json::{Value, json};

use crate::support::clients::{Client, get, send};
use crate::support::process::{Setup, Tidegate};

use super::{RULES, told};

const KEY: &str = "0123456789abcdef";

fn setup(choice: &str) -> Setup {
    Tidegate::with_rules(RULES)
        .env("TIDEGATE_DECISION_LOG", choice)
        .env("TIDEGATE_LOG_HASH_KEY", KEY)
        .env("LOG_LEVEL", "error")
}

/// `event` without what differs from run to run, once that has been looked at.
fn settled(mut event: Value) -> Value {
    assert!(event["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{event}");
    assert!(event["reset_seconds"].is_null() || event["reset_seconds"].as_u64() > Some(0));
    for name in ["timestamp", "duration_ms", "reset_seconds"] {
        event.as_object_mut().unwrap().remove(name);
    }
    event
}

#[tokio::test]
async fn one_line_says_why_a_request_was_refused() {
    let mut tidegate = setup("refused,shadow").env("LOG_LEVEL", "info").start();
    let client = Client::connect(tidegate.grpc()).await;
    for _ in 0..3 {
        let id = [("x-request-id", "caller-7")];
        client.hit_with(&[("user", "alice")], &id).await.unwrap();
    }
    client.hit_with(&[("seen", "bob")], &[("x-request-id", "caller-8")]).await.unwrap();
    let events = told(&mut tidegate, "decision");
    let events: Vec<Value> = events.into_iter().map(settled).collect();
    // printf alice | openssl dgst -sha256 -hmac 0123456789abcdef
    let refused = json!({
        "level": "INFO", "message": "decision", "outcome": "refused", "domain": "shop",
        "rule": "shop.user", "descriptors": "user=#fdbf8b1cacd3d578", "limit": 2, "unit": "YEAR",
        "algorithm": "fixed_window", "hits": 1, "remaining": 0, "decided_by": "store",
        "request_id": "caller-7",
    });
    let shadow = json!({
        "level": "INFO", "message": "decision", "outcome": "shadow", "domain": "shop",
        "rule": "shop.seen", "descriptors": "seen=#6f32117ae2bc2046", "limit": 0, "unit": "DAY",
        "algorithm": "fixed_window", "hits": 1, "remaining": 0, "decided_by": "store",
        "request_id": "caller-8",
    });
    assert_eq!(events, [refused, shadow]);
}

/// The outcomes that are written of one request that passes, two that do not, and one in shadow
/// mode, whatever the level.
async fn outcomes(choice: &str) -> Vec<String> {
    let mut tidegate = setup(choice).env("LOG_LEVEL", "info").start();
    let client = Client::connect(tidegate.grpc()).await;
    // The rest of the log is not needed, decisions are.
    send(tidegate.debug(), "POST /log?level=error", &[], b"").unwrap();
    for key in ["user", "closed", "closed", "seen"] {
        client.hit(key, "a").await.unwrap();
    }
    client.ask(crate::support::clients::request("", [])).await.expect_err("no domain");
    let outcome = |event: &Value| event["outcome"].as_str().unwrap().to_owned();
    told(&mut tidegate, "decision").iter().map(outcome).collect()
}

#[tokio::test]
async fn what_is_written_is_what_was_chosen() {
    let check = async |choice, expected: &[&str]| {
        assert_eq!(outcomes(choice).await, expected, "{choice}");
    };
    check("off", &[]).await;
    check("refused", &["refused", "refused"]).await;
    check("all,passed:0", &["refused", "refused", "shadow", "error"]).await;
    check("all", &["passed", "refused", "refused", "shadow", "error"]).await;
}

#[tokio::test]
async fn no_more_lines_are_written_in_a_second_than_is_said_and_the_rest_is_counted() {
    let mut tidegate = setup("refused")
        .env("LOG_LEVEL", "info")
        .env("TIDEGATE_DECISION_LOG_MAX_PER_SECOND", 2)
        .start();
    let client = Client::connect(tidegate.grpc()).await;
    for _ in 0..500 {
        client.hit("closed", "a").await.unwrap();
    }
    let held = tidegate.metric("tidegate_decision_log_held_back_total");
    let lines = told(&mut tidegate, "decision");
    assert_eq!(lines.len() as f64 + held, 500.0);
    assert!(held > 0.0);
    let told: u64 = lines.iter().filter_map(|line| line["held_back"].as_u64()).sum();
    assert!(told as f64 <= held);
}

#[tokio::test]
async fn fields_and_values_are_those_that_were_asked_for() {
    let lines = async |values: &str, fields: &str| {
        let mut tidegate = setup("refused")
            .env("LOG_LEVEL", "info")
            .env("TIDEGATE_LOG_VALUES", values)
            .env("TIDEGATE_DECISION_LOG_FIELDS", fields)
            .start();
        let client = Client::connect(tidegate.grpc()).await;
        client.hit("closed", "alice\n\"x\"").await.unwrap();
        let mut line = told(&mut tidegate, "decision").remove(0);
        let fields = line.as_object_mut().unwrap();
        for name in ["timestamp", "level", "message", "outcome"] {
            assert!(fields.remove(name).is_some(), "{name}");
        }
        line
    };
    let clear = json!({"rule": "shop.closed", "descriptors": "closed=alice\\n\"x\""});
    assert_eq!(lines("clear", "rule,descriptors").await, clear);
    assert_eq!(lines("none", "descriptors").await, json!({"descriptors": "closed"}));
}

#[tokio::test]
async fn who_stood_in_for_the_store_is_told() {
    let line = async |policy: &str| {
        let tidegate = setup("fallback,error").env("LOG_LEVEL", "info");
        let tidegate =
            tidegate.env("REDIS_URL", "127.0.0.1:1").env("TIDEGATE_ON_STORE_ERROR", policy);
        // Nobody counts replicas while the store is away.
        let tidegate = tidegate.env("TIDEGATE_REPLICAS", 1);
        let mut tidegate = tidegate.start_unready();
        let client = Client::connect(tidegate.grpc()).await;
        let _ = client.hit("user", "a").await;
        told(&mut tidegate, "decision").remove(0)
    };
    let passed = line("local").await;
    let fields = ["outcome", "decided_by", "policy"].map(|name| passed[name].clone());
    assert_eq!(fields, ["passed", "fallback", "local"], "{passed}");
    let refused = line("deny").await;
    let fields = ["outcome", "decided_by", "policy"].map(|name| refused[name].clone());
    assert_eq!(fields, ["refused", "fallback", "deny"], "{refused}");
    let error = line("error").await;
    assert_eq!([&error["outcome"], &error["domain"]], ["error", "shop"], "{error}");
    assert!(error["reason"].as_str().is_some_and(|reason| reason.contains("store")), "{error}");
}

#[tokio::test]
async fn it_is_switched_on_while_the_process_runs() {
    let mut tidegate = setup("off").env("LOG_LEVEL", "info").start();
    let client = Client::connect(tidegate.grpc()).await;
    client.hit("closed", "a").await.unwrap();
    let answer = send(tidegate.debug(), "PUT /log?decisions=refused,passed:0.5", &[], b"").unwrap();
    assert_eq!(answer.text(), "level: info\ndecisions: refused,passed:0.5\n");
    client.hit("closed", "a").await.unwrap();
    let answer = send(tidegate.debug(), "PUT /log?decisions=some", &[], b"").unwrap();
    assert_eq!(answer.status, 400);
    send(tidegate.debug(), "PUT /log?decisions=off", &[], b"").unwrap();
    client.hit("closed", "a").await.unwrap();
    assert!(get(tidegate.debug(), "/log", &[]).unwrap().text().ends_with("decisions: off\n"));
    assert_eq!(told(&mut tidegate, "decision").len(), 1);
}

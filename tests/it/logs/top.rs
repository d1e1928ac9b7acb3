//! What is refused most.

use serde_json::Value;

use crate::support::clients::{Client, get};
use crate::support::process::{Setup, Tidegate};

use super::RULES;

/// What is told after alice was refused three times, bob once, and others passed.
async fn told(setup: Setup) -> (String, Value) {
    let tidegate = setup.start();
    let client = Client::connect(tidegate.grpc()).await;
    for (key, value) in [
        ("closed", "bob"),
        ("closed", "alice"),
        ("closed", "alice"),
        ("closed", "alice"),
        ("user", "carol"),
        ("seen", "dave"),
    ] {
        client.hit(key, value).await.unwrap();
    }
    let json = get(tidegate.debug(), "/top", &[("accept", "application/json")]).unwrap();
    assert_eq!(json.header("content-type"), Some("application/json"));
    let text = get(tidegate.debug(), "/top", &[]).unwrap();
    assert!(text.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    (text.text(), serde_json::from_slice(&json.body).expect("JSON"))
}

#[tokio::test]
async fn who_is_refused_most_comes_first() {
    let setup = Tidegate::with_rules(RULES).env("TIDEGATE_LOG_VALUES", "clear");
    let (text, json) = told(setup).await;
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    // A minute may have passed meanwhile, and counts been halved.
    let what: Vec<_> = lines.iter().map(|line| line.splitn(3, ' ').last().unwrap()).collect();
    assert_eq!(what, ["shop.closed closed=alice", "shop.closed closed=bob"], "{text}");
    assert_eq!(json["top"][0]["rule"], "shop.closed");
    assert_eq!(json["top"][0]["values"], "closed=alice");
    assert!(json["top"][0]["count"].as_u64() >= json["top"][1]["count"].as_u64());
    assert_eq!(json["top"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn values_are_not_shown_unless_that_is_asked_for() {
    let (text, json) = told(Tidegate::with_rules(RULES)).await;
    for name in ["alice", "bob"] {
        assert!(!text.contains(name) && !json.to_string().contains(name), "{text}");
    }
    assert!(json["top"][0]["values"].as_str().unwrap().starts_with("closed=#"));
    let (text, _) = told(Tidegate::with_rules(RULES).env("TIDEGATE_LOG_VALUES", "none")).await;
    assert!(text.ends_with(" shop.closed closed\n"), "{text}");
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let (text, json) = told(Tidegate::with_rules(RULES).env("TIDEGATE_TOP_REFUSED", 0)).await;
    assert!(text.contains("TIDEGATE_TOP_REFUSED"), "{text}");
    assert_eq!((&json["is_on"], json["top"].as_array().unwrap().len()), (&Value::from(false), 0));
}

//! No value of a request and no secret is in the log, at any level.

use crate::support::clients::{Client, get, post, send};
use crate::support::process::Tidegate;
use crate::support::redis::RedisServer;

use super::RULES;

/// In every value and every secret.
const MARK: &str = "m4rk3d";

/// In the caller's name for a request, which is told.
const ID: &str = "caller-7";

#[tokio::test]
async fn no_value_and_no_secret_is_in_the_log_at_any_level() {
    const PASSWORD: &str = "m4rk3d-redis-password";
    let redis = RedisServer::start_guarded(PASSWORD);
    let secret = |what: &str| format!("{MARK}-{what}-0123");
    let mut tidegate = Tidegate::with_rules(RULES)
        .env("REDIS_URL", format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port()))
        .env("LOG_LEVEL", "trace")
        .env("TIDEGATE_DECISION_LOG", "all")
        .env("TIDEGATE_DECISION_LOG_MAX_PER_SECOND", 100_000)
        .env("TIDEGATE_LOG_HASH_KEY", secret("hash-key"))
        .env("TIDEGATE_ADMIN_TOKEN", secret("token"))
        .start();
    let bearer = format!("Bearer {}", secret("token"));
    let client = Client::connect(tidegate.grpc()).await;
    let headers = [("x-request-id", ID), ("authorization", &*bearer)];
    for key in ["user", "closed", "seen", "bucket", "nothing"] {
        let value = secret(key);
        for _ in 0..3 {
            client.hit_with(&[(key, &value), ("more", &value)], &headers).await.unwrap();
            client.hit_with(&[(key, &value)], &headers).await.unwrap();
        }
        let hit = format!(
            r#"{{"domain":"shop","descriptors":[{{"entries":[{{"key":"{key}","value":"{value}"}}]}}]}}"#
        );
        send(tidegate.http(), "POST /json", &headers, hit.as_bytes()).unwrap();
    }
    // Requests that fail, each with a value where somebody might tell of it.
    for body in [
        MARK.to_owned(),
        format!(r#"{{"domain":"shop","hitsAddend":"{MARK}"}}"#),
        format!(r#"{{"domain":"shop","{MARK}":1}}"#),
        format!(r#"{{"domain":"shop","descriptors":["{MARK}"]}}"#),
        format!(r#"{{"domain":"shop","descriptors":[{{"limit":{{"unit":"{MARK}"}}}}]}}"#),
    ] {
        assert_eq!(post(tidegate.http(), "/json", body.as_bytes()).unwrap().status, 400, "{body}");
    }
    let long = secret("long").repeat(10_000);
    client.hit_with(&[("user", &long)], &headers).await.expect_err("too long");
    client.send_bytes(MARK.as_bytes().to_vec()).await.expect_err("no message");
    for path in ["/stats", "/top", "/log"] {
        get(tidegate.debug(), path, &[("authorization", &bearer)]).unwrap();
    }
    let query = format!("POST /log?level={MARK}");
    send(tidegate.debug(), &query, &[("authorization", &bearer)], b"").unwrap();

    tidegate.signal("INT");
    tidegate.wait();
    let log = tidegate.log();
    assert!(log.contains(ID) && log.contains("\"decision\"") && log.contains("DEBUG"), "{log}");
    let line = log.lines().find(|line| line.contains(MARK));
    assert_eq!(line, None);
}

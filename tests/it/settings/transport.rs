//! Bounds of connections and of requests under way, and the token.

use std::time::Duration;

use tidegate::server::Transport;
use tidegate::settings::{AdminToken, Settings};

use super::{errors, read};

fn good(environment: &[&str]) -> Settings {
    read(environment).unwrap_or_else(|e| panic!("{environment:?}: {e}"))
}

#[test]
fn the_defaults_are_those_of_the_listeners() {
    let settings = good(&[]);
    assert_eq!(settings.bounds.transport, Transport::default());
    assert_eq!(settings.bounds.max_decisions, 16_384);
    assert_eq!(settings.admin_token, None);
}

#[test]
fn every_bound_can_be_set() {
    let settings = good(&[
        "TIDEGATE_MAX_DECISIONS=7",
        "TIDEGATE_MAX_STREAMS=8",
        "TIDEGATE_MAX_HEADER_BYTES=9000",
        "TIDEGATE_MAX_PENDING_RESETS=10",
        "TIDEGATE_MAX_UNFINISHED_BYTES=2000000",
        "TIDEGATE_HANDSHAKE_TIMEOUT=1s",
        "TIDEGATE_REQUEST_TIMEOUT=2s",
        "TIDEGATE_WRITE_TIMEOUT=3s",
        "TIDEGATE_IDLE_TIMEOUT=4s",
        "TIDEGATE_KEEPALIVE_INTERVAL=5s",
        "TIDEGATE_KEEPALIVE_TIMEOUT=6s",
    ]);
    let seconds = Duration::from_secs;
    let expected = Transport {
        max_streams: 8,
        max_header_bytes: 9000,
        max_pending_resets: 10,
        max_unfinished_bytes: 2_000_000,
        handshake_timeout: seconds(1),
        request_timeout: seconds(2),
        write_timeout: seconds(3),
        idle_timeout: Some(seconds(4)),
        keepalive_interval: Some(seconds(5)),
        keepalive_timeout: seconds(6),
    };
    assert_eq!(settings.bounds.transport, expected);
    assert_eq!(settings.bounds.max_decisions, 7);
}

#[test]
fn nought_is_never_where_it_may_be() {
    let never =
        good(&["TIDEGATE_IDLE_TIMEOUT=0", "TIDEGATE_KEEPALIVE_INTERVAL=0"]).bounds.transport;
    assert_eq!((never.idle_timeout, never.keepalive_interval), (None, None));
    for name in [
        "TIDEGATE_MAX_DECISIONS",
        "TIDEGATE_MAX_STREAMS",
        "TIDEGATE_MAX_HEADER_BYTES",
        "TIDEGATE_MAX_PENDING_RESETS",
        "TIDEGATE_MAX_UNFINISHED_BYTES",
        "TIDEGATE_HANDSHAKE_TIMEOUT",
        "TIDEGATE_REQUEST_TIMEOUT",
        "TIDEGATE_WRITE_TIMEOUT",
        "TIDEGATE_KEEPALIVE_TIMEOUT",
    ] {
        let found = errors(&[&format!("{name}=0")]);
        assert!(found.len() == 1 && found[0].starts_with(name), "{name}: {found:?}");
    }
}

#[test]
fn a_token_is_given_or_in_a_file_and_never_shown() {
    const TOKEN: &str = "TIDEGATE_ADMIN_TOKEN=hunter2-hunter2-hunter2";
    let settings = good(&[TOKEN]);
    assert!(matches!(&settings.admin_token, Some(AdminToken::Text(_))));
    assert!(!format!("{settings:?}").contains("hunter2"));
    let settings = good(&["TIDEGATE_ADMIN_TOKEN_FILE=/token"]);
    assert_eq!(settings.admin_token, Some(AdminToken::File("/token".into())));
    assert_eq!(errors(&[TOKEN, "TIDEGATE_ADMIN_TOKEN_FILE=/token"]).len(), 1);
    for bad in ["", "hunter2", "hunter2 hunter2 hunter2", "hünter2-hünter2-hünter2"] {
        let found = errors(&[&format!("TIDEGATE_ADMIN_TOKEN={bad}")]);
        assert_eq!(found.len(), 1, "{bad}");
        assert!(!found[0].contains("nter2"), "{found:?}");
    }
}

//! Servers that go, come back, hang and lie.

use std::time::Duration;

use tidegate::health::Facts;
use tidegate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::Status;

use super::{both, config, follow, leaf, shop};
use crate::support::port::Port;
use crate::support::xds::Management;

#[tokio::test]
async fn rules_outlast_the_server_and_the_next_one_is_asked_afresh() {
    let (mut server, follower) = both(&[]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    stream.send("41", "a", &[shop(1)]).await;
    stream.request().await;
    // What the server sent last was refused: nothing may look like its acceptance.
    stream.send("42", "b", &[config("", vec![])]).await;
    assert!(stream.request().await.error_detail.is_some());
    let port = server.stop().await;
    let facts = follower.until(|facts| !facts.rules.xds.as_ref().unwrap().is_connected).await;
    assert!(facts.rules.xds.unwrap().fault.is_some());
    assert_eq!(follower.ask("shop", &[("user", "eve")]).await, Code::Ok);
    assert_eq!(follower.ask("shop", &[("user", "eve")]).await, Code::OverLimit);
    let mut server = Management::start_at(port).await;
    let mut stream = server.stream().await;
    let first = stream.request().await;
    assert_eq!((first.version_info.as_str(), first.response_nonce.as_str()), ("", ""));
    assert_eq!(first.error_detail, None);
    // Versions start over with the server; a refusal does not name one of the old stream.
    stream.send("1", "a", &[config("", vec![])]).await;
    let nack = stream.request().await;
    assert_eq!((nack.version_info.as_str(), nack.response_nonce.as_str()), ("", "a"));
    stream.send("1", "b", &[shop(9)]).await;
    let ack = stream.request().await;
    assert_eq!((ack.version_info.as_str(), ack.response_nonce.as_str()), ("1", "b"));
    assert_eq!(follower.limits(), ["shop.user: 9/YEAR"]);
    let facts = follower.core.health.facts();
    assert!(facts.rules.last_error.is_none() && facts.rules.xds.unwrap().is_connected);
}

#[tokio::test]
async fn the_same_rules_from_a_new_server_are_not_loaded_again() {
    let (mut server, follower) = both(&[]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    stream.send("8", "a", &[shop(5), config("b", vec![])]).await;
    stream.request().await;
    let mut server = Management::start_at(server.stop().await).await;
    let mut stream = server.stream().await;
    stream.request().await;
    stream.send("1", "a", &[config("b", vec![]), shop(5)]).await;
    assert_eq!(stream.request().await.version_info, "1");
    assert_eq!((follower.loads(), follower.xds().version.as_str()), ((1.0, 0.0), "1"));
}

#[tokio::test]
async fn a_server_that_comes_late_is_found() {
    let port = Port::free();
    let address = port.address();
    let follower = follow(address, &[]);
    let facts = follower.until(|facts| facts.rules.xds.as_ref().unwrap().fault.is_some()).await;
    let [rules, ..] = facts.components();
    assert!(rules.reason.contains(&address.to_string()), "{rules:?}");
    assert!(rules.reason.contains("it cannot be reached"), "{rules:?}");
    let mut server = Management::start_at(port).await;
    let mut stream = server.stream().await;
    stream.request().await;
    stream.send("1", "a", &[shop(5)]).await;
    stream.request().await;
    assert_eq!(follower.limits(), ["shop.user: 5/YEAR"]);
}

#[tokio::test]
async fn a_stream_that_fails_is_opened_again() {
    let (mut server, follower) = both(&[]).await;
    for n in 0..5 {
        let mut stream = server.stream().await;
        assert_eq!(stream.request().await.version_info, "");
        stream.fail(Status::unavailable(format!("not now {n}"))).await;
        let is_told = |text: &String| text.contains(&format!("not now {n}"));
        follower
            .until(|facts| facts.rules.xds.as_ref().unwrap().fault.as_ref().is_some_and(is_told))
            .await;
    }
    let mut stream = server.stream().await;
    stream.request().await;
    stream.send("1", "a", &[shop(5)]).await;
    stream.request().await;
}

#[tokio::test]
async fn a_server_with_nothing_to_say_is_waited_for() {
    let (mut server, follower) = both(&["FORCE_START_WITHOUT_INITIAL_CONFIG=true"]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    let facts = follower.until(|facts| facts.rules.xds.as_ref().unwrap().is_connected).await;
    let [rules, ..] = facts.components();
    assert!(rules.reason.ends_with("has sent no rules yet"), "{rules:?}");
    follower.core.health.update(|facts| {
        facts.store.has_answered = true;
        facts.listening = true;
    });
    assert!(follower.core.health.facts().overall().is_serving());
    stream.send("1", "a", &[shop(5)]).await;
    assert_eq!(stream.request().await.version_info, "1");
}

#[tokio::test]
async fn without_leave_to_start_empty_rules_must_come_first() {
    let (mut server, follower) = both(&[]).await;
    follower.core.health.update(|facts| {
        facts.store.has_answered = true;
        facts.listening = true;
    });
    let mut stream = server.stream().await;
    stream.request().await;
    assert!(!follower.core.health.facts().overall().is_serving());
    stream.send("1", "a", &[]).await;
    stream.request().await;
    assert!(follower.core.health.facts().overall().is_serving());
}

#[tokio::test]
async fn an_answer_that_is_too_large_breaks_the_stream_only() {
    let (mut server, follower) = both(&["XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES=20000"]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    stream.send("1", "a", &[shop(5)]).await;
    stream.request().await;
    let large = (0..2000).map(|n| leaf("key", &format!("value-{n}"), 1)).collect();
    stream.send("2", "b", &[config("shop", large)]).await;
    follower.until(|facts| facts.rules.xds.as_ref().unwrap().fault.is_some()).await;
    let mut stream = server.stream().await;
    assert_eq!(stream.request().await.version_info, "");
    assert_eq!(follower.limits(), ["shop.user: 5/YEAR"]);
    stream.send("3", "c", &[shop(6)]).await;
    assert_eq!(stream.request().await.version_info, "3");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dead_behind_its_socket_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let follower = follow(listener.local_addr().unwrap(), &[]);
    // Whoever answers no ping is left, and dialled again.
    let (first, _) = listener.accept().await.unwrap();
    let mut facts = follower.core.health.watch();
    let is_lost = |facts: &Facts| facts.rules.xds.as_ref().unwrap().fault.is_some();
    let lost = timeout(Duration::from_secs(600), facts.wait_for(is_lost)).await.unwrap();
    let fault = lost.unwrap().rules.xds.clone().unwrap().fault.unwrap();
    assert!(fault.contains("keep-alive timed out"), "{fault}");
    let (second, _) = listener.accept().await.unwrap();
    drop((first, second));
}

//! What is said on the wire: asking, accepting, refusing.

use envoy_types::pb::google::protobuf::value::Kind;

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;
use tokio::time::timeout;

use super::{both, config, follow, leaf, shop};
use crate::support::process::PATIENCE;
use crate::support::xds::{Management, TYPE_URL, answer, resource};

#[tokio::test]
async fn the_first_message_says_who_asks_for_what() {
    let (mut server, _follower) = both(&[
        "CONFIG_GRPC_XDS_NODE_ID=envoy-ratelimit",
        "CONFIG_GRPC_XDS_NODE_METADATA=zone=a,empty=,dropped,query=x=y",
        "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS=authorization:Bearer abc,X-Tenant:7",
    ])
    .await;
    let mut stream = server.stream().await;
    let request = stream.request().await;
    let node = request.node.clone().unwrap();
    assert_eq!(node.id, "envoy-ratelimit");
    let mut metadata: Vec<(String, Option<Kind>)> =
        node.metadata.unwrap().fields.into_iter().map(|(key, value)| (key, value.kind)).collect();
    metadata.sort_by(|(a, _), (b, _)| a.cmp(b));
    let text = |text: &str| Some(Kind::StringValue(text.to_owned()));
    let expected = [("empty", text("")), ("query", text("x=y")), ("zone", text("a"))];
    assert_eq!(metadata, expected.map(|(key, value)| (key.to_owned(), value)));
    assert!(node.cluster.is_empty() && node.locality.is_none() && node.client_features.is_empty());
    assert_eq!(request.type_url, TYPE_URL);
    assert!(request.resource_names.is_empty() && request.resource_locators.is_empty());
    assert!(request.version_info.is_empty() && request.response_nonce.is_empty());
    assert_eq!(request.error_detail, None);
    let header = |name: &str| stream.headers.get(name).unwrap().to_str().unwrap();
    assert_eq!((header("authorization"), header("x-tenant")), ("Bearer abc", "7"));
    assert!(header("user-agent").starts_with("tidegate/"));
}

#[tokio::test]
async fn a_good_set_is_in_force_when_it_is_accepted() {
    let (mut server, follower) = both(&["CONFIG_GRPC_XDS_NODE_METADATA=zone=a"]).await;
    let mut stream = server.stream().await;
    let first = stream.request().await;
    stream.send("v7", "n1", &[shop(3)]).await;
    let ack = stream.request().await;
    assert_eq!(follower.limits(), ["shop.user: 3/YEAR"]);
    assert_eq!((ack.version_info.as_str(), ack.response_nonce.as_str()), ("v7", "n1"));
    assert_eq!((ack.error_detail, ack.type_url.as_str()), (None, TYPE_URL));
    assert_eq!(ack.node, first.node, "the node comes with every message");
    stream.send("v8", "n2", &[shop(4)]).await;
    let ack = stream.request().await;
    assert_eq!((ack.version_info.as_str(), ack.response_nonce.as_str()), ("v8", "n2"));
    assert_eq!(follower.limits(), ["shop.user: 4/YEAR"]);
    let xds = follower.xds();
    assert_eq!((xds.version.as_str(), xds.accepted, xds.rejected), ("v8", 2, 0));
    assert!(xds.is_connected && xds.contact.is_some() && xds.fault.is_none());
    assert_eq!(follower.loads(), (2.0, 0.0));
}

#[tokio::test]
async fn a_bad_set_is_refused_with_the_reason_and_the_version_before() {
    let (mut server, follower) = both(&[]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    stream.send("1", "a", &[shop(0), config("", vec![])]).await;
    let nack = stream.request().await;
    assert_eq!((nack.version_info.as_str(), nack.response_nonce.as_str()), ("", "a"));
    assert!(follower.core.front.service.rules.load().is_none());
    stream.send("2", "b", &[shop(5)]).await;
    assert_eq!(stream.request().await.version_info, "2");
    stream
        .send(
            "3",
            "c",
            &[config("shop", vec![leaf("", "x", 1), leaf("a", "b", 2), leaf("a", "b", 3)])],
        )
        .await;
    let nack = stream.request().await;
    assert_eq!((nack.version_info.as_str(), nack.response_nonce.as_str()), ("2", "c"));
    let error = nack.error_detail.unwrap();
    assert_eq!(error.code, 3);
    let lines: Vec<&str> = error.message.lines().collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with("shop: ")), "{lines:?}");
    assert!(lines[0].contains("key is empty") && lines[1].contains("shop.a_b"), "{lines:?}");
    assert_eq!(follower.limits(), ["shop.user: 5/YEAR"], "the last good rules hold");
    let facts = follower.core.health.facts();
    assert!(facts.rules.last_error.is_some());
    assert_eq!((follower.xds().version.as_str(), follower.xds().rejected), ("2", 2));
    stream.send("4", "d", &[shop(6)]).await;
    let ack = stream.request().await;
    assert_eq!((ack.version_info.as_str(), ack.response_nonce.as_str()), ("4", "d"));
    assert_eq!((ack.error_detail, follower.limits()), (None, vec!["shop.user: 6/YEAR".to_owned()]));
    assert_eq!(follower.core.health.facts().rules.last_error, None);
    assert_eq!(follower.loads(), (2.0, 2.0));
}

#[tokio::test]
async fn a_reason_has_an_end() {
    let (mut server, _follower) = both(&[]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    let wrong = (0..5000).map(|n| leaf("", &format!("value-{n}"), 1)).collect();
    stream.send("1", "a", &[config("shop", wrong)]).await;
    let message = stream.request().await.error_detail.unwrap().message;
    assert!((1000..=4096).contains(&message.chars().count()), "{}", message.len());
}

#[tokio::test]
async fn what_cannot_be_decoded_is_refused() {
    let (mut server, follower) = both(&[]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    stream.send("1", "a", &[shop(5)]).await;
    stream.request().await;
    let mut other_type = resource(Vec::new());
    other_type.type_url = "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned();
    let garbage = [
        (vec![resource(vec![]), resource(vec![0xff; 9])], "resource 1 cannot be decoded"),
        (vec![resource(vec![0x0a, 0x02, 0xff, 0xfe])], "resource 0 cannot be decoded"),
        (vec![other_type], "resource 0 is of type \"type.googleapis.com/envoy.config.cluster"),
    ];
    for (resources, reason) in garbage {
        stream.answer(answer("2", "b", resources)).await;
        let nack = stream.request().await;
        assert_eq!((nack.version_info.as_str(), nack.response_nonce.as_str()), ("1", "b"));
        let error = nack.error_detail.unwrap();
        assert!(error.code == 3 && error.message.contains(reason), "{error:?}");
    }
    let mut about_else = answer("3", "c", vec![]);
    about_else.type_url = String::new();
    stream.answer(about_else).await;
    let message = stream.request().await.error_detail.unwrap().message;
    assert!(message.starts_with("the answer is of type \"\""), "{message}");
    assert_eq!(follower.limits(), ["shop.user: 5/YEAR"]);
    assert_eq!(follower.loads(), (1.0, 4.0));
}

#[tokio::test]
async fn the_same_set_again_is_accepted_and_not_loaded() {
    let (mut server, follower) = both(&[]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    for n in 0..200 {
        let (version, nonce) = (format!("v{n}"), format!("n{n}"));
        stream.send(&version, &nonce, &[shop(5), config("other", vec![])]).await;
        let ack = stream.request().await;
        assert_eq!((ack.version_info, ack.response_nonce), (version, nonce));
    }
    assert_eq!(follower.loads(), (1.0, 0.0));
    assert_eq!(follower.xds().accepted, 200);
    assert_eq!(follower.xds().version, "v199");
}

#[tokio::test]
async fn a_server_that_does_not_wait_for_answers_is_kept_up_with() {
    let (mut server, follower) = both(&[]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    // Nobody reads what the client says meanwhile: all that may wait is bounded.
    for n in 0..2000 {
        stream.send("v", &n.to_string(), &[shop(5)]).await;
    }
    stream.send("last", "last", &[shop(6)]).await;
    while stream.request().await.response_nonce != "last" {}
    assert_eq!((follower.loads(), follower.xds().accepted), ((2.0, 0.0), 2001));
}

#[tokio::test]
async fn what_was_refused_is_refused_again_at_leisure() {
    let (mut server, follower) = both(&[]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    let bad = config("", vec![]);
    stream.send("1", "a", std::slice::from_ref(&bad)).await;
    let first = stream.request().await.error_detail;
    let start = std::time::Instant::now();
    stream.send("1", "b", std::slice::from_ref(&bad)).await;
    let again = stream.request().await;
    assert!(start.elapsed().as_millis() >= 900, "{:?}", start.elapsed());
    assert_eq!((again.response_nonce.as_str(), again.error_detail), ("b", first));
    assert_eq!((follower.loads(), follower.xds().rejected), ((0.0, 1.0), 2));
}

#[tokio::test]
async fn the_process_can_be_told_to_ask_again() {
    let mut server = Management::start().await;
    let follower = follow(format!("dns:///{}", server.address()), &[]);
    let mut stream = server.stream().await;
    stream.request().await;
    stream.send("1", "a", &[shop(5)]).await;
    stream.request().await;
    follower.reload_now.notify_one();
    let mut second = server.stream().await;
    assert_eq!(second.request().await.version_info, "");
    stream.ended().await;
    second.send("1", "a", &[shop(5)]).await;
    assert_eq!(second.request().await.version_info, "1");
    assert_eq!(follower.loads(), (2.0, 0.0), "it is loaded although nothing changed");
}

#[tokio::test]
async fn addresses_of_every_kind_are_dialled() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("xds.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let _follower = follow(format!("unix:{}", path.display()), &[]);
    let (mut socket, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut preface = [0; 14];
    timeout(PATIENCE, socket.read_exact(&mut preface)).await.unwrap().unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0");
    let mut server = Management::start().await;
    for target in [
        format!("http://{}/", server.address()),
        format!("passthrough:///{}", server.address()),
        format!("localhost:{}", server.address().port()),
    ] {
        let _follower = follow(target, &[]);
        server.stream().await.request().await;
    }
}

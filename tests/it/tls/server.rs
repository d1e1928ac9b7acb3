//! What the listener shows and speaks, and what keeps it from coming up.

use std::fs;
use std::net::TcpStream;
use std::process::{Output, Stdio};
use std::sync::Arc;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::{RULES, hit, serving, shown, trusting};
use crate::support::certs::Authority;
use crate::support::clients::{Client, get, within};
use crate::support::process::{Tidegate, eventually, program};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_answered_by_tls_and_nothing_else_is() {
    let authority = Authority::new();
    let identity = authority.issue("server", &["127.0.0.1"]);
    let tidegate = serving(&identity).start();
    let client = trusting(&authority);
    assert_eq!(hit(&tidegate, &client).await, Ok(Code::Ok));
    let stranger = hit(&tidegate, &trusting(&Authority::new())).await;
    assert!(stranger.unwrap_err().contains("InvalidCertificate"));
    let plain = Client::connect(tidegate.grpc()).await;
    assert!(plain.hit("user", "alice").await.is_err(), "plain text");
    eventually("both are counted", || {
        (tidegate.metric("tidegate_tls_handshake_failures_total") >= 2.0).then_some(())
    });
    assert!(tidegate.metric("tidegate_tls_certificate_expiry_timestamp_seconds") > 1.7e9);
    assert_eq!(tidegate.get("/healthcheck").status, 200, "HTTP stays plain");
    assert_eq!(get(tidegate.debug(), "/rlconfig", &[]).unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_protocol_inside_is_h2_or_unsaid() {
    let authority = Authority::new();
    let tidegate = serving(&authority.issue("server", &["127.0.0.1"])).start();
    let agreed = async |offered: &[&[u8]]| {
        let connector = trusting(&authority).connector(offered).await.unwrap();
        let stream = tokio::net::TcpStream::connect(tidegate.grpc()).await.unwrap();
        let session = within(connector.connect("127.0.0.1", stream)).await.ok()?;
        Some(session.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(agreed(&[b"http/1.1", b"h2"]).await, Some(Some(b"h2".to_vec())));
    assert_eq!(agreed(&[b"http/1.1"]).await, None, "nothing in common");
    assert_eq!(agreed(&[]).await, Some(None), "health checks of Envoy name no protocol");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_2_and_1_3_are_spoken() {
    let authority = Authority::new();
    let tidegate = serving(&authority.issue("server", &["127.0.0.1"])).start();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.ca()).unwrap()).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = tokio::net::TcpStream::connect(tidegate.grpc()).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let session = within(connector.connect(name, stream)).await.unwrap();
        assert_eq!(session.get_ref().1.protocol_version(), Some(version.version));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_and_key_may_lie_apart_and_the_socket_be_a_file() {
    let authority = Authority::new();
    let mut identity = authority.issue("server", &["localhost"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let key = elsewhere.path().join("key.pem");
    fs::rename(&identity.key, &key).unwrap();
    identity.key = key;
    let socket = elsewhere.path().join("rls.sock");
    let _tidegate = serving(&identity).env("GRPC_UDS", socket.display()).start();
    let output = program()
        .args(["hit", "--domain", "shop", "user=alice"])
        .arg(format!("--server=unix:{}", socket.display()))
        .arg("--ca")
        .arg(authority.ca())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_handshakes_take_places_and_hold_up_nobody() {
    let authority = Authority::new();
    let identity = authority.issue("server", &["127.0.0.1"]);
    let tidegate = serving(&identity).env("TIDEGATE_MAX_CONNECTIONS", 5).start();
    let open = || tidegate.metric(r#"tidegate_connections{listener="grpc"}"#);
    let connect = || TcpStream::connect(tidegate.grpc()).expect("a connection");
    let silent: Vec<_> = (0..4).map(|_| connect()).collect();
    eventually("four are in their handshake", || (open() == 4.0).then_some(()));
    assert_eq!(hit(&tidegate, &trusting(&authority)).await, Ok(Code::Ok), "the fifth");
    eventually("the fifth has gone", || (open() == 4.0).then_some(()));
    let _fifth = connect();
    eventually("all places are taken", || (open() == 5.0).then_some(()));
    assert!(hit(&tidegate, &trusting(&authority)).await.is_err(), "the sixth");
    drop(silent);
    eventually("their places are free", || (open() == 1.0).then_some(()));
    shown(&tidegate, &trusting(&authority)).await;
}

/// How a start with those variables ends.
fn start(variables: &[(&str, &str)]) -> Output {
    let rules = tempfile::tempdir().unwrap();
    fs::create_dir(rules.path().join("config")).unwrap();
    fs::write(rules.path().join("config/rules.yaml"), RULES).unwrap();
    program()
        .env("RUNTIME_ROOT", rules.path())
        .env("RUNTIME_WATCH_ROOT", "false")
        .envs(["HOST", "GRPC_HOST", "DEBUG_HOST"].map(|name| (name, "127.0.0.1")))
        .envs(["PORT", "GRPC_PORT", "DEBUG_PORT"].map(|name| (name, "0")))
        .env("GRPC_SERVER_USE_TLS", "true")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn files_that_do_not_serve_end_the_start() {
    let authority = Authority::new();
    let good = authority.issue("good", &["a.test"]);
    let other = authority.issue("other", &["a.test"]);
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (cert, key, wrong) = (text(&good.certificate), text(&good.key), text(&other.key));
    let empty = text(&authority.dir().join("empty.pem"));
    fs::write(&empty, "").unwrap();
    let check = |variables: &[(&str, &str)], reasons: &[&str]| {
        let output = start(variables);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{variables:?}: {log}");
        for reason in reasons {
            assert!(log.contains(reason), "{variables:?}: {reason}: {log}");
        }
        assert!(!log.contains("PRIVATE KEY"), "{log}");
    };
    let (c, k, ca) = ("GRPC_SERVER_TLS_CERT", "GRPC_SERVER_TLS_KEY", "GRPC_CLIENT_TLS_CACERT");
    check(&[], &[c, k]);
    check(&[(c, &cert)], &[k]);
    check(&[(k, &key)], &[c]);
    check(&[(c, "/no/tls.crt"), (k, &key)], &["/no/tls.crt", "No such file"]);
    check(&[(c, &cert), (k, "/no/tls.key")], &["/no/tls.key"]);
    check(&[(c, &cert), (k, &wrong)], &["good.crt", "other.key", "KeyMismatch"]);
    check(&[(c, &key), (k, &cert)], &["good.key"]);
    check(&[(c, &empty), (k, &key)], &["empty.pem"]);
    check(&[(c, "/"), (k, &key)], &["/: "]);
    check(&[(c, &cert), (k, &key), (ca, "/no/ca.crt")], &["/no/ca.crt"]);
    check(&[(c, &cert), (k, &key), (ca, &empty)], &["empty.pem"]);
    check(&[(c, &cert), (k, &key), ("GRPC_CLIENT_TLS_SAN", "a b")], &["GRPC_CLIENT_TLS_SAN"]);
}

#[test]
fn what_has_no_effect_is_told() {
    let authority = Authority::new();
    let identity = authority.issue("server", &["127.0.0.1"]);
    // As Envoy Gateway starts it.
    let gateway = serving(&identity).env("GRPC_SERVER_TLS_CA_CERT", authority.ca().display());
    let gateway = gateway.start();
    gateway.wait_for_log(|line| {
        line.contains("GRPC_SERVER_TLS_CA_CERT") && line.contains("GRPC_CLIENT_TLS_CACERT")
    });
    let plain =
        Tidegate::with_rules(RULES).env("GRPC_CLIENT_TLS_CACERT", authority.ca().display()).start();
    plain.wait_for_log(|line| line.contains("GRPC_SERVER_USE_TLS is not true"));
}

//! TLS to Redis: who is trusted, who is let in, and that rotated files are used.

use tidegate::limiter::Action::Spend;
use tidegate::store::redis::{RedisConfig, RedisStore, SocketType};
use tidegate::tls::{ClientTls, Identity, NameCheck};

use super::super::{becomes, connect, values};
use super::refusal;
use crate::support::certs::Authority;
use crate::support::redis::RedisServer;
use crate::support::stores;

fn config(server: &RedisServer, tls: ClientTls) -> RedisConfig {
    let url = format!("rediss://{}", server.url());
    let mut config = RedisConfig::new(&url, SocketType::Tcp, None).unwrap();
    config.dialing.tls = Some(tls);
    config
}

async fn is_refused(config: RedisConfig, words: &[&str]) {
    let store = RedisStore::connect(config);
    let text = refusal(&store).await;
    assert!(words.iter().any(|word| text.contains(word)), "{words:?}: {text}");
}

#[tokio::test]
async fn both_sides_are_checked() {
    let authority = Authority::new();
    let identity = authority.issue("server", &["127.0.0.1"]);
    let server = RedisServer::start_tls(&identity, &authority.ca(), &[]);
    let good = ClientTls {
        ca: Some(authority.ca()),
        identity: Some(authority.issue("client", &["tidegate"])),
        ..ClientTls::default()
    };
    let store = stores::over_tls(&server, &authority).await;
    assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [1]);

    let stranger = Authority::new();
    let unknown = ["invalid peer certificate"];
    let other = ClientTls { ca: Some(stranger.ca()), ..good.clone() };
    is_refused(config(&server, other), &unknown).await;
    is_refused(config(&server, ClientTls { ca: None, ..good.clone() }), &unknown).await;
    // The server says no after the handshake, or just hangs up.
    let no = [
        "CertificateRequired",
        "UnknownCA",
        "DecryptError",
        "broken pipe",
        "reset",
        "closed",
        "eof",
        "EOF",
    ];
    is_refused(config(&server, ClientTls { identity: None, ..good.clone() }), &no).await;
    let foreign = Some(stranger.issue("client", &["tidegate"]));
    is_refused(config(&server, ClientTls { identity: foreign, ..good.clone() }), &no).await;
    let mut plain = config(&server, good);
    plain.dialing.tls = None;
    is_refused(plain, &no).await;
}

#[tokio::test]
async fn the_name_is_checked_unless_it_is_skipped_or_given() {
    let authority = Authority::new();
    let identity = authority.issue("server", &["redis.shop.example"]);
    let server = RedisServer::start_tls(&identity, &authority.ca(), &[]);
    let tls = ClientTls {
        ca: Some(authority.ca()),
        identity: Some(authority.issue("client", &["tidegate"])),
        ..ClientTls::default()
    };
    is_refused(config(&server, tls.clone()), &["not valid for name"]).await;
    let other = ClientTls { server_name: Some("other.example".into()), ..tls.clone() };
    is_refused(config(&server, other), &["not valid for name"]).await;
    let named = ClientTls { server_name: Some("redis.shop.example".into()), ..tls.clone() };
    connect(config(&server, named)).await;
    let any = ClientTls { name_check: NameCheck::Skip, ..tls };
    connect(config(&server, any.clone())).await;
    // The chain is looked at all the same.
    let stranger = Authority::new();
    let tls = ClientTls { ca: Some(stranger.ca()), ..any };
    is_refused(config(&server, tls), &["invalid peer certificate"]).await;
}

#[tokio::test]
async fn files_are_read_for_each_connection() {
    let authority = Authority::new();
    let identity = authority.issue("server", &["127.0.0.1"]);
    let server = RedisServer::start_tls(&identity, &authority.ca(), &[]);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let tls = ClientTls {
        ca: Some(path("ca.crt")),
        identity: Some(Identity { certificate: path("client.crt"), key: path("client.key") }),
        ..ClientTls::default()
    };
    let store = RedisStore::connect(config(&server, tls));
    let text = refusal(&store).await;
    assert!(text.contains(&path("ca.crt").display().to_string()), "{text}");
    std::fs::copy(authority.ca(), path("ca.crt")).unwrap();
    authority.issue_into(dir.path(), "client", &["tidegate"]);
    becomes(&store, true).await;
    assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [1]);

    // A certificate of another authority replaces it: what is open stays.
    Authority::new().issue_into(dir.path(), "client", &["tidegate"]);
    assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [2]);
    server.command::<()>(&["CLIENT", "KILL", "SKIPME", "yes"]);
    becomes(&store, false).await;
    authority.issue_into(dir.path(), "client", &["tidegate"]);
    becomes(&store, true).await;
    assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [3]);
}

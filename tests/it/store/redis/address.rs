//! Addresses and credentials.

use std::time::Duration;

use tidegate::limiter::Action::Spend;
use tidegate::store::redis::{RedisConfig, RedisConfigError, RedisStore, SocketType};
use tidegate::store::secret::Secret;
use tidegate::store::{Store, StoreError};

use super::super::{RedisServer, config, connect, values};

#[test]
fn good_addresses() {
    use SocketType::{Tcp, Unix};
    let check = |address: &str, socket_type, described: &str| {
        let config = RedisConfig::new(address, socket_type, None);
        let config = config.unwrap_or_else(|e| panic!("{address}: {e}"));
        assert_eq!(config.describe(), described, "{address}");
    };
    check("redis:6379", Tcp, "redis:6379");
    check("shop_redis.example:7000", Tcp, "shop_redis.example:7000");
    check("redis", Tcp, "redis:6379");
    check("127.0.0.1:1", Tcp, "127.0.0.1:1");
    check("[::1]:7000", Tcp, "[::1]:7000");
    check("redis://redis:7000", Tcp, "redis:7000");
    check("redis://redis", Tcp, "redis:6379");
    check("redis://redis/3", Tcp, "redis:6379/3");
    check("redis://user:hunter2@redis:7000/3", Tcp, "redis:7000/3");
    check("redis://:hunter2@redis:7000", Tcp, "redis:7000");
    check("/run/redis.sock", Tcp, "/run/redis.sock");
    check("/run/redis.sock", Unix, "/run/redis.sock");
    check("redis.sock", Unix, "redis.sock");
    check("unix:///run/redis.sock", Unix, "/run/redis.sock");
}

#[test]
fn bad_addresses() {
    use RedisConfigError::{Address, Scheme, Tls};
    use SocketType::{Tcp, Unix};
    let check = |address: &str, socket_type, error: RedisConfigError| {
        let refused = RedisConfig::new(address, socket_type, None).map(|_| ());
        assert_eq!(refused, Err(error), "{address}");
    };
    check("", Tcp, Address);
    check("", Unix, Address);
    check(":6379", Tcp, Address);
    check("redis:port", Tcp, Address);
    check("redis:70000", Tcp, Address);
    check("redis:6379:6380", Tcp, Address);
    check("one:6379,two:6379", Tcp, Address);
    check("one,two", Tcp, Address);
    check("two words:6379", Tcp, Address);
    check("redis://", Tcp, Address);
    check("redis://redis/first", Tcp, Address);
    check("redis://user:hunter2@redis:port", Tcp, Address);
    check("user:hunter2://@redis:1", Tcp, Address);
    check("rediss://redis:6379", Tcp, Tls);
    check("http://redis:6379", Tcp, Scheme("http".into()));
    check("redis://redis:6379", Unix, Address);
}

#[test]
fn errors_say_what_is_allowed() {
    let error = |address| RedisConfig::new(address, SocketType::Tcp, None).unwrap_err();
    assert!(error("rediss://redis").to_string().contains("TLS to Redis is not supported yet"));
    assert!(error("http://redis").to_string().contains("`redis://`"));
    assert!(error("redis:port").to_string().contains("`host:port`"));
    assert_eq!("unix".parse(), Ok(SocketType::Unix));
    assert_eq!("tcp".parse(), Ok(SocketType::Tcp));
    assert_eq!(
        "udp".parse::<SocketType>().unwrap_err().to_string(),
        "unknown socket type \"udp\": allowed are `tcp` and `unix`"
    );
}

#[test]
fn credentials_show_nowhere() {
    let urls = ["redis://user:hunter2@redis:7000/3", "redis://:hunter2@redis", "redis:7000"];
    for (url, auth) in urls.into_iter().zip([None, Some("user:hunter2"), Some("hunter2")]) {
        let auth = auth.map(Secret::new);
        let config = RedisConfig::new(url, SocketType::Tcp, auth.as_ref()).unwrap();
        let printed = format!("{config:?} {config:#?} {} {auth:?}", config.describe());
        assert!(!printed.contains("hunter2"), "{printed}");
    }
    for url in ["redis://user:hunter2@redis:port", "http://user:hunter2@redis", "hunter2@://x"] {
        let error = RedisConfig::new(url, SocketType::Tcp, None).unwrap_err();
        let printed = format!("{error} {error:?}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[tokio::test]
async fn credentials_open_the_door() {
    let server = RedisServer::start_tcp();
    server.command::<()>(&["ACL", "SETUSER", "gate", "on", ">a:b/c", "~*", "+@all"]);
    server.command::<()>(&["ACL", "SETUSER", "default", "resetpass", ">hunter2"]);
    let with = |url: String, auth: Option<&str>| {
        RedisConfig::new(&url, SocketType::Tcp, auth.map(Secret::new).as_ref()).unwrap()
    };
    let address = server.url();
    let good = [
        with(format!("redis://gate:a%3Ab%2Fc@{address}"), None),
        with(address.clone(), Some("gate:a:b/c")),
        with(address.clone(), Some("hunter2")),
        with(format!("redis://gate:wrong@{address}"), Some("hunter2")),
        with(format!("redis://:hunter2@{address}/2"), Some("")),
    ];
    for (config, expected) in good.into_iter().zip([1, 2, 3, 4, 1]) {
        let store = connect(config).await;
        assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [expected]);
    }
    for config in [with(address.clone(), None), with(address, Some("gate:wrong"))] {
        let store = RedisStore::connect(config);
        let text = refusal(&store).await;
        assert!(!text.contains("wrong"), "{text}");
    }
}

/// Why the store has no connection, once it has tried.
async fn refusal(store: &RedisStore) -> String {
    let tried = async {
        loop {
            match store.probe().await {
                Err(StoreError::Unavailable(text)) if text != "not connected yet" => return text,
                Err(_) => tokio::task::yield_now().await,
                Ok(()) => panic!("the door was open"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), tried).await.expect("an attempt to connect")
}

#[tokio::test]
async fn a_path_with_socket_type_unix_connects() {
    let server = RedisServer::start();
    let unix = RedisConfig::new(&server.url(), SocketType::Unix, None).unwrap();
    assert_eq!(unix.describe(), config(&server).describe());
    connect(unix).await;
}

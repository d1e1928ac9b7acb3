//! Addresses, and that what they hold shows nowhere.

use tidegate::limiter::Action::Spend;
use tidegate::store::redis::{
    Address, Credentials, Login, RedisConfig, RedisConfigError, SocketType, Topology,
};
use tidegate::store::secret::Secret;

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
    check("redis+unix:///run/redis.sock?db=2", Unix, "/run/redis.sock/2");
    check("redis+unix:///run/redis.sock?user=me&pass=hunter2", Tcp, "/run/redis.sock");
    check("rediss://user:hunter2@redis/3", Tcp, "redis:6379/3");
}

#[test]
fn bad_addresses() {
    use RedisConfigError::{Address, Scheme};
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
    check("rediss://redis:port", Tcp, Address);
    check("rediss+unix:///run/redis.sock", Tcp, Address);
    check("http://redis:6379", Tcp, Scheme("http".into()));
    check("redis://redis:6379", Unix, Address);
}

#[test]
fn only_rediss_asks_for_tls() {
    let asks =
        |address| RedisConfig::new(address, SocketType::Tcp, None).unwrap().dialing.tls.is_some();
    assert!(asks("rediss://redis") && !asks("redis://redis") && !asks("redis"));
    assert!(RedisConfig::cluster("a:1,rediss://b:2").unwrap().dialing.tls.is_some());
    assert!(RedisConfig::sentinel("shop,rediss://b:2").unwrap().dialing.tls.is_some());
}

#[test]
fn lists_of_addresses() {
    let tcp = |host: &str, port| Address::Tcp(host.to_owned(), port);
    let cluster = RedisConfig::cluster("one:1, redis://me:hunter2@two:2,three").unwrap();
    assert_eq!(
        cluster.topology,
        Topology::Cluster(vec![tcp("one", 1), tcp("two", 2), tcp("three", 6379)])
    );
    let login = Login::parse(&Secret::new("me:hunter2"));
    assert_eq!(cluster.dialing.login, Credentials::Given(login.clone()));

    let sentinel = RedisConfig::sentinel("shop,one:1,redis://me:hunter2@[::1]:2").unwrap();
    let sentinels = vec![tcp("one", 1), tcp("::1", 2)];
    let topology =
        Topology::Sentinel { name: "shop".into(), sentinels, login: Credentials::Given(login) };
    assert_eq!(sentinel.topology, topology);
    assert_eq!(sentinel.dialing.login, Credentials::default());
    assert_eq!(sentinel.describe(), "sentinel shop");

    let check = |read: fn(&str) -> Result<RedisConfig, RedisConfigError>, text, error| {
        assert_eq!(read(text).map(drop), Err(error), "{text}");
    };
    use RedisConfigError::{Address as Bad, Database, Logins, Sentinels};
    check(RedisConfig::sentinel, "shop", Sentinels);
    check(RedisConfig::sentinel, "", Sentinels);
    check(RedisConfig::sentinel, ",one:1", Sentinels);
    check(RedisConfig::sentinel, "redis://one:1,two:2", Sentinels);
    check(RedisConfig::sentinel, "shop,", Bad);
    check(RedisConfig::sentinel, "shop,one:port", Bad);
    check(RedisConfig::sentinel, "shop,unix:///run/redis.sock", Bad);
    check(RedisConfig::cluster, "", Bad);
    check(RedisConfig::cluster, "one:1,,two:2", Bad);
    check(RedisConfig::cluster, "redis://one/1,two:2", Database);
    check(RedisConfig::cluster, "redis://me:a@one,redis://me:b@two", Logins);
}

#[test]
fn errors_say_what_is_allowed() {
    let error = |address| RedisConfig::new(address, SocketType::Tcp, None).unwrap_err();
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
async fn a_path_with_socket_type_unix_connects() {
    let server = RedisServer::start();
    let unix = RedisConfig::new(&server.url(), SocketType::Unix, None).unwrap();
    assert_eq!(unix.describe(), config(&server).describe());
    connect(unix).await;

    server.command::<()>(&["ACL", "SETUSER", "gate", "on", ">hunter2", "~*", "+@all"]);
    let url = format!("redis+unix://{}?db=3&user=gate&pass=hunter2", server.url());
    let store = connect(RedisConfig::new(&url, SocketType::Tcp, None).unwrap()).await;
    values(&store, 60, &[("a_", 60, Spend(1))]).await;
    assert!(server.command::<String>(&["INFO", "keyspace"]).contains("db3:keys=1"));
    assert!(server.command::<String>(&["CLIENT", "LIST"]).contains("user=gate"));
}

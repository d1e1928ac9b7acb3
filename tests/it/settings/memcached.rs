//! Where memcached is, as an environment says it.

use std::time::Duration;

use tidegate::settings::Store;
use tidegate::store::memcached::{MemcachedConfig, Servers};
use tidegate::store::redis::Address;
use tidegate::tls::{ClientTls, Identity, NameCheck};

use super::{errors, read};

const KIND: &str = "BACKEND_TYPE=memcache";

fn memcached(more: &[&str]) -> MemcachedConfig {
    match read(&[&[KIND], more].concat()).unwrap().store {
        Store::Memcached(config) => config,
        other => panic!("{more:?}: {other:?}"),
    }
}

fn tcp(host: &str, port: u16) -> Address {
    Address::Tcp(host.to_owned(), port)
}

#[test]
fn servers_by_list() {
    let check = |text: &str, expected: &[Address]| {
        let config = memcached(&[&format!("MEMCACHE_HOST_PORT={text}")]);
        assert_eq!(config.servers, Servers::Listed(expected.to_vec()), "{text}");
    };
    check("memcached:11211", &[tcp("memcached", 11211)]);
    check("b:2,a:1, c.d:3,", &[tcp("b", 2), tcp("a", 1), tcp("c.d", 3)]);
    check("127.0.0.1:1,[::1]:2", &[tcp("127.0.0.1", 1), tcp("::1", 2)]);
    check("/run/memcached.sock,a:1", &[Address::Unix("/run/memcached.sock".into()), tcp("a", 1)]);
    let refused = |text: &str| {
        let found = errors(&[KIND, &format!("MEMCACHE_HOST_PORT={text}")]);
        assert!(found.len() == 1 && found[0].starts_with("MEMCACHE_HOST_PORT: "), "{found:?}");
    };
    ["a", "a:", ":1", "a:0", "a:65536", "a:1,b", "::1:2", "[::1]", "a b:1", "a:1:2", ","]
        .iter()
        .for_each(|text| refused(text));
}

#[test]
fn servers_by_name() {
    let name = "MEMCACHE_SRV=_memcache._tcp.cache.example";
    let query = |more: &[&str]| match memcached(&[&[name], more].concat()).servers {
        Servers::Srv(query) => query,
        other => panic!("{more:?}: {other:?}"),
    };
    assert_eq!(query(&[]).name, "_memcache._tcp.cache.example");
    assert_eq!((query(&[]).refresh, query(&[]).dns), (Duration::ZERO, None));
    assert_eq!(query(&["MEMCACHE_SRV_REFRESH=30s"]).refresh, Duration::from_secs(30));
    let dns = query(&["TIDEGATE_DNS_SERVER=[::1]:53"]).dns;
    assert_eq!(dns, Some("[::1]:53".parse().unwrap()));
    for name in ["cache.example", "_memcache.example", "_memcache._tcp", "_._tcp.x", "_a._b."] {
        let found = errors(&[KIND, &format!("MEMCACHE_SRV={name}")]);
        assert!(found.len() == 1 && found[0].contains("_service._proto.name"), "{found:?}");
    }
    assert_eq!(errors(&["TIDEGATE_DNS_SERVER=localhost:53"]).len(), 1);
}

#[test]
fn exactly_one_of_the_two_is_given() {
    assert_eq!(
        errors(&[KIND]),
        ["MEMCACHE_HOST_PORT: found nothing; allowed: servers, or MEMCACHE_SRV, as BACKEND_TYPE \
          is memcache"]
    );
    assert_eq!(
        errors(&[KIND, "MEMCACHE_HOST_PORT=a:1", "MEMCACHE_SRV=_a._tcp.b"]),
        ["MEMCACHE_SRV: found \"_a._tcp.b\"; allowed: nothing, as MEMCACHE_HOST_PORT names the \
          servers"]
    );
}

#[test]
fn times() {
    let server = "MEMCACHE_HOST_PORT=a:1";
    let config = memcached(&[server]);
    assert_eq!(config.timeout, Duration::from_millis(200));
    assert_eq!(config.expiration_jitter_max_secs, 300);
    let config =
        memcached(&[server, "TIDEGATE_STORE_TIMEOUT=1s", "EXPIRATION_JITTER_MAX_SECONDS=0"]);
    assert_eq!(config.timeout, Duration::from_secs(1));
    assert_eq!(config.expiration_jitter_max_secs, 0);
}

#[test]
fn tls_is_off_unless_it_is_asked_for() {
    let server = "MEMCACHE_HOST_PORT=a:1";
    let tls = |more: &[&str]| memcached(&[&[server], more].concat()).tls;
    assert_eq!(tls(&["MEMCACHE_TLS_CACERT=ca.pem"]), None);
    assert_eq!(tls(&["MEMCACHE_TLS=true"]), Some(ClientTls::default()));
    let all = tls(&[
        "MEMCACHE_TLS=true",
        "MEMCACHE_TLS_CLIENT_CERT=c.pem",
        "MEMCACHE_TLS_CLIENT_KEY=k.pem",
        "MEMCACHE_TLS_CACERT=ca.pem",
        "MEMCACHE_TLS_SKIP_HOSTNAME_VERIFICATION=true",
    ]);
    let expected = ClientTls {
        ca: Some("ca.pem".into()),
        identity: Some(Identity { certificate: "c.pem".into(), key: "k.pem".into() }),
        server_name: None,
        name_check: NameCheck::Skip,
    };
    assert_eq!(all, Some(expected));
    let half = errors(&[KIND, server, "MEMCACHE_TLS=1", "MEMCACHE_TLS_CLIENT_CERT=c.pem"]);
    assert_eq!(
        half,
        [
            "MEMCACHE_TLS_CLIENT_KEY: found nothing; allowed: a file, as MEMCACHE_TLS_CLIENT_CERT is \
          set"
        ]
    );
}

#[test]
fn what_has_no_effect_is_said() {
    let warnings = |environment: &[&str]| read(environment).unwrap().warnings;
    let server = "MEMCACHE_HOST_PORT=a:1";
    assert_eq!(warnings(&[KIND, server, "MEMCACHE_MAX_IDLE_CONNS=2"]), [""; 0]);
    let check = |environment: &[&str], start: &str| {
        let found = warnings(environment);
        assert!(found.len() == 1 && found[0].starts_with(start), "{found:?}");
    };
    check(&[KIND, server, "MEMCACHE_MAX_IDLE_CONNS=10"], "MEMCACHE_MAX_IDLE_CONNS is set but has");
    check(&[KIND, server, "REDIS_URL=redis:6379"], "REDIS_URL is set but not used");
    check(&[server], "MEMCACHE_HOST_PORT is set but not used");
    check(&["BACKEND_TYPE=memory", "MEMCACHE_SRV=_a._b.c"], "MEMCACHE_SRV is set but not used");
}

#[test]
fn sparing_refused_hits_is_an_error() {
    let stops = "STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT=true";
    let found = errors(&[KIND, "MEMCACHE_HOST_PORT=a:1", stops]);
    assert!(found.iter().any(|error| error.contains("memcached counts refused hits")), "{found:?}");
}

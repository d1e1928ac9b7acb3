//! What good environments mean.

use std::time::Duration;

use tidegate::limiter::KeyFormat;
use tidegate::server::{Address, Endpoint};
use tidegate::settings::{Settings, Store};
use tidegate::store::redis::{RedisConfig, SocketType};
use tidegate::store::secret::Secret;
use tidegate::telemetry::logs::Format;

use super::{errors, read};

fn good(environment: &[&str]) -> Settings {
    read(environment).unwrap_or_else(|errors| panic!("{environment:?}:\n{errors}"))
}

fn address(host: &str, port: u16) -> Address {
    Address { host: host.to_owned(), port }
}

fn redis(environment: &[&str]) -> RedisConfig {
    match good(environment).store {
        Store::Redis { main, .. } => main,
        memory => panic!("{environment:?}: {memory:?}"),
    }
}

fn in_memory(environment: &[&str]) -> bool {
    matches!(good(environment).store, Store::Memory { .. })
}

#[test]
fn an_empty_environment_is_good() {
    let settings = good(&[]);
    assert_eq!(settings.http, address("0.0.0.0", 8080));
    assert_eq!(settings.debug, address("127.0.0.1", 6070));
    assert_eq!(settings.grpc.listen, Endpoint::Tcp(address("0.0.0.0", 8081)));
    assert_eq!(settings.grpc.max_connection_age, Some(Duration::from_secs(86_400)));
    assert_eq!(settings.prometheus, None);
    assert_eq!(settings.log.level, tracing::Level::INFO);
    assert_eq!(settings.rules.files.root.to_str(), Some("/srv/runtime_data/current"));
    assert!(settings.rules.files.watch_root);
    assert_eq!(settings.store, Store::Memory { max_counters: 1_000_000 });
    assert_eq!(settings.limiter.near_limit_ratio, 0.8);
    assert_eq!(settings.limiter.keys.format, KeyFormat::Tidegate);
    assert_eq!(settings.answer.headers, None);
    assert_eq!(settings.bounds.max_message_bytes, 4_194_304);
    assert_eq!(settings.shutdown.grace, Duration::from_secs(30));
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn whole_numbers_follow_go() {
    for (text, port) in [
        ("9000", 9000),
        ("+9000", 9000),
        ("0", 0),
        ("00", 0),
        ("0x2328", 9000),
        ("0X2328", 9000),
        ("021450", 9000),
        ("0o21450", 9000),
        ("0b11", 3),
        ("9_000", 9000),
        ("0x_2328", 9000),
        ("0_17", 15),
        ("-0", 0),
        ("65535", 65535),
    ] {
        let settings = good(&[&format!("PORT={text}"), "DEBUG_PORT=1"]);
        assert_eq!(settings.http.port, port, "{text}");
    }
    for text in [
        "65536",
        "-1",
        "08080",
        "0x",
        "0b2",
        "_1",
        "1_",
        "1__0",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x-1",
        "--1",
        "x",
        "1,000",
        "tcp://10.0.0.1:80",
        "é",
    ] {
        assert_eq!(errors(&[&format!("PORT={text}")]).len(), 1, "{text}");
    }
}

#[test]
fn booleans_follow_go() {
    for text in ["1", "t", "T", "TRUE", "true", "True"] {
        assert!(good(&[&format!("SHADOW_MODE={text}")]).limiter.shadow_mode, "{text}");
    }
    for text in ["0", "f", "F", "FALSE", "false", "False"] {
        assert!(!good(&[&format!("SHADOW_MODE={text}")]).limiter.shadow_mode, "{text}");
    }
    for text in ["yes", "on", "tRUE", " true", "2"] {
        assert_eq!(errors(&[&format!("SHADOW_MODE={text}")]).len(), 1, "{text}");
    }
}

#[test]
fn empty_values_count_as_unset_with_a_warning_except_text() {
    let settings = good(&[
        "PORT=",
        "SHADOW_MODE=",
        "TIDEGATE_DRAIN_DELAY=",
        "LIMIT_RESET_HEADER=",
        "LOG_LEVEL=",
        "BACKEND_TYPE=",
        "REDIS_URL=",
        "HOST=",
        "RUNTIME_APPDIRECTORY=",
        "REDIS_AUTH=",
        "STATSD_HOST=",
        "REDIS_TLS=",
    ]);
    assert_eq!(settings.http, address("", 8080));
    assert_eq!(settings.rules.files.app_directory, "");
    assert_eq!(settings.shutdown.drain_delay, Duration::from_secs(3));
    let default = "is set but empty: its default is used";
    let expected =
        ["PORT", "LOG_LEVEL", "BACKEND_TYPE", "SHADOW_MODE", "LIMIT_RESET_HEADER", "REDIS_TLS"];
    for name in expected {
        assert!(settings.warnings.contains(&format!("{name} {default}")), "{name}");
    }
    let url = "REDIS_URL is set but empty: it counts as unset".to_owned();
    assert!(settings.warnings.contains(&url));
    assert_eq!(settings.warnings.len(), 8, "{:#?}", settings.warnings);
}

#[test]
fn listeners() {
    let settings = good(&[
        "HOST=::",
        "GRPC_HOST=[::1]",
        "GRPC_MAX_CONNECTION_AGE=0",
        "GRPC_MAX_CONNECTION_AGE_GRACE=90m",
        "USE_PROMETHEUS=true",
        "PROMETHEUS_ADDR=:19001",
        "PROMETHEUS_PATH=/stats/prometheus",
    ]);
    assert_eq!(settings.http.to_string(), "[::]:8080");
    assert_eq!(settings.grpc.listen, Endpoint::Tcp(address("::1", 8081)));
    assert_eq!(settings.grpc.max_connection_age, None);
    assert_eq!(settings.grpc.max_connection_age_grace, Some(Duration::from_secs(5400)));
    let prometheus = settings.prometheus.unwrap();
    assert_eq!(
        (prometheus.address, prometheus.path.as_str()),
        (address("", 19001), "/stats/prometheus")
    );
    let listen = good(&["GRPC_UDS=/run/rls.sock"]).grpc.listen;
    assert_eq!(listen, Endpoint::Unix("/run/rls.sock".into()));
}

#[test]
fn listeners_share_no_port_unless_hosts_differ() {
    let host = "HOST=127.0.0.1";
    assert_eq!(
        errors(&["PORT=7000", "GRPC_PORT=7000"]),
        ["GRPC_PORT: found the port of PORT, 7000; allowed: a port of its own"]
    );
    assert_eq!(errors(&["USE_PROMETHEUS=1", "PROMETHEUS_ADDR=127.0.0.1:8080"]).len(), 1);
    assert_eq!(errors(&[host, "PORT=7000", "DEBUG_HOST=::", "DEBUG_PORT=7000"]).len(), 1);
    good(&[host, "PORT=7000", "DEBUG_HOST=127.0.0.2", "DEBUG_PORT=7000"]);
    good(&["PORT=0", "DEBUG_PORT=0", "GRPC_PORT=0"]);
    good(&["PROMETHEUS_ADDR=:8080"]); // it is not used
    good(&["PORT=8081", "GRPC_UDS=/run/rls.sock"]);
}

#[test]
fn the_store_is_redis_if_there_is_a_url() {
    assert!(in_memory(&[]));
    assert!(in_memory(&["REDIS_URL="]));
    assert!(in_memory(&["REDIS_SOCKET_TYPE=tcp", "REDIS_AUTH=x"]));
    assert!(in_memory(&["REDIS_URL=localhost:6379", "BACKEND_TYPE=memory"]));
    assert!(in_memory(&["REDIS_URL=http://unusable", "BACKEND_TYPE=memory"]));
    assert!(!in_memory(&["REDIS_URL=localhost:6379"]));
    assert!(!in_memory(&["REDIS_URL=localhost:6379", "BACKEND_TYPE="]));
    assert!(!in_memory(&["REDIS_URL=localhost:6379", "BACKEND_TYPE=redis"]));
    assert_eq!(
        errors(&["BACKEND_TYPE=redis"]),
        ["REDIS_URL: found nothing; allowed: an address, as BACKEND_TYPE is redis"]
    );
}

#[test]
fn where_redis_is_and_who_asks() {
    let check = |environment: &[&str], url: &str, socket_type, auth: Option<&str>| {
        let auth = auth.map(Secret::new);
        let mut expected = RedisConfig::new(url, socket_type, auth.as_ref()).unwrap();
        expected.timeout = Duration::from_millis(200);
        expected.dialing.connect_timeout = Duration::from_secs(10);
        expected.expiration_jitter_max_secs = 300;
        assert_eq!(redis(environment), expected, "{environment:?}");
    };
    use SocketType::{Tcp, Unix};
    check(&["REDIS_URL=redis:6379"], "redis:6379", Tcp, None);
    check(&["REDIS_URL=/run/redis.sock"], "/run/redis.sock", Unix, None);
    check(&["REDIS_URL=redis.sock", "REDIS_SOCKET_TYPE=unix"], "redis.sock", Unix, None);
    check(&["REDIS_URL=redis://me:pw@redis/7"], "redis://me:pw@redis/7", Tcp, None);
    check(&["REDIS_URL=redis", "REDIS_AUTH="], "redis", Tcp, None);
    check(&["REDIS_URL=redis", "REDIS_AUTH=me:pw:2"], "redis", Tcp, Some("me:pw:2"));
}

#[test]
fn times_of_redis() {
    let url = "REDIS_URL=redis:6379";
    let jitter = |text: &str| redis(&[url, text]).expiration_jitter_max_secs;
    assert_eq!(
        redis(&[url, "REDIS_TIMEOUT=1.5s"]).dialing.connect_timeout,
        Duration::from_millis(1500)
    );
    assert_eq!(redis(&[url]).expiration_jitter_max_secs, 300);
    assert_eq!(jitter("EXPIRATION_JITTER_MAX_SECONDS=0"), 0);
    assert_eq!(jitter("EXPIRATION_JITTER_MAX_SECONDS=-5"), 0);
    assert_eq!(jitter("EXPIRATION_JITTER_MAX_SECONDS=60"), 60);
}

#[test]
fn answers_and_log() {
    let settings = good(&[
        "LIMIT_RESPONSE_HEADERS_ENABLED=true",
        "LIMIT_LIMIT_HEADER=X-Limit",
        "LOG_LEVEL=Warning",
        "LOG_FORMAT=JSON",
        "TIDEGATE_KEY_FORMAT=envoyproxy",
    ]);
    let headers = settings.answer.headers.unwrap();
    assert_eq!(headers.limit, "X-Limit");
    assert_eq!(headers.remaining, "RateLimit-Remaining");
    assert_eq!(settings.log.level, tracing::Level::WARN);
    assert_eq!(settings.log.format, Format::Json);
    assert_eq!(settings.limiter.keys.format, KeyFormat::Envoyproxy);
    assert_eq!(good(&["LOG_LEVEL=panic"]).log.level, tracing::Level::ERROR);
    assert_eq!(good(&["LOG_FORMAT=logfmt"]).log.format, Format::Text);
}

#[test]
fn the_istio_sample_is_good_and_quiet() {
    let settings = good(&[
        "LOG_LEVEL=debug",
        "REDIS_SOCKET_TYPE=tcp",
        "REDIS_URL=redis:6379",
        "USE_STATSD=false",
        "RUNTIME_ROOT=/data",
        "RUNTIME_SUBDIRECTORY=ratelimit",
        "RUNTIME_WATCH_ROOT=false",
        "RUNTIME_IGNOREDOTFILES=true",
        "HOST=::",
        "GRPC_HOST=::",
        "KUBERNETES_PORT=tcp://10.0.0.1:443",
        "TIDEGATE_SERVICE_HOST=10.0.0.2",
        "TIDEGATE_SERVICE_PORT_GRPC=8081",
        "TIDEGATE_PORT=tcp://10.0.0.2:8081",
        "TIDEGATE_PORT_8081_TCP_ADDR=10.0.0.2",
        "TIDEGATE_REDIS_PORT_6379_TCP=tcp://10.0.0.3:6379",
    ]);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

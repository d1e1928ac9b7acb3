//! Redis in every way that its variables can name.

use std::time::Duration;

use tidegate::health::StoreNeeded;
use tidegate::settings::Store;
use tidegate::store::redis::{Credentials, Login, RedisConfig, Topology};
use tidegate::store::secret::Secret;
use tidegate::tls::{ClientTls, Identity, NameCheck};

use super::{errors, read};

const URL: &str = "REDIS_URL=redis:6379";

/// The main Redis and the one for limits per second.
fn both(environment: &[&str]) -> (RedisConfig, Option<RedisConfig>) {
    let settings = read(environment).unwrap_or_else(|e| panic!("{environment:?}:\n{e}"));
    match settings.store {
        Store::Redis { main, per_second, .. } => (main, per_second),
        Store::Memory { .. } | Store::Memcached(_) => panic!("{environment:?}: in memory"),
    }
}

fn main(environment: &[&str]) -> RedisConfig {
    both(environment).0
}

fn login(auth: &str) -> Credentials {
    Credentials::Given(Login::parse(&Secret::new(auth)))
}

#[test]
fn types_in_any_case() {
    for word in ["REDIS_TYPE=single", "REDIS_TYPE=SINGLE", "REDIS_TYPE=Single"] {
        assert_eq!(main(&[URL, word]), main(&[URL]));
    }
    for word in ["REDIS_TYPE=sentinel", "REDIS_TYPE=SENTINEL"] {
        let config = main(&["REDIS_URL=shop,a:1,b:2", word, "REDIS_SOCKET_TYPE=unix"]);
        assert_eq!(config.topology, RedisConfig::sentinel("shop,a:1,b:2").unwrap().topology);
    }
    for word in ["REDIS_TYPE=cluster", "REDIS_TYPE=CLUSTER"] {
        let config = main(&["REDIS_URL=a:1,b:2", word]);
        assert_eq!(config.topology, RedisConfig::cluster("a:1,b:2").unwrap().topology);
    }
    let check = |environment: &[&str], words: &str| {
        let found = errors(environment);
        assert!(found.len() == 1 && found[0].contains(words), "{environment:?}: {found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    };
    check(&[URL, "REDIS_TYPE=ring"], "single, sentinel or cluster");
    check(&[URL, "REDIS_TYPE=sentinel"], "`name,host:port[,host:port...]`");
    check(&["REDIS_URL=shop,hunter2:x", "REDIS_TYPE=sentinel"], "expected `host:port`");
    check(&["REDIS_URL=a:1,redis://:hunter2@b:2/3", "REDIS_TYPE=cluster"], "database 0");
    check(&["REDIS_URL=a:1,b:2"], "expected `host:port`");
}

#[test]
fn logins_are_given_or_in_a_file() {
    assert_eq!(main(&[URL]).dialing.login, Credentials::default());
    assert_eq!(main(&[URL, "REDIS_AUTH=me:pw"]).dialing.login, login("me:pw"));
    assert_eq!(main(&[URL, "REDIS_AUTH=:p:w"]).dialing.login, login(":p:w"));
    let file = |path: &str| Credentials::File(path.into());
    assert_eq!(main(&[URL, "REDIS_AUTH_FILE=/run/pw"]).dialing.login, file("/run/pw"));
    assert_eq!(main(&[URL, "REDIS_AUTH=", "REDIS_AUTH_FILE=/pw"]).dialing.login, file("/pw"));
    let url = "REDIS_URL=redis://me:other@redis";
    assert_eq!(main(&[url, "REDIS_AUTH_FILE=/pw"]).dialing.login, file("/pw"));
    assert_eq!(main(&[url, "REDIS_AUTH_FILE="]).dialing.login, login("me:other"));

    let sentinel = ["REDIS_TYPE=sentinel", "REDIS_URL=shop,a:1", "REDIS_AUTH=data"];
    let of_sentinels = |word: &str| {
        let config = main(&[&sentinel[..], &[word]].concat());
        assert_eq!(config.dialing.login, login("data"));
        let Topology::Sentinel { login, .. } = config.topology else { panic!("{word}") };
        login
    };
    assert_eq!(of_sentinels("REDIS_SENTINEL_AUTH=pw"), login("pw"));
    assert_eq!(of_sentinels("REDIS_SENTINEL_AUTH_FILE=/pw"), file("/pw"));
    assert_eq!(of_sentinels("REDIS_SENTINEL_AUTH="), Credentials::default());

    for names in [
        ["REDIS_AUTH=a", "REDIS_AUTH_FILE=/a"],
        ["REDIS_SENTINEL_AUTH=a", "REDIS_SENTINEL_AUTH_FILE=/a"],
        ["REDIS_PERSECOND_AUTH=a", "REDIS_PERSECOND_AUTH_FILE=/a"],
        ["REDIS_PERSECOND_SENTINEL_AUTH=a", "REDIS_PERSECOND_SENTINEL_AUTH_FILE=/a"],
    ] {
        let found = errors(&[URL, names[0], names[1]]);
        assert!(found.len() == 1 && found[0].ends_with("allowed: one of the two"), "{found:?}");
    }
}

#[test]
fn tls() {
    let tls = |more: &[&str]| main(&[&[URL], more].concat()).dialing.tls;
    assert_eq!(tls(&[]), None);
    assert_eq!(tls(&["REDIS_TLS=false", "REDIS_PERSECOND_TLS=true"]), None);
    assert_eq!(tls(&["REDIS_TLS=true"]), Some(ClientTls::default()));
    let all = [
        "REDIS_TLS_CLIENT_CERT=/tls.crt",
        "REDIS_TLS_CLIENT_KEY=/tls.key",
        "REDIS_TLS_CACERT=/ca.crt",
        "REDIS_TLS_SKIP_HOSTNAME_VERIFICATION=true",
        "TIDEGATE_REDIS_TLS_SERVER_NAME=redis.example",
    ];
    let expected = ClientTls {
        ca: Some("/ca.crt".into()),
        identity: Some(Identity { certificate: "/tls.crt".into(), key: "/tls.key".into() }),
        server_name: Some("redis.example".into()),
        name_check: NameCheck::Skip,
    };
    assert_eq!(tls(&[&all[..], &["REDIS_TLS=1"]].concat()), Some(expected.clone()));
    let by_url = [&all[..], &["REDIS_URL=rediss://redis"]].concat();
    assert_eq!(main(&by_url).dialing.tls, Some(expected));

    let unused = read(&[&all[..], &[URL]].concat()).unwrap().warnings;
    assert!(unused.len() == 1 && unused[0].contains("REDIS_TLS is not true"), "{unused:?}");
    for (word, missing) in [
        ("REDIS_TLS_CLIENT_CERT=/tls.crt", "REDIS_TLS_CLIENT_KEY: found nothing"),
        ("REDIS_TLS_CLIENT_KEY=/tls.key", "REDIS_TLS_CLIENT_CERT: found nothing"),
    ] {
        let found = errors(&[URL, "REDIS_TLS=true", word]);
        assert!(found.len() == 1 && found[0].starts_with(missing), "{found:?}");
    }
}

#[test]
fn what_waits_and_goes_together_is_bounded_for_both() {
    let bounds = |config: RedisConfig| (config.max_waiting, config.max_operations_per_call);
    assert_eq!(bounds(main(&[URL])), (16_384, 1000));
    let (main, second) = both(&[
        URL,
        "REDIS_PERSECOND=true",
        "REDIS_PERSECOND_URL=redis:2",
        "TIDEGATE_REDIS_MAX_WAITING=20",
        "TIDEGATE_REDIS_MAX_OPERATIONS_PER_CALL=30",
    ]);
    assert_eq!((bounds(main), second.map(bounds)), ((20, 30), Some((20, 30))));
    for name in ["TIDEGATE_REDIS_MAX_WAITING", "TIDEGATE_REDIS_MAX_OPERATIONS_PER_CALL"] {
        let found = errors(&[URL, &format!("{name}=0")]);
        assert!(found.len() == 1 && found[0].starts_with(name), "{found:?}");
    }
}

#[test]
fn a_second_redis_has_variables_of_its_own() {
    assert_eq!(both(&[URL, "REDIS_PERSECOND=false"]).1, None);
    let (main, second) = both(&[
        "REDIS_URL=redis:1",
        "REDIS_PERSECOND=true",
        "REDIS_PERSECOND_URL=shop,a:1,b:2",
        "REDIS_PERSECOND_TYPE=Sentinel",
        "REDIS_PERSECOND_AUTH=data",
        "REDIS_PERSECOND_SENTINEL_AUTH=guards",
        "REDIS_PERSECOND_TLS=true",
        "REDIS_PERSECOND_TIMEOUT=2s",
        "REDIS_TLS_CACERT=/ca.crt",
        "TIDEGATE_STORE_TIMEOUT=300ms",
    ]);
    assert_eq!((main.describe().as_str(), &main.dialing.tls), ("redis:1", &None));
    let mut expected = RedisConfig::sentinel("shop,a:1,b:2").unwrap();
    let Topology::Sentinel { login: of_sentinels, .. } = &mut expected.topology else { panic!() };
    *of_sentinels = login("guards");
    expected.dialing.login = login("data");
    expected.dialing.tls = Some(ClientTls { ca: Some("/ca.crt".into()), ..ClientTls::default() });
    expected.dialing.connect_timeout = Duration::from_secs(2);
    expected.timeout = Duration::from_millis(300);
    expected.expiration_jitter_max_secs = 300;
    assert_eq!(second, Some(expected));

    let socket = ["REDIS_PERSECOND_URL=redis.sock", "REDIS_PERSECOND_SOCKET_TYPE=unix"];
    let second = both(&[&socket[..], &[URL, "REDIS_PERSECOND=t"]].concat()).1.unwrap();
    assert_eq!(second.describe(), "redis.sock");

    let why = "found nothing; allowed: an address, as REDIS_PERSECOND is true";
    assert_eq!(errors(&[URL, "REDIS_PERSECOND=true"]), [format!("REDIS_PERSECOND_URL: {why}")]);
    let alone = ["REDIS_PERSECOND=true", "REDIS_PERSECOND_URL=redis"];
    assert_eq!(errors(&alone), [format!("REDIS_URL: {why}")]);
    let warnings = read(&[URL, "REDIS_PERSECOND_URL=redis"]).unwrap().warnings;
    assert_eq!(
        warnings,
        ["REDIS_PERSECOND_URL is set but not used, as REDIS_PERSECOND is not true"]
    );
    let memory = read(&["BACKEND_TYPE=memory", "REDIS_PERSECOND=true"]).unwrap();
    assert_eq!(memory.warnings.len(), 1);
}

#[test]
fn a_connection_can_be_needed_to_be_ready() {
    let needed = |word: &str| read(&[URL, word]).unwrap().store.needed();
    assert_eq!(needed("HOST="), StoreNeeded::Answered);
    assert_eq!(needed("REDIS_HEALTH_CHECK_ACTIVE_CONNECTION=false"), StoreNeeded::Answered);
    assert_eq!(needed("REDIS_HEALTH_CHECK_ACTIVE_CONNECTION=true"), StoreNeeded::Connected);
    let memory = read(&["REDIS_HEALTH_CHECK_ACTIVE_CONNECTION=true"]).unwrap();
    assert_eq!(memory.store.needed(), StoreNeeded::Answered);
}

#[test]
fn what_has_no_use_here_says_what_is_done_instead() {
    let warnings = |word: &str| read(&[URL, word]).unwrap().warnings;
    let names = [
        "POOL_SIZE=20",
        "POOL_ON_EMPTY_BEHAVIOR=CREATE",
        "PIPELINE_WINDOW=150us",
        "PIPELINE_LIMIT=8",
        "CLUSTER_PIPELINE_PARALLELISM=0",
    ];
    for prefix in ["REDIS_", "REDIS_PERSECOND_"] {
        for name in names {
            let found = warnings(&format!("{prefix}{name}"));
            assert!(found.len() == 1 && found[0].contains("has no effect: "), "{found:?}");
        }
    }
    for word in [
        "REDIS_STARTUP_INITIAL_INTERVAL=5s",
        "REDIS_STARTUP_MAX_INTERVAL=5s",
        "REDIS_STARTUP_MAX_ELAPSED_TIME=1m",
        "REDIS_CLOSE_CONNECTION_ON_READONLY_ERROR=false",
    ] {
        assert_eq!(warnings(word).len(), 1, "{word}");
    }
    for word in [
        "REDIS_POOL_SIZE=10",
        "REDIS_POOL_ON_EMPTY_BEHAVIOR=wait",
        "REDIS_PIPELINE_WINDOW=0",
        "REDIS_CLUSTER_PIPELINE_PARALLELISM=1",
        "REDIS_STARTUP_MAX_INTERVAL=30s",
        "REDIS_CLOSE_CONNECTION_ON_READONLY_ERROR=true",
        "REDIS_PERSECOND_POOL_SIZE=",
    ] {
        assert_eq!(warnings(word), [""; 0], "{word}");
    }
}

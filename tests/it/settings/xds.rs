//! Environments that say which management server rules come from.

use std::time::Duration;

use tidegate::sources::xds::Options;

use super::{errors, read};

/// The options of an environment with xDS switched on.
fn options(environment: &[&str]) -> Options {
    let mut environment = environment.to_vec();
    environment.push("CONFIG_TYPE=GRPC_XDS_SOTW");
    let settings = read(&environment).unwrap();
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    settings.rules.xds.unwrap()
}

fn warnings(environment: &[&str]) -> Vec<String> {
    read(environment).unwrap().warnings
}

#[test]
fn files_are_the_default() {
    assert_eq!(read(&[]).unwrap().rules.xds, None);
    assert_eq!(read(&["CONFIG_TYPE=FILE"]).unwrap().rules.xds, None);
    for word in ["file", "File", "XDS", "grpc_xds_sotw", "GRPC_XDS"] {
        let found = errors(&[&format!("CONFIG_TYPE={word}")]);
        assert!(found[0].ends_with("allowed: FILE or GRPC_XDS_SOTW"), "{found:?}");
    }
}

#[test]
fn the_defaults_are_those_of_the_reference() {
    let options = options(&[]);
    assert_eq!(options.target.to_string(), "localhost:18000");
    assert_eq!((options.node.id.as_str(), options.node.metadata.len()), ("default", 0));
    assert_eq!((options.tls, options.headers.len()), (None, 0));
    assert_eq!(options.max_message_bytes, 4 << 20);
    let backoff = options.backoff;
    assert_eq!([backoff.reach, backoff.initial, backoff.max].map(|d| d.as_secs()), [3, 10, 60]);
    assert_eq!(backoff.spread, 0.5);
    assert!(options.keepalive > Duration::from_secs(300), "servers in Go would hang up");
}

#[test]
fn what_is_said_is_meant() {
    let found = options(&[
        "CONFIG_GRPC_XDS_SERVER_URL=https://xds:443",
        "CONFIG_GRPC_XDS_NODE_METADATA=a=b,c=d=e",
        "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS=Authorization:Bearer hunter2, x-a:b:c",
        "CONFIG_GRPC_XDS_SERVER_TLS_SAN=gateway",
        "XDS_CLIENT_BACKOFF_JITTER=false",
        "XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES=10000",
        "XDS_CLIENT_BACKOFF_INITIAL_INTERVAL=2m",
    ]);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(found.node.metadata, [pair("a", "b"), pair("c", "d=e")]);
    let headers: Vec<_> = found.headers.iter().map(|(n, v)| pair(n, v.expose())).collect();
    assert_eq!(headers, [pair("authorization", "Bearer hunter2"), pair("x-a", "b:c")]);
    assert!(!format!("{found:?}").contains("hunter2"));
    assert_eq!(found.tls.unwrap().server_name.as_deref(), Some("gateway"));
    assert_eq!((found.backoff.spread, found.max_message_bytes), (0.0, 10_000));
    assert_eq!(found.backoff.max, found.backoff.initial, "the maximum is no less");
    let zero = options(&["XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES=0"]);
    assert_eq!(zero.max_message_bytes, 4 << 20);
}

#[test]
fn what_cannot_be_used_is_refused() {
    for word in [
        "CONFIG_GRPC_XDS_SERVER_URL=xds",
        "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS=hunter2",
        "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS=a b:hunter2",
        "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS=x-bin:hunter2",
        "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS=x:hünter2",
        "XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES=-1",
        "XDS_CLIENT_BACKOFF_INITIAL_INTERVAL=10",
        "XDS_CLIENT_BACKOFF_RANDOM_FACTOR=much",
        "CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL=0s",
    ] {
        let found = errors(&[word, "CONFIG_TYPE=GRPC_XDS_SOTW"]);
        assert!(found.len() == 1 && !found[0].contains("hunter2"), "{word}: {found:?}");
    }
    let tls = "CONFIG_GRPC_XDS_SERVER_USE_TLS=true";
    for word in ["CONFIG_GRPC_XDS_CLIENT_TLS_CERT=c", "CONFIG_GRPC_XDS_CLIENT_TLS_KEY=k"] {
        let found = errors(&[tls, word]);
        assert!(found.len() == 1 && found[0].contains("go together"), "{found:?}");
    }
    let found = errors(&[tls, "CONFIG_GRPC_XDS_SERVER_URL=http://xds:1"]);
    assert!(found.len() == 1 && found[0].contains("no http://"), "{found:?}");
}

#[test]
fn what_has_no_effect_is_told_in_one_line() {
    let unused = warnings(&["CONFIG_GRPC_XDS_NODE_ID=a", "XDS_CLIENT_BACKOFF_JITTER=false"]);
    assert_eq!(
        unused,
        ["set but not used, as CONFIG_TYPE is FILE: \
          CONFIG_GRPC_XDS_NODE_ID, XDS_CLIENT_BACKOFF_JITTER"]
    );
    let on = "CONFIG_TYPE=GRPC_XDS_SOTW";
    let plain = warnings(&[on, "CONFIG_GRPC_XDS_SERVER_TLS_SAN=x"]);
    assert!(plain.len() == 1 && plain[0].ends_with("CONFIG_GRPC_XDS_SERVER_TLS_SAN"), "{plain:?}");
    let metadata = warnings(&[on, "CONFIG_GRPC_XDS_NODE_METADATA=a,b=c"]);
    assert!(metadata.len() == 1 && metadata[0].ends_with(": a"), "{metadata:?}");
    assert_eq!(warnings(&[on, "XDS_CLIENT_BACKOFF_RANDOM_FACTOR=1.5"]).len(), 1);
    for runtime in ["RUNTIME_ROOT=/data", "RUNTIME_WATCH_ROOT=false", "RUNTIME_SUBDIRECTORY=x"] {
        assert!(warnings(&[on, runtime]).is_empty(), "{runtime}");
    }
}

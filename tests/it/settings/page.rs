//! `docs/settings.md` and the completeness of the table behind it.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use tidegate::settings::Settings;

/// Every variable that envoyproxy/ratelimit reads.
pub(super) const REFERENCE: &str = "
    HOST PORT DEBUG_HOST DEBUG_PORT GRPC_UDS GRPC_HOST GRPC_PORT GRPC_MAX_CONNECTION_AGE
    GRPC_MAX_CONNECTION_AGE_GRACE GRPC_SERVER_USE_TLS GRPC_SERVER_TLS_CERT GRPC_SERVER_TLS_KEY
    GRPC_CLIENT_TLS_CACERT GRPC_CLIENT_TLS_SAN LOG_LEVEL LOG_FORMAT CONFIG_TYPE
    FORCE_START_WITHOUT_INITIAL_CONFIG CONFIG_GRPC_XDS_NODE_ID CONFIG_GRPC_XDS_NODE_METADATA
    CONFIG_GRPC_XDS_SERVER_URL CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL
    CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS CONFIG_GRPC_XDS_SERVER_USE_TLS
    CONFIG_GRPC_XDS_CLIENT_TLS_CERT CONFIG_GRPC_XDS_CLIENT_TLS_KEY
    CONFIG_GRPC_XDS_SERVER_TLS_CACERT CONFIG_GRPC_XDS_SERVER_TLS_SAN
    XDS_CLIENT_BACKOFF_INITIAL_INTERVAL XDS_CLIENT_BACKOFF_MAX_INTERVAL
    XDS_CLIENT_BACKOFF_RANDOM_FACTOR XDS_CLIENT_BACKOFF_JITTER XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES
    USE_DOG_STATSD USE_DOG_STATSD_MOGRIFIERS USE_STATSD STATSD_HOST STATSD_PORT EXTRA_TAGS
    STATS_FLUSH_INTERVAL DISABLE_STATS USE_PROMETHEUS PROMETHEUS_ADDR PROMETHEUS_PATH
    PROMETHEUS_MAPPER_YAML PROMETHEUS_RESPONSE_TIME_AS_MILLISECONDS RUNTIME_ROOT
    RUNTIME_SUBDIRECTORY RUNTIME_APPDIRECTORY RUNTIME_IGNOREDOTFILES RUNTIME_WATCH_ROOT
    EXPIRATION_JITTER_MAX_SECONDS LOCAL_CACHE_SIZE_IN_BYTES NEAR_LIMIT_RATIO CACHE_KEY_PREFIX
    BACKEND_TYPE STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT LIMIT_RESPONSE_HEADERS_ENABLED
    LIMIT_LIMIT_HEADER LIMIT_REMAINING_HEADER LIMIT_RESET_HEADER
    HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED REDIS_SOCKET_TYPE REDIS_TYPE REDIS_URL
    REDIS_POOL_SIZE REDIS_AUTH REDIS_TLS REDIS_TLS_CLIENT_CERT REDIS_TLS_CLIENT_KEY
    REDIS_TLS_CACERT REDIS_TLS_SKIP_HOSTNAME_VERIFICATION REDIS_PIPELINE_WINDOW
    REDIS_PIPELINE_LIMIT REDIS_CLUSTER_PIPELINE_PARALLELISM REDIS_PERSECOND
    REDIS_PERSECOND_SOCKET_TYPE REDIS_PERSECOND_TYPE REDIS_PERSECOND_URL
    REDIS_PERSECOND_POOL_SIZE REDIS_PERSECOND_AUTH REDIS_PERSECOND_TLS REDIS_SENTINEL_AUTH
    REDIS_PERSECOND_SENTINEL_AUTH REDIS_PERSECOND_PIPELINE_WINDOW REDIS_PERSECOND_PIPELINE_LIMIT
    REDIS_PERSECOND_CLUSTER_PIPELINE_PARALLELISM REDIS_HEALTH_CHECK_ACTIVE_CONNECTION
    REDIS_TIMEOUT REDIS_PERSECOND_TIMEOUT REDIS_POOL_ON_EMPTY_BEHAVIOR
    REDIS_PERSECOND_POOL_ON_EMPTY_BEHAVIOR REDIS_STARTUP_INITIAL_INTERVAL
    REDIS_STARTUP_MAX_INTERVAL REDIS_STARTUP_MAX_ELAPSED_TIME MEMCACHE_HOST_PORT
    MEMCACHE_MAX_IDLE_CONNS MEMCACHE_SRV MEMCACHE_SRV_REFRESH MEMCACHE_TLS
    MEMCACHE_TLS_CLIENT_CERT MEMCACHE_TLS_CLIENT_KEY MEMCACHE_TLS_CACERT
    MEMCACHE_TLS_SKIP_HOSTNAME_VERIFICATION SHADOW_MODE QUOTA_MODE RESPONSE_DYNAMIC_METADATA
    MERGE_DOMAIN_CONFIG TRACING_ENABLED TRACING_SERVICE_NAME TRACING_SERVICE_NAMESPACE
    TRACING_SERVICE_INSTANCE_ID TRACING_EXPORTER_PROTOCOL TRACING_SAMPLING_RATE
";

/// The page as the declarations make it.
fn page() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Environment variables configure the process. Those that do not begin with `TIDEGATE_`\n\
         are the ones of envoyproxy/ratelimit, with its defaults unless a line says otherwise.\n\n\
         - Durations are written `300ms`, `1.5h`, `2h45m`; only `0` needs no unit.\n\
         - Whole numbers may have a prefix (`0x`, `0o`, `0b`, a leading `0` means octal) and\n  \
           underscores: `1_000_000`.\n\
         - Booleans are `true`, `t`, `1`, `false`, `f`, `0`, also in capitals.\n\
         - An empty value is a value for text and hosts; elsewhere it counts as unset, with a\n  \
           warning.\n\
         - An unknown name that begins with `TIDEGATE_` is an error, any other is ignored.\n\
         - Everything that is wrong is reported at once, and the process does not start.\n\n\
         This page is made from the declarations in `src/settings`; see\n\
         `tests/it/settings/page.rs`.\n",
    );
    let mut group = "";
    for variable in Settings::reference() {
        let used = !variable.allowed.is_empty();
        if variable.group != group {
            group = variable.group;
            let columns = if used {
                "| variable | default | allowed | meaning |\n|---|---|---|---|"
            } else {
                "| variable | why not |\n|---|---|"
            };
            write!(page, "\n## {group}\n\n{columns}\n").unwrap();
        }
        let (name, help) = (variable.name, variable.help);
        let default = match variable.default.as_str() {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        match used {
            true => writeln!(page, "| `{name}` | {default} | {} | {help} |", variable.allowed),
            false => writeln!(page, "| `{name}` | {help} |"),
        }
        .unwrap();
    }
    page
}

/// Run with `WRITE_DOCS=1` to write the page anew.
#[test]
fn the_page_is_what_the_declarations_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    if env::var_os("WRITE_DOCS").is_some() {
        fs::write(&path, page()).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), page(), "write it anew with WRITE_DOCS=1");
}

#[test]
fn every_variable_is_declared_once_and_documented() {
    let reference = Settings::reference();
    let mut names: Vec<&str> = reference.iter().map(|variable| variable.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    for variable in &reference {
        assert!(variable.help.ends_with('.'), "{}", variable.name);
        assert!(!variable.group.is_empty(), "{}", variable.name);
        assert!(!variable.help.contains('|') && !variable.allowed.contains('|'));
    }
}

#[test]
fn no_variable_of_the_reference_is_unknown() {
    let reference = Settings::reference();
    let names: Vec<&str> = REFERENCE.split_whitespace().collect();
    assert_eq!(names.len(), 114);
    for name in names {
        assert!(reference.iter().any(|variable| variable.name == name), "{name}");
    }
}

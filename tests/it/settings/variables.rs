//! `docs/variables.md`, walked: what it says of each variable of the reference is so.

use std::path::Path;

use tidegate::settings::Settings;

use super::read;

/// Name and standing of each row of the table.
fn rows() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/variables.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        let (standing, _) = rest.split_once(" |").unwrap();
        (name.to_owned(), standing.to_owned())
    })
    .collect()
}

/// What else must be set for a variable to have a meaning.
fn context(name: &str) -> &'static [&'static str] {
    match name {
        "GRPC_CLIENT_TLS_SAN" => &[
            "GRPC_SERVER_USE_TLS=true",
            "GRPC_SERVER_TLS_CERT=/tls.crt",
            "GRPC_SERVER_TLS_KEY=/tls.key",
            "GRPC_CLIENT_TLS_CACERT=/ca.crt",
        ],
        "GRPC_SERVER_USE_TLS"
        | "GRPC_SERVER_TLS_CERT"
        | "GRPC_SERVER_TLS_KEY"
        | "GRPC_CLIENT_TLS_CACERT" => &[
            "GRPC_SERVER_USE_TLS=true",
            "GRPC_SERVER_TLS_CERT=/tls.crt",
            "GRPC_SERVER_TLS_KEY=/tls.key",
        ],
        "CONFIG_TYPE" => &[],
        "PROMETHEUS_ADDR" | "PROMETHEUS_PATH" => &["USE_PROMETHEUS=true"],
        "USE_DOG_STATSD_MOGRIFIERS" => &[
            "USE_DOG_STATSD=true",
            "DOG_STATSD_MOGRIFIER_K:V_PATTERN=a",
            "DOG_STATSD_MOGRIFIER_K:V_NAME=b",
            "DOG_STATSD_MOGRIFIER_K:V_TAGS=c:d",
        ],
        "LIMIT_LIMIT_HEADER" | "LIMIT_REMAINING_HEADER" | "LIMIT_RESET_HEADER" => {
            &["LIMIT_RESPONSE_HEADERS_ENABLED=true"]
        }
        "REDIS_SENTINEL_AUTH" => &["REDIS_TYPE=sentinel", "REDIS_URL=name,redis:1"],
        "REDIS_PERSECOND_SENTINEL_AUTH" => &[
            "REDIS_URL=redis:1",
            "REDIS_PERSECOND=true",
            "REDIS_PERSECOND_TYPE=sentinel",
            "REDIS_PERSECOND_URL=name,redis:2",
        ],
        "REDIS_PERSECOND" => &["REDIS_URL=redis:1", "REDIS_PERSECOND_URL=redis:2"],
        "REDIS_TYPE" | "REDIS_URL" => &["REDIS_URL=redis,redis:2", "REDIS_TYPE=sentinel"],
        "REDIS_PERSECOND_TYPE" => &[
            "REDIS_URL=redis:1",
            "REDIS_PERSECOND=true",
            "REDIS_PERSECOND_TYPE=sentinel",
            "REDIS_PERSECOND_URL=redis,redis:2",
        ],
        "MEMCACHE_SRV" | "MEMCACHE_SRV_REFRESH" => {
            &["BACKEND_TYPE=memcache", "MEMCACHE_SRV=_memcache._tcp.example"]
        }
        "BACKEND_TYPE" => &["REDIS_URL=redis:1"],
        _ if name.starts_with("TRACING_") => &["TRACING_ENABLED=true"],
        _ if name.starts_with("CONFIG_GRPC_XDS") || name.starts_with("XDS_") => &[
            "CONFIG_TYPE=GRPC_XDS_SOTW",
            "CONFIG_GRPC_XDS_SERVER_USE_TLS=true",
            "CONFIG_GRPC_XDS_CLIENT_TLS_CERT=/tls.crt",
            "CONFIG_GRPC_XDS_CLIENT_TLS_KEY=/tls.key",
        ],
        _ if name.starts_with("REDIS_TLS_") => &[
            "REDIS_URL=redis:1",
            "REDIS_TLS=true",
            "REDIS_TLS_CLIENT_CERT=/tls.crt",
            "REDIS_TLS_CLIENT_KEY=/tls.key",
        ],
        _ if name.starts_with("REDIS_PERSECOND") => {
            &["REDIS_URL=redis:1", "REDIS_PERSECOND=true", "REDIS_PERSECOND_URL=redis:2"]
        }
        _ if name.starts_with("REDIS") || name.starts_with("EXPIRATION") => &["REDIS_URL=redis:1"],
        _ if name.starts_with("MEMCACHE") => &[
            "BACKEND_TYPE=memcache",
            "MEMCACHE_HOST_PORT=memcache:1",
            "MEMCACHE_TLS=true",
            "MEMCACHE_TLS_CLIENT_CERT=/tls.crt",
            "MEMCACHE_TLS_CLIENT_KEY=/tls.key",
        ],
        _ => &[],
    }
}

/// Values of every kind; one of them must be good for a variable and change something.
const VALUES: [&str; 25] = [
    "grpc",
    "true",
    "false",
    "7",
    "7s",
    "0.25",
    "::1",
    "host:7",
    ":7",
    "/path",
    "k:v",
    "k=v",
    "debug",
    "json",
    "GRPC_XDS_SOTW",
    "memory",
    "cluster",
    "single",
    "unix",
    "name,host:7",
    "user:password",
    "X-Other",
    "_memcache._tcp.other",
    "text",
    "K:V",
];

/// What a variable's values make of the settings; its context's where it is in there.
fn with(name: &str, value: &str) -> Option<Settings> {
    let own = format!("{name}={value}");
    let set = format!("{name}=");
    let others = context(name).iter().copied().filter(|word| !word.starts_with(&set));
    let environment: Vec<&str> = others.chain([own.as_str()]).collect();
    read(&environment).ok()
}

#[test]
fn every_variable_is_in_the_table_once() {
    let mut names: Vec<String> = rows().into_iter().map(|(name, _)| name).collect();
    let mut known: Vec<&str> = super::page::REFERENCE.split_whitespace().collect();
    names.sort();
    known.sort_unstable();
    assert_eq!(names, known);
}

#[test]
fn what_is_called_the_same_or_better_is_honoured() {
    let rows = rows();
    let honoured = rows.iter().filter(|(_, standing)| standing == "same" || standing == "better");
    let mut count = 0;
    for (name, _) in honoured {
        let before = read(context(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        // Warnings are no effect.
        let differs = |settings: Settings| {
            Settings { warnings: Vec::new(), ..settings }
                != Settings { warnings: Vec::new(), ..before.clone() }
        };
        let effective = VALUES.iter().any(|value| with(name, value).is_some_and(differs));
        assert!(effective, "{name} changes nothing, whatever it says");
        count += 1;
    }
    assert_eq!(count, 100);
}

#[test]
fn what_is_replaced_says_so_in_one_line() {
    let rows = rows();
    let others = rows.iter().filter(|(_, standing)| standing == "replaced");
    let mut count = 0;
    for (name, _) in others {
        let settings = with(name, "7").unwrap_or_else(|| panic!("{name}=7"));
        let lines = settings.warnings.iter().filter(|line| line.starts_with(name.as_str()));
        assert_eq!(lines.count(), 1, "{name}: {:?}", settings.warnings);
        count += 1;
    }
    assert_eq!(count, 14);
}

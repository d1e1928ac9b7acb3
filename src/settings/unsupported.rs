//! Variables of the reference that are not honoured yet.
//!
//! Ignoring one of [`REFUSED`] would weaken safety or change what is counted, so its use
//! is an error; ignoring one of [`UNUSED`] is worth a warning.

use super::reader::{Declared, Reader, quoted};
use super::value::Value;

/// Name, the only value accepted (also the default), and what other values ask for.
const REFUSED: [(&str, &str, &str); 4] = [
    ("CONFIG_TYPE", "FILE", "Rules over xDS."),
    ("REDIS_TYPE", "SINGLE", "Redis Cluster and Sentinel."),
    ("REDIS_TLS", "false", "TLS to Redis."),
    ("REDIS_PERSECOND", "false", "A second Redis for limits per second."),
];

const XDS: &str = "Rules come from files.";
const STATSD: &str = "Metrics are served to Prometheus only.";
const PROMETHEUS: &str = "The names and buckets of metrics are built in.";
const POOL: &str = "The connections to Redis are managed without it.";
const SECOND: &str = "There is no second Redis.";
const TLS: &str = "There is no TLS to Redis yet.";
const START: &str = "Listeners open at once; readiness waits for the store.";
const TRACING: &str = "Traces are not exported yet.";

/// Name, the value that asks for nothing (so it needs no warning), and why it is not used.
const UNUSED: [(&str, &str, &str); 58] = [
    ("CONFIG_GRPC_XDS_NODE_ID", "default", XDS),
    ("CONFIG_GRPC_XDS_NODE_METADATA", "", XDS),
    ("CONFIG_GRPC_XDS_SERVER_URL", "localhost:18000", XDS),
    ("CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL", "3s", XDS),
    ("CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS", "", XDS),
    ("CONFIG_GRPC_XDS_SERVER_USE_TLS", "false", XDS),
    ("CONFIG_GRPC_XDS_CLIENT_TLS_CERT", "", XDS),
    ("CONFIG_GRPC_XDS_CLIENT_TLS_KEY", "", XDS),
    ("CONFIG_GRPC_XDS_SERVER_TLS_CACERT", "", XDS),
    ("CONFIG_GRPC_XDS_SERVER_TLS_SAN", "", XDS),
    ("XDS_CLIENT_BACKOFF_INITIAL_INTERVAL", "10s", XDS),
    ("XDS_CLIENT_BACKOFF_MAX_INTERVAL", "60s", XDS),
    ("XDS_CLIENT_BACKOFF_RANDOM_FACTOR", "0.5", XDS),
    ("XDS_CLIENT_BACKOFF_JITTER", "true", XDS),
    ("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES", "0", XDS),
    ("USE_DOG_STATSD", "false", STATSD),
    ("USE_DOG_STATSD_MOGRIFIERS", "", STATSD),
    ("USE_STATSD", "false", STATSD),
    ("STATSD_HOST", "", STATSD),
    ("STATSD_PORT", "", STATSD),
    ("STATSD_PROTOCOL", "", STATSD),
    ("EXTRA_TAGS", "", STATSD),
    ("STATS_FLUSH_INTERVAL", "", STATSD),
    ("DISABLE_STATS", "false", "Metrics cannot be switched off; they cost next to nothing."),
    ("PROMETHEUS_MAPPER_YAML", "", PROMETHEUS),
    ("PROMETHEUS_RESPONSE_TIME_AS_MILLISECONDS", "false", PROMETHEUS),
    ("REDIS_POOL_SIZE", "10", POOL),
    ("REDIS_TLS_CLIENT_CERT", "", TLS),
    ("REDIS_TLS_CLIENT_KEY", "", TLS),
    ("REDIS_TLS_CACERT", "", TLS),
    ("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION", "false", TLS),
    ("REDIS_PIPELINE_WINDOW", "0", POOL),
    ("REDIS_PIPELINE_LIMIT", "0", POOL),
    ("REDIS_CLUSTER_PIPELINE_PARALLELISM", "1", POOL),
    ("REDIS_POOL_ON_EMPTY_BEHAVIOR", "WAIT", POOL),
    ("REDIS_SENTINEL_AUTH", "", "There is no Redis Sentinel yet."),
    ("REDIS_HEALTH_CHECK_ACTIVE_CONNECTION", "false", "Readiness follows Redis in any case."),
    ("REDIS_STARTUP_INITIAL_INTERVAL", "1s", START),
    ("REDIS_STARTUP_MAX_INTERVAL", "30s", START),
    ("REDIS_STARTUP_MAX_ELAPSED_TIME", "0", START),
    ("REDIS_PERSECOND_SOCKET_TYPE", "unix", SECOND),
    ("REDIS_PERSECOND_TYPE", "SINGLE", SECOND),
    ("REDIS_PERSECOND_URL", "", SECOND),
    ("REDIS_PERSECOND_POOL_SIZE", "10", SECOND),
    ("REDIS_PERSECOND_AUTH", "", SECOND),
    ("REDIS_PERSECOND_TLS", "false", SECOND),
    ("REDIS_PERSECOND_SENTINEL_AUTH", "", SECOND),
    ("REDIS_PERSECOND_PIPELINE_WINDOW", "0", SECOND),
    ("REDIS_PERSECOND_PIPELINE_LIMIT", "0", SECOND),
    ("REDIS_PERSECOND_CLUSTER_PIPELINE_PARALLELISM", "1", SECOND),
    ("REDIS_PERSECOND_TIMEOUT", "10s", SECOND),
    ("REDIS_PERSECOND_POOL_ON_EMPTY_BEHAVIOR", "WAIT", SECOND),
    ("TRACING_ENABLED", "false", TRACING),
    ("TRACING_SERVICE_NAME", "RateLimit", TRACING),
    ("TRACING_SERVICE_NAMESPACE", "", TRACING),
    ("TRACING_SERVICE_INSTANCE_ID", "", TRACING),
    ("TRACING_EXPORTER_PROTOCOL", "http", TRACING),
    ("TRACING_SAMPLING_RATE", "1", TRACING),
];

/// Refuses or warns about what is set.
pub(super) fn check(reader: &mut Reader<'_>) {
    for (name, only, help) in REFUSED {
        let declared = Declared {
            name,
            default: only.to_owned(),
            allowed: only.to_owned(),
            help,
            group: "Not supported yet: other values are an error",
        };
        if let Some(text) = reader.noted(declared).filter(|text| !same(text, only)) {
            let what = help.trim_end_matches('.');
            let allowed = format!("{only}, as this is not supported yet: {what}");
            reader.refuse(name, &quoted(&text), &allowed);
        }
    }
    for (name, nothing, help) in UNUSED {
        let declared = Declared {
            name,
            default: String::new(),
            allowed: String::new(),
            help,
            group: "Not used yet: a warning at start",
        };
        // The value is not shown: some of these are passwords.
        if reader.noted(declared).is_some_and(|text| !same(&text, nothing)) {
            let why = help.trim_end_matches('.');
            reader.warn(format!("{name} is set but not used yet: {why}"));
        }
    }
}

/// Whether two texts mean the same, whatever type they have.
fn same(text: &str, other: &str) -> bool {
    let booleans = bool::parse(text).zip(bool::parse(other));
    text.eq_ignore_ascii_case(other) || booleans.is_some_and(|(a, b)| a == b)
}

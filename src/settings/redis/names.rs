//! What the variables of one Redis are called.

/// The variables of one Redis.
pub(super) struct Names {
    pub(super) url: &'static str,
    pub(super) socket_type: &'static str,
    pub(super) kind: &'static str,
    pub(super) auth: Auth,
    pub(super) sentinel_auth: Auth,
    pub(super) tls: &'static str,
    pub(super) timeout: &'static str,
}

/// The two ways to give a login.
pub(super) struct Auth {
    pub(super) given: &'static str,
    pub(super) file: &'static str,
}

macro_rules! names {
    ($prefix:literal) => {
        Names {
            url: concat!($prefix, "URL"),
            socket_type: concat!($prefix, "SOCKET_TYPE"),
            kind: concat!($prefix, "TYPE"),
            auth: Auth { given: concat!($prefix, "AUTH"), file: concat!($prefix, "AUTH_FILE") },
            sentinel_auth: Auth {
                given: concat!($prefix, "SENTINEL_AUTH"),
                file: concat!($prefix, "SENTINEL_AUTH_FILE"),
            },
            tls: concat!($prefix, "TLS"),
            timeout: concat!($prefix, "TIMEOUT"),
        }
    };
}

/// Those of the Redis for all limits.
pub(super) const MAIN: Names = names!("REDIS_");
/// Those of the Redis for limits per second.
pub(super) const PER_SECOND: Names = names!("REDIS_PERSECOND_");

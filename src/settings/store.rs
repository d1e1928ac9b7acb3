//! The part of the table that says where counters live.

use std::time::Duration;

use super::reader::Reader;
use super::value::{Jitter, Value};
use super::{Store, memcached};
use crate::store::redis::{RedisConfig, SocketType};
use crate::store::secret::Secret;

const MS: Duration = Duration::from_millis(1);
const MILLION: usize = 1_000_000;

/// What `BACKEND_TYPE` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Memory,
    Redis,
    Memcached,
}

impl Value for Kind {
    const ALLOWED: &'static str = "redis, memcache or memory";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "memory" => Some(Self::Memory),
            "redis" => Some(Self::Redis),
            "memcache" => Some(Self::Memcached),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Memory => "memory".to_owned(),
            Self::Redis => "redis".to_owned(),
            Self::Memcached => "memcache".to_owned(),
        }
    }
}

/// Reads where counters live: in Redis if `REDIS_URL` says where that is, else in memory.
pub(super) fn read(r: &mut Reader<'_>) -> Store {
    r.group("Store");
    let kind: Option<Kind> = r.optional(
        "BACKEND_TYPE",
        "Where counters live; unset: in Redis if `REDIS_URL` is set, else in memory.",
    );
    let timeout = r.within(
        "TIDEGATE_STORE_TIMEOUT",
        200 * MS,
        MS..=60_000 * MS,
        "How long one decision waits for its counters.",
    );
    let max_counters = r.within(
        "TIDEGATE_MEMORY_MAX_COUNTERS",
        MILLION,
        1..=1000 * MILLION,
        "How many counters the memory store holds.",
    );
    let mut given = Given::read(r);
    let jitter = given.jitter.0;
    let url = given.url.take().filter(|url| !url.expose().is_empty());
    let redis = match (kind, url) {
        (Some(kind @ (Kind::Memory | Kind::Memcached)), url) => {
            if url.is_some() {
                let kind = kind.show();
                r.warn(format!("REDIS_URL is set but not used, as BACKEND_TYPE is {kind}"));
            }
            None
        }
        (_, Some(url)) => given.server(&url, timeout, r),
        (Some(Kind::Redis), None) => {
            // Counting in memory instead would give every replica a limit of its own.
            r.refuse("REDIS_URL", "nothing", "an address, as BACKEND_TYPE is redis");
            None
        }
        (None, None) => None,
    };
    let memcached = memcached::Given::read(r);
    let memcached = match kind {
        Some(Kind::Memcached) => memcached.config(r),
        _ => {
            memcached.warn_unused(r);
            None
        }
    };
    if let Some(mut config) = memcached {
        config.timeout = timeout;
        config.expiration_jitter_max_secs = jitter;
        return Store::Memcached(config);
    }
    redis.map_or(Store::Memory { max_counters }, Store::Redis)
}

/// The variables about Redis, as they are.
struct Given {
    url: Option<Secret>,
    socket: SocketType,
    auth: Option<Secret>,
    connect_timeout: Duration,
    jitter: Jitter,
}

impl Value for SocketType {
    const ALLOWED: &'static str = "tcp or unix";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        match self {
            Self::Tcp => "tcp".to_owned(),
            Self::Unix => "unix".to_owned(),
        }
    }
}

impl Given {
    fn read(r: &mut Reader<'_>) -> Self {
        let given = Self {
            url: r.secret(
                "REDIS_URL",
                "Where Redis is: a path, `host:port` or \
                 `redis://user:password@host:port/database`.",
            ),
            socket: r.read(
                "REDIS_SOCKET_TYPE",
                SocketType::Tcp,
                "The kind of socket to Redis. A `REDIS_URL` that is a path is a unix socket anyway.",
            ),
            auth: r.secret(
                "REDIS_AUTH",
                "`password` or `user:password`; goes before the credentials of `REDIS_URL`.",
            ),
            connect_timeout: r.within(
                "REDIS_TIMEOUT",
                10_000 * MS,
                MS..=3_600_000 * MS,
                "How long connecting to Redis may take.",
            ),
            jitter: r.read(
                "EXPIRATION_JITTER_MAX_SECONDS",
                Jitter(300),
                "Up to this many seconds are added at random to the time counters live on in \
                 Redis or memcached.",
            ),
        };
        if given.url.as_ref().is_some_and(|url| url.expose().is_empty()) {
            r.warn("REDIS_URL is set but empty: it counts as unset");
        }
        given
    }

    /// The server at `url`, if that can be read.
    fn server(self, url: &Secret, timeout: Duration, r: &mut Reader<'_>) -> Option<RedisConfig> {
        match RedisConfig::new(url.expose(), self.socket, self.auth.as_ref()) {
            Ok(mut config) => {
                config.dialing.connect_timeout = self.connect_timeout;
                config.timeout = timeout;
                config.expiration_jitter_max_secs = self.jitter.0;
                Some(config)
            }
            Err(error) => {
                let found = "something else (not shown: it may hold a password)";
                r.refuse("REDIS_URL", found, &error.to_string());
                None
            }
        }
    }
}

//! The part of the table that says where counters live.

use std::time::Duration;

use super::reader::Reader;
use super::value::Value;
use super::{Store, memcached, redis};

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
        "How long a call to the store may take; one without an answer by then counts as lost, and the \
         connection as suspicious. Decisions do not wait as long (TIDEGATE_DECISION_TIMEOUT).",
    );
    let max_counters = r.within(
        "TIDEGATE_MEMORY_MAX_COUNTERS",
        MILLION,
        1..=1000 * MILLION,
        "How many counters the memory store holds.",
    );
    let redis = redis::read(r);
    let memcached = memcached::Given::read(r);
    let jitter = redis.jitter_max_secs();
    let kind = kind.unwrap_or(if redis.is_asked_for() { Kind::Redis } else { Kind::Memory });
    if kind != Kind::Redis {
        redis.leave(&kind.show(), r);
    }
    if kind != Kind::Memcached {
        memcached.warn_unused(r);
    }
    // Counting in memory instead of servers that cannot be read would give every replica a
    // limit of its own; but then there is an error, and the process does not start.
    let store = match kind {
        Kind::Memory => None,
        Kind::Redis => redis.store(timeout, r),
        Kind::Memcached => memcached.config(r).map(|mut config| {
            config.timeout = timeout;
            config.expiration_jitter_max_secs = jitter;
            Store::Memcached(config)
        }),
    };
    store.unwrap_or(Store::Memory { max_counters })
}

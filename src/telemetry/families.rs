//! Every metric that envoyproxy/ratelimit has, by its name there.

use super::metric::Metric;

/// Hits asked for.
pub static TOTAL_HITS: Metric = Metric::of_paths(
    "ratelimit.service.rate_limit.*.total_hits",
    "ratelimit_service_rate_limit_total_hits",
    "Hits asked for, by rule.",
);
/// Hits beyond the limit.
pub static OVER_LIMIT: Metric = Metric::of_paths(
    "ratelimit.service.rate_limit.*.over_limit",
    "ratelimit_service_rate_limit_over_limit",
    "Hits beyond the limit, by rule.",
);
/// Hits between the near-limit threshold and the limit.
pub static NEAR_LIMIT: Metric = Metric::of_paths(
    "ratelimit.service.rate_limit.*.near_limit",
    "ratelimit_service_rate_limit_near_limit",
    "Hits between the near-limit threshold and the limit, by rule.",
);
/// Hits that the refusal cache refused.
///
/// On the page those of paths with two keys or more are added to [`OVER_LIMIT`] once more,
/// as they are there; those of one key have a name of their own.
pub static OVER_LIMIT_FROM_CACHE: Metric = Metric::counter(
    "ratelimit.service.rate_limit.*.over_limit_with_local_cache",
    "Hits that the refusal cache refused.",
);
/// Hits of requests that were within the limit.
pub static WITHIN_LIMIT: Metric = Metric::of_paths(
    "ratelimit.service.rate_limit.*.within_limit",
    "ratelimit_service_rate_limit_within_limit",
    "Hits within the limit, by rule.",
);
/// Hits beyond the limit that shadow mode let pass.
pub static SHADOW_MODE: Metric = Metric::of_paths(
    "ratelimit.service.rate_limit.*.shadow_mode",
    "ratelimit_service_rate_limit_shadow_mode",
    "Hits beyond the limit that shadow mode let pass, by rule.",
);
/// Hits given back.
pub static NEGATIVE_HITS: Metric = Metric::of_paths(
    "ratelimit.service.rate_limit.*.total_negative_hits",
    "ratelimit_service_rate_limit_total_negative_hits",
    "Hits given back, by rule.",
);
/// Descriptors of domains without rules.
pub static DOMAIN_NOT_FOUND: Metric = Metric::counter(
    "ratelimit.service.rate_limit.*.domain_not_found",
    "Descriptors of a domain without rules.",
);
/// Loads of rules that took effect.
pub static CONFIG_LOADED: Metric =
    Metric::counter("ratelimit.service.config_load_success", "Loads of rules that took effect.");
/// Loads of rules that were refused.
pub static CONFIG_REFUSED: Metric =
    Metric::counter("ratelimit.service.config_load_error", "Loads of rules that were refused.");
/// Requests over limit that SHADOW_MODE let pass.
pub static GLOBAL_SHADOW: Metric = Metric::counter(
    "ratelimit.service.global_shadow_mode",
    "Requests over limit that SHADOW_MODE let pass.",
);
/// Requests that got no decision.
pub static ERRORS: Metric = Metric::counter(
    "ratelimit.service.call.should_rate_limit.*",
    "Requests that got no decision, by cause.",
)
.labelled("ratelimit_service_should_rate_limit_error", &["err_type"]);
/// gRPC calls.
pub static REQUESTS: Metric =
    Metric::counter("ratelimit_server.*.total_requests", "gRPC calls, by method.")
        .labelled("ratelimit_service_total_requests", &["grpc_method"]);
/// How long gRPC calls took: timers in statsd, a histogram on the page.
pub static RESPONSE_TIME: Metric =
    Metric::timer("ratelimit_server.*.response_time", "Duration of gRPC calls, by method.")
        .labelled("ratelimit_service_response_time_seconds", &["grpc_method"]);

/// Connections of a Redis pool that are open.
pub static POOL_ACTIVE: Metric =
    Metric::gauge("ratelimit.*.cx_active", "Connections to Redis that are open.");
/// Connections of a Redis pool that were opened.
pub static POOL_TOTAL: Metric =
    Metric::counter("ratelimit.*.cx_total", "Connections to Redis that were opened.");
/// Connections of a Redis pool that were closed.
pub static POOL_CLOSED: Metric =
    Metric::counter("ratelimit.*.cx_local_close", "Connections to Redis that were closed.");

/// Entries of the refusal cache.
pub static CACHE_ENTRIES: Metric =
    Metric::gauge("ratelimit.localcache.entryCount", "Entries of the refusal cache.");
/// Look-ups that found something.
pub static CACHE_HITS: Metric =
    Metric::gauge("ratelimit.localcache.hitCount", "Look-ups of the refusal cache that found.");
/// Look-ups that found nothing.
pub static CACHE_MISSES: Metric = Metric::gauge(
    "ratelimit.localcache.missCount",
    "Look-ups of the refusal cache that did not find.",
);
/// Look-ups.
pub static CACHE_LOOKUPS: Metric =
    Metric::gauge("ratelimit.localcache.lookupCount", "Look-ups of the refusal cache.");
/// Entries that had their time.
pub static CACHE_EXPIRED: Metric =
    Metric::gauge("ratelimit.localcache.expiredCount", "Entries whose time was over.");
/// Entries that made room.
pub static CACHE_EVICTED: Metric =
    Metric::gauge("ratelimit.localcache.evacuateCount", "Entries that made room for others.");
/// Entries that were written again.
pub static CACHE_OVERWRITTEN: Metric =
    Metric::gauge("ratelimit.localcache.overwriteCount", "Entries that were written again.");

const CODE: &[&str] = &["code"];
/// Reads of memcached, by outcome: `success`, `error`.
pub static MEMCACHE_READS: Metric =
    Metric::counter("ratelimit.memcache.multiget", "Reads from memcached, by outcome.")
        .labelled("", CODE);
/// Increments in memcached, by outcome: `success`, `miss`, `error`.
pub static MEMCACHE_INCREMENTS: Metric =
    Metric::counter("ratelimit.memcache.increment", "Increments in memcached, by outcome.")
        .labelled("", CODE);
/// Counters begun in memcached, by outcome: `success`, `error`, `not_stored`.
pub static MEMCACHE_ADDS: Metric =
    Metric::counter("ratelimit.memcache.add", "Counters begun in memcached, by outcome.")
        .labelled("", CODE);
/// Keys asked of memcached.
pub static MEMCACHE_KEYS_REQUESTED: Metric =
    Metric::counter("ratelimit.memcache.keys_requested", "Keys asked of memcached.");
/// Keys that memcached had.
pub static MEMCACHE_KEYS_FOUND: Metric =
    Metric::counter("ratelimit.memcache.keys_found", "Keys that memcached had.");

/// Attempts to read files, of rules (`runtime`) or certificates (`certs`).
pub static LOAD_ATTEMPTS: Metric =
    Metric::counter("*.load_attempts", "Attempts to read the files.");
/// Attempts that failed.
pub static LOAD_FAILURES: Metric =
    Metric::counter("*.load_failures", "Attempts to read the files that failed.");
/// Files of the last attempt that did not fail.
pub static LOAD_VALUES: Metric = Metric::gauge("*.num_values", "Files that were read last.");

/// All of them, in the order of `docs/metrics.md`.
pub static ALL: &[&Metric] = &[
    &TOTAL_HITS,
    &OVER_LIMIT,
    &NEAR_LIMIT,
    &OVER_LIMIT_FROM_CACHE,
    &WITHIN_LIMIT,
    &SHADOW_MODE,
    &NEGATIVE_HITS,
    &DOMAIN_NOT_FOUND,
    &CONFIG_LOADED,
    &CONFIG_REFUSED,
    &GLOBAL_SHADOW,
    &ERRORS,
    &REQUESTS,
    &RESPONSE_TIME,
    &POOL_ACTIVE,
    &POOL_TOTAL,
    &POOL_CLOSED,
    &CACHE_ENTRIES,
    &CACHE_HITS,
    &CACHE_MISSES,
    &CACHE_LOOKUPS,
    &CACHE_EXPIRED,
    &CACHE_EVICTED,
    &CACHE_OVERWRITTEN,
    &MEMCACHE_READS,
    &MEMCACHE_INCREMENTS,
    &MEMCACHE_ADDS,
    &MEMCACHE_KEYS_REQUESTED,
    &MEMCACHE_KEYS_FOUND,
    &LOAD_ATTEMPTS,
    &LOAD_FAILURES,
    &LOAD_VALUES,
];

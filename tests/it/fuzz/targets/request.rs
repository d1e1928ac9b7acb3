//! Requests made up of bytes, so that most bytes are a request that is about something.

use tidegate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::wire::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{
    Entry, RateLimitOverride,
};
use tidegate::wire::pb::envoy::service::ratelimit::v3::RateLimitRequest;

const KEYS: [&str; 20] = [
    "user",
    "most",
    "sliding",
    "slidingmost",
    "bucket",
    "bucketslow",
    "both",
    "network",
    "pattern",
    "listed",
    "closed",
    "open",
    "shadow",
    "quota",
    "replacing",
    "one",
    "two",
    "path",
    "",
    "unknown",
];
const VALUES: [&str; 10] =
    ["", "a1", "10.0.0.1", "::1", "/v1/x", "gold", "10.0.0.1/8", "x_y", "\u{1f98a}", "*"];
const HITS: [u64; 12] = [
    0,
    1,
    2,
    3,
    7,
    20,
    21,
    u32::MAX as u64,
    1 << 53,
    i64::MAX as u64,
    i64::MAX as u64 + 1,
    u64::MAX,
];

/// The request that the bytes choose.
pub(super) fn made_up(bytes: &[u8]) -> RateLimitRequest {
    let mut bytes = bytes.iter().map(|byte| usize::from(*byte));
    let mut next = || bytes.next().unwrap_or(0);
    let domain = ["shop", "together", "shop", "nowhere"][next() % 4].to_owned();
    let hits_addend = HITS[next() % HITS.len()] as u32;
    let descriptors = (0..next() % 8).map(|_| {
        let flags = next();
        let entries = (0..1 + flags % 2).map(|_| Entry {
            key: KEYS[next() % KEYS.len()].to_owned(),
            value: VALUES[next() % VALUES.len()].to_owned(),
        });
        let entries = entries.collect();
        RateLimitDescriptor {
            entries,
            limit: (flags & 0x70 == 0x70).then(|| RateLimitOverride {
                requests_per_unit: HITS[next() % HITS.len()] as u32,
                unit: (next() % 9) as i32,
            }),
            hits_addend: (flags & 4 != 0).then(|| HITS[next() % HITS.len()]),
            is_negative_hits: flags & 0x88 == 0x88,
        }
    });
    let descriptors = descriptors.collect();
    RateLimitRequest { domain, descriptors, hits_addend }
}

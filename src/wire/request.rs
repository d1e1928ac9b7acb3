//! A request off the wire: bounds checked, text borrowed.

use super::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use super::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use super::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use crate::limiter::{Direction, Request, Terms};
use crate::rules::{Entry, Limit, Unit};

/// How much a request may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Descriptors of a request.
    pub descriptors: usize,
    /// Entries of a descriptor.
    pub entries: usize,
    /// Bytes of the domain, of a key and of a value.
    pub string_bytes: usize,
}

/// What a request has too much of, or does not say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More descriptors than allowed.
    #[error("{found} descriptors; at most {allowed} are allowed (TIDEGATE_MAX_DESCRIPTORS)")]
    Descriptors {
        /// How many there are.
        found: usize,
        /// How many there may be.
        allowed: usize,
    },
    /// More entries than allowed.
    #[error(
        "descriptors[{descriptor}] has {found} entries; at most {allowed} are allowed \
         (TIDEGATE_MAX_ENTRIES)"
    )]
    Entries {
        /// The index of the descriptor.
        descriptor: usize,
        /// How many there are.
        found: usize,
        /// How many there may be.
        allowed: usize,
    },
    /// A longer text than allowed.
    #[error("{place} has {found} bytes; at most {allowed} are allowed (TIDEGATE_MAX_STRING_BYTES)")]
    StringBytes {
        /// Which text.
        place: String,
        /// How long it is.
        found: usize,
        /// How long it may be.
        allowed: usize,
    },
    /// A limit without a window.
    #[error(
        "descriptors[{descriptor}].limit.unit is {found}; allowed are SECOND (1), MINUTE (2), \
         HOUR (3), DAY (4), MONTH (5), YEAR (6) and WEEK (7)"
    )]
    Unit {
        /// The index of the descriptor.
        descriptor: usize,
        /// The number found.
        found: i32,
    },
}

/// Reads `message` within `bounds`.
///
/// # Errors
///
/// [`RequestError`] names the first bound that is passed, or a limit of the caller's
/// whose unit has no window.
pub fn request<'m>(
    message: &'m RateLimitRequest,
    bounds: &Bounds,
) -> Result<Request<'m>, RequestError> {
    let found = message.descriptors.len();
    if found > bounds.descriptors {
        return Err(RequestError::Descriptors { found, allowed: bounds.descriptors });
    }
    check_length(&message.domain, bounds, || "the domain".to_owned())?;
    let mut request = Request::new(&message.domain, message.hits_addend);
    for (index, descriptor) in message.descriptors.iter().enumerate() {
        check_entries(descriptor, index, bounds)?;
        let entries = descriptor.entries.iter();
        request.push(
            entries.map(|entry| Entry { key: &entry.key, value: &entry.value }),
            Terms {
                limit: descriptor.limit.as_ref().map(|l| limit(l, index)).transpose()?,
                hits: descriptor.hits_addend,
                direction: match descriptor.is_negative_hits {
                    true => Direction::GiveBack,
                    false => Direction::Spend,
                },
            },
        );
    }
    Ok(request)
}

fn check_entries(
    descriptor: &RateLimitDescriptor,
    index: usize,
    bounds: &Bounds,
) -> Result<(), RequestError> {
    let found = descriptor.entries.len();
    if found > bounds.entries {
        let allowed = bounds.entries;
        return Err(RequestError::Entries { descriptor: index, found, allowed });
    }
    for (i, entry) in descriptor.entries.iter().enumerate() {
        let place = |part: &str| format!("descriptors[{index}].entries[{i}].{part}");
        check_length(&entry.key, bounds, || place("key"))?;
        check_length(&entry.value, bounds, || place("value"))?;
    }
    Ok(())
}

fn check_length(
    text: &str,
    bounds: &Bounds,
    place: impl FnOnce() -> String,
) -> Result<(), RequestError> {
    if text.len() <= bounds.string_bytes {
        return Ok(());
    }
    let allowed = bounds.string_bytes;
    Err(RequestError::StringBytes { place: place(), found: text.len(), allowed })
}

fn limit(message: &RateLimitOverride, descriptor: usize) -> Result<Limit, RequestError> {
    let found = message.unit;
    let unit = unit(found).ok_or(RequestError::Unit { descriptor, found })?;
    Ok(Limit::fixed(message.requests_per_unit, unit))
}

/// The unit of a wire number: those of the request's enum, and 7, which callers that
/// need a week send.
fn unit(number: i32) -> Option<Unit> {
    Unit::ALL.into_iter().find(|unit| super::response::unit(*unit) as i32 == number)
}

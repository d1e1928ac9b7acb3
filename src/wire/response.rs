//! A decision as the caller gets it.

use prost_types::Duration;

use super::metadata;
use super::pb::envoy::config::core::v3::HeaderValue;
use super::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use super::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit as PbUnit;
use super::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use crate::limiter::{Applied, Request, Status, Verdict, Window};
use crate::rules::{Algorithm, Limit, Ruleset, Unit};
use crate::service::Answer;

/// What an answer holds beside its verdicts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The names of the response headers, `None` for no headers.
    pub headers: Option<HeaderNames>,
    /// Whether dynamic metadata is sent.
    pub dynamic_metadata: bool,
}

/// The names of the response headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderNames {
    /// Carries requests_per_unit.
    pub limit: String,
    /// Carries what is left in the window.
    pub remaining: String,
    /// Carries the seconds until the window ends.
    pub reset: String,
}

/// Renders `answer`, which was given to `request`.
pub fn response(answer: &Answer, request: &Request<'_>, layout: &Layout) -> RateLimitResponse {
    let decision = &answer.decision;
    let ruleset = &answer.snapshot.ruleset;
    let headline = decision.headline.and_then(|index| decision.statuses.get(index));
    RateLimitResponse {
        overall_code: code(decision.overall).into(),
        statuses: decision.statuses.iter().map(|s| status(s, ruleset)).collect(),
        response_headers_to_add: match (&layout.headers, headline) {
            (Some(names), Some(status)) => headers(names, status),
            _ => Vec::new(),
        },
        dynamic_metadata: layout
            .dynamic_metadata
            .then(|| metadata::dynamic(request, decision, ruleset)),
        ..RateLimitResponse::default()
    }
}

fn code(verdict: Verdict) -> Code {
    match verdict {
        Verdict::Ok => Code::Ok,
        Verdict::OverLimit => Code::OverLimit,
        Verdict::Unknown => Code::Unknown,
    }
}

fn status(status: &Status, ruleset: &Ruleset) -> DescriptorStatus {
    let applied = status.applied.as_ref();
    let name = |(id, applied): (_, &Applied)| {
        let limit = ruleset.rule(id).limits.get(applied.index);
        limit.map(|limit| limit.name.clone().into_string())
    };
    DescriptorStatus {
        code: code(status.verdict).into(),
        current_limit: applied.map(|applied| RateLimit {
            requests_per_unit: applied.limit.requests_per_unit,
            unit: unit(applied.limit.unit).into(),
            name: status.rule.zip(Some(applied)).and_then(name).unwrap_or_default(),
        }),
        limit_remaining: status.remaining,
        duration_until_reset: applied.map(|applied| Duration {
            seconds: i64::try_from(applied.reset_secs).unwrap_or(i64::MAX),
            nanos: 0,
        }),
    }
}

fn headers(names: &HeaderNames, status: &Status) -> Vec<HeaderValue> {
    let Some(applied) = &status.applied else {
        return Vec::new();
    };
    let header = |name: &str, value: String| HeaderValue {
        key: name.to_owned(),
        value,
        ..HeaderValue::default()
    };
    vec![
        header(&names.limit, limit_value(&applied.limit)),
        header(&names.remaining, status.remaining.to_string()),
        header(&names.reset, applied.reset_secs.to_string()),
    ]
}

/// The number; and where that says too little, the policy: `5, 5;w=900;burst=20`.
fn limit_value(limit: &Limit) -> String {
    let number = limit.requests_per_unit;
    let window = Window::of(limit).as_secs();
    match limit.algorithm {
        Algorithm::FixedWindow if limit.multiplier == 1 => number.to_string(),
        Algorithm::FixedWindow | Algorithm::SlidingWindow => {
            format!("{number}, {number};w={window}")
        }
        Algorithm::TokenBucket { burst } => {
            format!("{number}, {number};w={window};burst={burst}")
        }
    }
}

/// The wire's number of a unit.
pub(super) fn unit(unit: Unit) -> PbUnit {
    match unit {
        Unit::Second => PbUnit::Second,
        Unit::Minute => PbUnit::Minute,
        Unit::Hour => PbUnit::Hour,
        Unit::Day => PbUnit::Day,
        Unit::Week => PbUnit::Week,
        Unit::Month => PbUnit::Month,
        Unit::Year => PbUnit::Year,
    }
}

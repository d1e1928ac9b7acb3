//! One line of the decision log about a request that was decided.

use super::choice::Kind;
use super::fields::{Field, Fields};
use crate::limiter::{Source, Status, Verdict};
use crate::rules::{Algorithm, Limit};
use crate::telemetry::hashing::{Values, word};
use crate::telemetry::logs::DECISIONS;
use crate::telemetry::{Call, Decided};

/// How a line is written.
pub(super) struct Line<'l> {
    /// What it holds.
    pub(super) fields: Fields,
    /// Shows values.
    pub(super) values: &'l Values,
    /// What became of the request.
    pub(super) outcome: Kind,
    /// How many lines were held back before it.
    pub(super) before: u64,
}

/// Writes it.
pub(super) fn write(call: &Call<'_>, decided: &Decided<'_, '_>, line: Line<'_>) {
    let Decided { request, ruleset, decision, .. } = decided;
    let has = |field| line.fields.has(field);
    let telling = telling(decided, line.outcome);
    let status = telling.and_then(|index| decision.statuses.get(index));
    let applied = status.and_then(|status| status.applied.as_ref());
    let rule = status.and_then(|status| status.rule).filter(|_| has(Field::Rule));
    let limit = applied.map(|applied| applied.limit).filter(|_| has(Field::Limit));
    let descriptor = telling.and_then(|index| request.descriptors().get(index));
    let descriptors = descriptor.filter(|_| has(Field::Descriptors)).map(|descriptor| {
        let mut text = String::new();
        line.values.describe(request.entries(descriptor), &mut text);
        text
    });
    let over = decision.statuses.iter().filter(|status| status.verdict == Verdict::OverLimit);
    let over = Some(over.count()).filter(|over| *over > 1 && has(Field::Descriptors));
    let hits = applied.map(|applied| applied.tally.total + applied.tally.given_back);
    let policy = decided.stood_in.iter().map(|policy| policy.name()).collect::<Vec<_>>().join(",");
    tracing::info!(
        target: DECISIONS,
        outcome = line.outcome.name(),
        domain = has(Field::Domain).then(|| cut(request.domain)),
        rule = rule.map(|id| &*ruleset.rule(id).path),
        descriptors,
        descriptors_over = over,
        limit = limit.map(|limit| limit.requests_per_unit),
        unit = limit.map(unit),
        algorithm = limit.map(|limit| limit.algorithm.name()),
        burst = limit.and_then(burst),
        hits = hits.filter(|_| has(Field::Hits)),
        remaining = applied.and(status).filter(|_| has(Field::Remaining)).map(|s| s.remaining),
        reset_seconds = applied.filter(|_| has(Field::Reset)).map(|applied| applied.reset_secs),
        decided_by = applied.filter(|_| has(Field::DecidedBy)).map(|a| name(a.source)),
        policy = Some(policy).filter(|names| !names.is_empty() && has(Field::DecidedBy)),
        duration_ms = has(Field::Duration).then(|| call.milliseconds()),
        request_id = has(Field::RequestId).then(|| call.id()),
        held_back = Some(line.before).filter(|before| *before > 0),
        "decision"
    );
}

/// A name of the caller's, cut where it is long.
pub(super) fn cut(name: &str) -> String {
    let mut text = String::new();
    word(name, &mut text);
    text
}

/// The descriptor that a line is about: the one that the answer's headers speak of, unless
/// another one is why the line is written.
fn telling(decided: &Decided<'_, '_>, outcome: Kind) -> Option<usize> {
    let decision = decided.decision;
    let is_why = |status: &Status| match outcome {
        Kind::Refused => status.verdict == Verdict::OverLimit,
        Kind::Shadow => {
            status.verdict == Verdict::OverLimit
                || status.applied.as_ref().is_some_and(|applied| applied.tally.shadow > 0)
        }
        _ => true,
    };
    let headline = decision.headline.filter(|i| decision.statuses.get(*i).is_some_and(is_why));
    headline.or_else(|| decision.statuses.iter().position(is_why))
}

fn unit(limit: Limit) -> String {
    match limit.multiplier {
        1 => limit.unit.name().to_owned(),
        many => format!("{many} {}", limit.unit.name()),
    }
}

fn burst(limit: Limit) -> Option<u32> {
    match limit.algorithm {
        Algorithm::TokenBucket { burst } => Some(burst),
        Algorithm::FixedWindow | Algorithm::SlidingWindow => None,
    }
}

fn name(source: Source) -> &'static str {
    match source {
        Source::Store => "store",
        Source::RefusalCache => "refusal_cache",
        Source::Lease => "lease",
        Source::Fallback => "fallback",
        Source::Nobody => "nobody",
    }
}

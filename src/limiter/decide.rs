//! The second half of a decision: counts become verdicts, one answer and statistics.

use std::time::Duration;

use smallvec::SmallVec;

use super::plan::{Counted, Item, Plan};
use super::{Count, Direction, Meter, Policy, Source, Tally, Window};
use crate::clock::Timestamp;
use crate::rules::{Limit, RuleId, Ruleset};

/// What is answered for a descriptor, or for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass.
    Ok,
    /// It may not.
    OverLimit,
    /// Nobody could say. Only a descriptor is answered so, and only where the request is
    /// refused for another one.
    Unknown,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The answer as a whole.
    pub overall: Verdict,
    /// One per descriptor, in the request's order.
    pub statuses: SmallVec<[Status; 4]>,
    /// The status that response headers speak of.
    pub headline: Option<usize>,
    /// The whole was over limit and is answered with OK because everything is in
    /// shadow mode.
    pub shadowed: bool,
    /// The request's domain has no rules.
    pub domain_unknown: bool,
}

/// The answer for one descriptor.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Its verdict, shadow mode of the rule applied.
    pub verdict: Verdict,
    /// What it counted against; `None` if no limit applied.
    pub applied: Option<Applied>,
    /// Hits left in the window; `u32::MAX` for an unlimited rule, else 0 without a limit.
    pub remaining: u32,
    /// The rule that matched, an unlimited one included.
    pub rule: Option<RuleId>,
}

/// A limit as it applied to a descriptor: of several, one that refused, else the one with
/// the least left.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The limit.
    pub limit: Limit,
    /// Which of its rule's limits it is.
    pub index: usize,
    /// Whole seconds, at least 1: until the same hits fit, if they did not; else until the
    /// counter is as new. For hits that never fit, until the window ends.
    pub reset_secs: u64,
    /// The hits are more than the limit ever admits at once.
    pub never_fits: bool,
    /// What the statistics gain.
    pub tally: Tally,
    /// Who counted it.
    pub source: Source,
    /// The metric path, `None` where it is the rule's own.
    pub path: Option<Box<str>>,
}

/// Decides from `counts`, which answer the plan's operations in order.
///
/// What [nobody](Source::Nobody) could answer for refuses nothing: if the whole is over limit,
/// it is for what is known. That it is not over limit says nothing then.
pub fn decide(ruleset: &Ruleset, plan: Plan, counts: &[Count], policy: &Policy) -> Decision {
    let now = plan.batch.now;
    let statuses: SmallVec<[Status; 4]> = plan
        .items
        .into_iter()
        .map(|item| match item {
            Item::Free => free(),
            Item::Unlimited(rule) => unlimited(rule),
            Item::Counted(counted) => {
                let counts = counts.get(counted.operations.clone()).unwrap_or_default();
                judge(ruleset, counted, counts, (now, policy))
            }
        })
        .collect();
    let roles: SmallVec<[Role; 4]> =
        statuses.iter().map(|status| role(ruleset, status, policy)).collect();
    let over = is_over(&statuses, &roles);
    Decision {
        overall: if over && !policy.shadow_mode { Verdict::OverLimit } else { Verdict::Ok },
        headline: headline(&statuses, &roles),
        shadowed: over && policy.shadow_mode,
        domain_unknown: plan.domain_unknown,
        statuses,
    }
}

fn free() -> Status {
    Status { verdict: Verdict::Ok, applied: None, remaining: 0, rule: None }
}

fn unlimited(rule: RuleId) -> Status {
    Status { verdict: Verdict::Ok, applied: None, remaining: u32::MAX, rule: Some(rule) }
}

fn unknown(rule: Option<RuleId>) -> Status {
    Status { verdict: Verdict::Unknown, applied: None, remaining: 0, rule }
}

fn judge(
    ruleset: &Ruleset,
    counted: Counted,
    counts: &[Count],
    (now, policy): (Timestamp, &Policy),
) -> Status {
    let Counted { rule, limits, hits, direction, path, .. } = counted;
    let Some(((index, limit), count)) = telling(&limits, counts) else { return free() };
    let shadow = rule.is_some_and(|id| ruleset.rule(id).shadow_mode);
    let over = !count.admitted;
    if !over && counts.iter().any(|count| count.source == Source::Nobody) {
        return unknown(rule);
    }
    let tally = match direction {
        Direction::GiveBack => Tally { given_back: hits, ..Tally::default() },
        Direction::Spend => {
            let tally = Tally::of(size(limit), hits, count, policy.near_limit_ratio);
            if over && shadow { tally.shadowed() } else { tally }
        }
    };
    Status {
        verdict: if over && !shadow { Verdict::OverLimit } else { Verdict::Ok },
        remaining: left(limit, count),
        applied: Some(Applied {
            limit: *limit,
            index: *index,
            reset_secs: secs(count.wait.unwrap_or_else(|| Window::of(limit).left(now))),
            never_fits: count.wait.is_none(),
            tally,
            source: count.source,
            path,
        }),
        rule,
    }
}

/// The limit that a status speaks of, and its count: the one that refuses longest, else
/// the one with the least left; the first of equals.
fn telling<'c>(
    limits: &'c [(usize, Limit)],
    counts: &'c [Count],
) -> Option<(&'c (usize, Limit), &'c Count)> {
    let longest = |count: &Count| count.wait.unwrap_or(Duration::MAX);
    let refused = limits.iter().zip(counts).filter(|(_, count)| !count.admitted);
    let refused = refused.rev().max_by_key(|(_, count)| longest(count));
    refused.or_else(|| limits.iter().zip(counts).min_by_key(|((_, l), count)| left(l, count)))
}

fn size(limit: &Limit) -> u32 {
    Meter::of(limit).size()
}

fn left(limit: &Limit, count: &Count) -> u32 {
    let left = u64::from(size(limit)).saturating_sub(count.after);
    if count.admitted { u32::try_from(left).unwrap_or(u32::MAX) } else { 0 }
}

/// Whole seconds, rounded up, at least 1.
fn secs(span: Duration) -> u64 {
    (span.as_secs() + u64::from(span.subsec_nanos() > 0)).max(1)
}

/// What a status counts for in the answer as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Not at all: an unlimited rule.
    None,
    /// Alone it refuses the request.
    Limit,
    /// It refuses the request together with all others of its kind.
    Quota,
}

fn role(ruleset: &Ruleset, status: &Status, policy: &Policy) -> Role {
    match status.rule {
        Some(_) if status.applied.is_none() && status.verdict != Verdict::Unknown => Role::None,
        _ if policy.quota_mode => Role::Quota,
        Some(id) if ruleset.rule(id).quota_mode => Role::Quota,
        _ => Role::Limit,
    }
}

fn is_over(statuses: &[Status], roles: &[Role]) -> bool {
    let of = |role| {
        let with_role = statuses.iter().zip(roles).filter(move |(_, r)| **r == role);
        with_role.map(|(status, _)| status.verdict == Verdict::OverLimit)
    };
    of(Role::Limit).any(|over| over)
        || (of(Role::Quota).next().is_some() && of(Role::Quota).all(|over| over))
}

/// The status with the least left, the first of equals; but the last refusing one if
/// any refuses alone.
fn headline(statuses: &[Status], roles: &[Role]) -> Option<usize> {
    let mut least = u32::MAX;
    let mut choice = None;
    for (index, (status, role)) in statuses.iter().zip(roles).enumerate() {
        if status.applied.is_none() {
            continue;
        }
        if status.verdict == Verdict::OverLimit && *role == Role::Limit {
            (least, choice) = (0, Some(index));
        } else if status.remaining < least {
            (least, choice) = (status.remaining, Some(index));
        }
    }
    choice
}

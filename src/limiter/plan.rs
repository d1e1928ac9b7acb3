//! The first half of a decision: which counters a request touches, and by how much.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::metric_path;
use super::{Action, Batch, Direction, Policy, Request, Window};
use crate::clock::Timestamp;
use crate::rules::{Domain, Limit, Rule, RuleId, Ruleset, Steps};

/// What a request needs to be decided.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The operations, one per counted item, in the order of the descriptors.
    pub batch: Batch,
    /// What became of each descriptor.
    pub(super) items: SmallVec<[Item; 4]>,
    /// The request's domain has no rules.
    pub(super) domain_unknown: bool,
}

/// What becomes of a descriptor.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// No rule, or a rule that another one replaces.
    Free,
    /// A rule without a limit.
    Unlimited(RuleId),
    /// Counted by the next operation of the batch.
    Counted(Counted),
}

/// A descriptor that counts.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    /// The rule, `None` where the request brought the limit.
    pub(super) rule: Option<RuleId>,
    pub(super) limit: Limit,
    pub(super) hits: u64,
    pub(super) direction: Direction,
    /// The metric path, `None` where it is the rule's own.
    pub(super) path: Option<Box<str>>,
}

/// A descriptor's rule and the steps that led to it.
type Match<'r> = (Option<RuleId>, Steps<'r>);

/// Plans `request` at `now`.
pub fn plan(ruleset: &Ruleset, request: &Request<'_>, now: Timestamp, policy: &Policy) -> Plan {
    let domain = ruleset.domain(request.domain);
    let mut plan = Plan {
        batch: Batch::new(now),
        items: SmallVec::with_capacity(request.descriptors().len()),
        domain_unknown: domain.is_none(),
    };
    let Some(domain) = domain else {
        plan.items.resize(request.descriptors().len(), Item::Free);
        return plan;
    };
    let mut matches = find_all(ruleset, domain, request);
    drop_replaced(ruleset, &mut matches);
    for (index, matched) in matches.into_iter().enumerate() {
        let item = plan_descriptor(ruleset, (request, index), matched, &mut plan.batch, policy);
        plan.items.push(item);
    }
    plan
}

fn find_all<'r>(
    ruleset: &'r Ruleset,
    domain: &Domain,
    request: &Request<'_>,
) -> SmallVec<[Match<'r>; 4]> {
    let find = |descriptor| {
        let mut steps = Steps::new();
        let rule = ruleset.find(domain, request.entries(descriptor), &mut steps);
        (rule, steps)
    };
    let descriptors = request.descriptors().iter();
    descriptors
        .map(|d| if d.terms.limit.is_some() { (None, Steps::new()) } else { find(d) })
        .collect()
}

/// Forgets the limits that any matched rule replaces, itself replaced or not.
/// Unlimited rules stay.
fn drop_replaced(ruleset: &Ruleset, matches: &mut [Match<'_>]) {
    let rules = || matches.iter().filter_map(|(rule, _)| rule.map(|id| ruleset.rule(id)));
    if !rules().any(|rule| !rule.replaces.is_empty()) {
        return;
    }
    let replaced: HashSet<&str> =
        rules().flat_map(|rule| rule.replaces.iter()).map(|name| &**name).collect();
    let is_replaced = |rule: &Rule| {
        rule.limit.is_some() && !rule.name.is_empty() && replaced.contains(&*rule.name)
    };
    for (matched, _) in matches {
        if matched.is_some_and(|id| is_replaced(ruleset.rule(id))) {
            *matched = None;
        }
    }
}

fn plan_descriptor(
    ruleset: &Ruleset,
    (request, index): (&Request<'_>, usize),
    (rule_id, steps): Match<'_>,
    batch: &mut Batch,
    policy: &Policy,
) -> Item {
    let descriptor = &request.descriptors()[index];
    let entries = request.entries(descriptor);
    let (limit, path) = match (descriptor.terms.limit, rule_id) {
        (Some(limit), _) => (limit, Some(metric_path::of_override(request.domain, entries))),
        (None, None) => return Item::Free,
        (None, Some(id)) => {
            let rule = ruleset.rule(id);
            let Some(limit) = rule.limit else {
                return Item::Unlimited(id);
            };
            (limit, metric_path::of_match(request.domain, rule, entries, &steps))
        }
    };
    let hits = request.hits(descriptor);
    let action = match descriptor.terms.direction {
        Direction::Spend => Action::Spend(hits),
        Direction::GiveBack => Action::GiveBack(hits),
    };
    let window = Window::from_secs(limit.unit.as_secs());
    batch.push(limit.requests_per_unit.into(), window, action, |key| {
        policy.keys.write((request.domain, window), entries, &steps, key);
    });
    Item::Counted(Counted {
        rule: rule_id,
        limit,
        hits,
        direction: descriptor.terms.direction,
        path,
    })
}

impl Plan {
    /// The rule, metric path and hits of each descriptor that spends; the path is `None`
    /// where it is the rule's own.
    pub fn spending(&self) -> impl Iterator<Item = (Option<RuleId>, Option<&str>, u64)> {
        self.items.iter().filter_map(|item| match item {
            Item::Counted(counted) if counted.direction == Direction::Spend => {
                Some((counted.rule, counted.path.as_deref(), counted.hits))
            }
            _ => None,
        })
    }
}

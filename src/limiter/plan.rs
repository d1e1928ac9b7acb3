//! The first half of a decision: which counters a request touches, and by how much.

use std::collections::HashSet;
use std::ops::Range;

use smallvec::SmallVec;

use super::keys::Kind;
use super::{
    Action, Batch, Direction, Leeway, Meter, NewOperation, Part, Policy, Refused, RefusedSets,
    Request,
};
use super::{metric_path, patience};
use crate::clock::Timestamp;
use crate::rules::{Domain, Limit, Rule, RuleId, Ruleset, Spending, Steps};

/// What a request needs to be decided.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The operations.
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
    /// Counted by operations of the batch.
    Counted(Counted),
}

/// A descriptor that counts.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    /// The rule, `None` where the request brought the limit.
    pub(super) rule: Option<RuleId>,
    /// The limits, each with its index in the rule.
    pub(super) limits: SmallVec<[(usize, Limit); 2]>,
    /// Their operations, in the same order.
    pub(super) operations: Range<usize>,
    pub(super) hits: u64,
    pub(super) direction: Direction,
    /// The metric path, `None` where it is the rule's own.
    pub(super) path: Option<Box<str>>,
}

/// A descriptor's rule and the steps that led to it.
type Match<'r> = (Option<RuleId>, Steps<'r>);

/// The names of replaced limits.
type Replaced<'r> = Option<HashSet<&'r str>>;

/// Plans `request` at `now`.
pub fn plan(ruleset: &Ruleset, request: &Request<'_>, now: Timestamp, policy: &Policy) -> Plan {
    let domain = ruleset.domain(request.domain);
    let mut plan = Plan {
        batch: Batch::new(now),
        items: SmallVec::with_capacity(request.descriptors().len()),
        domain_unknown: domain.is_none(),
    };
    plan.batch.patience = patience::of_decision(policy.patience, request.patience);
    let Some(domain) = domain else {
        plan.items.resize(request.descriptors().len(), Item::Free);
        return plan;
    };
    let matches = find_all(ruleset, domain, request);
    let replaced = replaced(ruleset, &matches);
    for (index, (rule, steps)) in matches.iter().enumerate() {
        let item = item(ruleset, (request, index), (*rule, steps), &replaced);
        plan.items.push(item);
    }
    Planner { ruleset, request, policy, matches: &matches, domain }.count(&mut plan);
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

/// The names that the matched rules replace, themselves replaced or not.
fn replaced<'r>(ruleset: &'r Ruleset, matches: &[Match<'_>]) -> Replaced<'r> {
    let rules = || matches.iter().filter_map(|(rule, _)| rule.map(|id| ruleset.rule(id)));
    let is_any = rules().any(|rule| !rule.replaces.is_empty());
    is_any.then(|| rules().flat_map(|rule| &rule.replaces).map(|name| &**name).collect())
}

/// What becomes of a descriptor, its operations not yet added.
fn item(
    ruleset: &Ruleset,
    (request, index): (&Request<'_>, usize),
    (rule_id, steps): (Option<RuleId>, &Steps<'_>),
    replaced: &Replaced<'_>,
) -> Item {
    let descriptor = &request.descriptors()[index];
    let entries = request.entries(descriptor);
    let (limits, path) = match (descriptor.terms.limit, rule_id) {
        (Some(limit), _) => {
            let path = metric_path::of_override(request.domain, entries);
            (SmallVec::from_iter([(0, limit)]), Some(path))
        }
        (None, None) => return Item::Free,
        (None, Some(id)) => {
            let rule = ruleset.rule(id);
            if rule.limits.is_empty() {
                return Item::Unlimited(id);
            }
            let limits = remaining(rule, replaced);
            if limits.is_empty() {
                return Item::Free;
            }
            (limits, metric_path::of_match(request.domain, rule, entries, steps))
        }
    };
    Item::Counted(Counted {
        rule: rule_id,
        limits,
        operations: 0..0,
        hits: request.hits(descriptor),
        direction: descriptor.terms.direction,
        path,
    })
}

/// The limits of a rule that nothing replaces.
fn remaining(rule: &Rule, replaced: &Replaced<'_>) -> SmallVec<[(usize, Limit); 2]> {
    let is_replaced = |name: &str| {
        !name.is_empty() && replaced.as_ref().is_some_and(|replaced| replaced.contains(name))
    };
    let limits = rule.limits.iter().enumerate();
    limits.filter(|(_, l)| !is_replaced(&l.name)).map(|(i, l)| (i, l.limit)).collect()
}

/// Turns counted items into operations, set by set.
struct Planner<'p, 'r, 'm> {
    ruleset: &'p Ruleset,
    request: &'p Request<'r>,
    policy: &'p Policy,
    matches: &'p [Match<'m>],
    domain: &'p Domain,
}

/// What the descriptors of a request have to do with each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bond {
    /// Nothing.
    Alone,
    /// Those that can refuse the request spend all or nothing.
    AllOrNothing,
    /// When one exceeds its limit, the others do not spend.
    StopWhenOver,
}

impl Planner<'_, '_, '_> {
    /// Descriptors that are bound together make one set, which comes first; all others
    /// stand for themselves. Giving back is not spending and never bound.
    fn count(&self, plan: &mut Plan) {
        let bond = self.bond();
        let Plan { batch, items, .. } = plan;
        if bond == Bond::StopWhenOver {
            batch.refused_sets = RefusedSets::SpendWhatIsOver;
        }
        let mut set = 0;
        for (index, item) in items.iter_mut().enumerate() {
            if let Item::Counted(counted) = item
                && self.is_bound(counted, bond)
            {
                set = 1;
                self.push(batch, counted, (index, 0), bond);
            }
        }
        for (index, item) in items.iter_mut().enumerate() {
            if let Item::Counted(counted) = item
                && !self.is_bound(counted, bond)
            {
                self.push(batch, counted, (index, set), Bond::Alone);
                set += 1;
            }
        }
    }

    fn bond(&self) -> Bond {
        match self.domain.spending {
            Spending::AllOrNothing => Bond::AllOrNothing,
            Spending::Each if self.policy.stop_when_over => Bond::StopWhenOver,
            Spending::Each => Bond::Alone,
        }
    }

    /// Rules in shadow mode refuse nothing, so all or nothing does without them; to stop
    /// when one is over is the reference's, which does not ask for modes.
    fn is_bound(&self, counted: &Counted, bond: Bond) -> bool {
        counted.direction == Direction::Spend
            && match bond {
                Bond::Alone => false,
                Bond::AllOrNothing => {
                    !counted.rule.is_some_and(|id| self.ruleset.rule(id).shadow_mode)
                }
                Bond::StopWhenOver => true,
            }
    }

    /// Adds the operations of one descriptor. Of several limits, and where it is all or
    /// nothing, none spends hits that do not fit.
    fn push(
        &self,
        batch: &mut Batch,
        counted: &mut Counted,
        (index, set): (usize, u16),
        bond: Bond,
    ) {
        let descriptor = &self.request.descriptors()[index];
        let entries = self.request.entries(descriptor);
        let quota = self.policy.quota_mode
            || counted.rule.is_some_and(|id| self.ruleset.rule(id).quota_mode);
        let action = match counted.direction {
            Direction::Spend => Action::Spend(counted.hits),
            Direction::GiveBack => Action::GiveBack(counted.hits),
        };
        let first = batch.operations().len();
        for (i, limit) in &counted.limits {
            let mut meter = Meter::of(limit);
            if counted.limits.len() > 1 || bond == Bond::AllOrNothing {
                meter.refused = Refused::Spare;
            }
            let part = Part { group: index as u16, quota };
            let mut leeway = Leeway::of(limit);
            if counted.rule.is_none() {
                // A limit that the request brought says nothing about it.
                leeway.on_store_error = self.policy.on_store_error;
            }
            batch.push(NewOperation { meter, action, set, part, leeway }, |key| {
                let kind = Kind::of(limit, *i);
                let steps = &self.matches[index].1;
                self.policy.keys.write((self.request.domain, kind), entries, steps, key);
            });
        }
        counted.operations = first..batch.operations().len();
    }
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

//! The compiled rules: a tree of nodes per domain, and the walk that finds the rule
//! of a descriptor.
//!
//! Immutable once built. A look-up costs at most two hash look-ups per entry plus the
//! wildcards and matchers of the levels it passes, and does not allocate where there are
//! none. `builder` grows it.

use std::collections::HashMap;
use std::hash::Hasher;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

use super::Limit;
use super::matcher::{Matchers, OfKey};
use super::pattern::Pattern;

/// One key/value pair of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is about, such as `remote_address`.
    pub key: &'a str,
    /// Its value; may be empty.
    pub value: &'a str,
}

/// Names a rule within its ruleset; indexes [`Ruleset::rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// A limit with its policy: what a node of the tree that carries `rate_limit` means.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Domain and composite keys from the root, joined by dots.
    pub path: Box<str>,
    /// How many bytes of the path the domain is.
    pub(super) domain_bytes: u32,
    /// The limits, all of which must hold; none means unlimited.
    pub limits: Box<[NamedLimit]>,
    /// As written in the file, for display: an unlimited rule may give it, to no effect.
    pub requests_per_unit: u32,
    /// Names of the limits that do not count when this one matches.
    pub replaces: Box<[Box<str>]>,
    /// Over limit is counted but answered with OK.
    pub shadow_mode: bool,
    /// The request is refused only when all its quota rules are over limit.
    pub quota_mode: bool,
    /// The metric path names every value of the request.
    pub detailed_metric: bool,
    /// Sent back as dynamic metadata when the descriptor passes.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Rule {
    /// The domain that it belongs to.
    pub fn domain(&self) -> &str {
        self.path.get(..self.domain_bytes as usize).unwrap_or_default()
    }
}

/// A limit and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedLimit {
    /// The limit.
    pub limit: Limit,
    /// Echoed to the caller and the target of `replaces`; may be empty.
    pub name: Box<str>,
}

/// A level of the tree: children by composite key (`key`, or `key_value`), and those with
/// `match` by what they match.
#[derive(Debug, Default)]
pub struct Node {
    pub(super) composite: Box<str>,
    pub(super) rule: Option<RuleId>,
    pub(super) value_to_metric: bool,
    pub(super) share_threshold: bool,
    pub(super) children: HashTable<NodeId>,
    pub(super) wildcards: Vec<(Pattern, NodeId)>,
    pub(super) matchers: Option<Box<Matchers>>,
    /// Some child's composite key holds a `_`, so `key_value` may be there.
    pub(super) has_joined: bool,
}

/// Names a node within its ruleset.
pub(super) type NodeId = u32;

impl Node {
    /// The value of the request belongs into the metric path.
    pub fn value_to_metric(&self) -> bool {
        self.value_to_metric
    }
}

/// How one entry was matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By key and value.
    Exact,
    /// By a pattern with `*`.
    Wildcard,
    /// By `match`: a list of values, networks or an expression.
    Matched,
    /// By the key alone.
    Default,
}

/// The match of one entry.
#[derive(Clone, Copy, Debug)]
pub struct Step<'r> {
    /// The node it led to.
    pub node: &'r Node,
    /// By which way.
    pub how: How,
}

/// The matches of a descriptor, one per entry.
pub type Steps<'r> = SmallVec<[Step<'r>; 8]>;

impl<'r> Step<'r> {
    /// The pattern that stands for the value of an entry with this `key`: the node's
    /// composite key less `key_`, or all of it where the pattern reached into the key.
    /// Of a node with `match`, the text of that.
    pub fn pattern(&self, key: &str) -> &'r str {
        let composite: &'r str = &self.node.composite;
        composite.strip_prefix(key).and_then(|rest| rest.strip_prefix('_')).unwrap_or(composite)
    }

    /// Whether the pattern covers part of an entry's `key`, not only its value.
    pub fn reaches_into_key(&self, key: &str) -> bool {
        self.pattern(key).len() == self.node.composite.len()
    }

    /// Whether every value that the wildcard or `match` matches counts on one counter.
    ///
    /// A value that reads like the pattern of a wildcard meets the same node. One that
    /// reads like the text of a `match` need not: there a counter key must tell the two
    /// apart by [`How::Matched`].
    pub fn is_shared(&self) -> bool {
        matches!(self.how, How::Wildcard | How::Matched) && self.node.share_threshold
    }
}

/// One namespace of rules.
#[derive(Debug)]
pub struct Domain {
    pub(super) root: NodeId,
    /// What a refused request spends.
    pub spending: Spending,
}

/// What a refused request spends from its other limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spending {
    /// What fits there: each descriptor stands for itself.
    #[default]
    Each,
    /// Nothing.
    AllOrNothing,
}

/// All rules of one version.
#[derive(Debug, Default)]
pub struct Ruleset {
    pub(super) domains: HashMap<Box<str>, Domain>,
    pub(super) nodes: Vec<Node>,
    pub(super) rules: Vec<Rule>,
}

impl Ruleset {
    /// The domain of that name.
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.get(name)
    }

    /// All domains and their names, by name.
    pub fn domains(&self) -> impl Iterator<Item = (&str, &Domain)> {
        let mut domains: Vec<_> = self.domains.iter().map(|(name, d)| (&**name, d)).collect();
        domains.sort_unstable_by_key(|(name, _)| *name);
        domains.into_iter()
    }

    /// How many domains there are.
    pub fn domain_count(&self) -> usize {
        self.domains.len()
    }

    /// All rules, in the order of the files.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule of that id, which must come from this ruleset.
    pub fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[id.0 as usize]
    }

    /// The rule that `entries` lead to. Each entry takes one step down: to the child with
    /// exactly this value or with a list that holds it, else the first wildcard in file
    /// order, else the smallest network, else the first expression in file order, else
    /// the child without value. There is no way back up, and only the last entry's node
    /// counts.
    ///
    /// `steps` is cleared, then filled with the steps taken.
    pub fn find<'r>(
        &'r self,
        domain: &Domain,
        entries: &[Entry<'_>],
        steps: &mut Steps<'r>,
    ) -> Option<RuleId> {
        steps.clear();
        let mut node = self.node(domain.root);
        for entry in entries {
            let step = self.step(node, entry)?;
            node = step.node;
            steps.push(step);
        }
        node.rule
    }

    fn step(&self, at: &Node, entry: &Entry<'_>) -> Option<Step<'_>> {
        let reach = |id, how| Step { node: self.node(id), how };
        if at.has_joined
            && let Some(id) = self.child(at, &[entry.key, "_", entry.value])
        {
            return Some(reach(id, How::Exact));
        }
        let matchers = at.matchers.as_ref().and_then(|matchers| matchers.of(entry.key));
        let matched = |way: fn(&OfKey, &str) -> Option<NodeId>| {
            Some(reach(way(matchers?, entry.value)?, How::Matched))
        };
        if let Some(step) = matched(OfKey::listed) {
            return Some(step);
        }
        if !at.wildcards.is_empty() {
            let mut joined: SmallVec<[u8; 256]> = SmallVec::from_slice(entry.key.as_bytes());
            joined.push(b'_');
            joined.extend_from_slice(entry.value.as_bytes());
            if let Some((_, id)) = at.wildcards.iter().find(|(p, _)| p.matches(&joined)) {
                return Some(reach(*id, How::Wildcard));
            }
        }
        matched(OfKey::described)
            .or_else(|| self.child(at, &[entry.key]).map(|id| reach(id, How::Default)))
    }

    /// The child whose composite key is `parts` joined.
    pub(super) fn child(&self, at: &Node, parts: &[&str]) -> Option<NodeId> {
        let same = |id: &NodeId| {
            let mut rest = &*self.node(*id).composite;
            parts.iter().all(|part| rest.strip_prefix(part).map(|r| rest = r).is_some())
                && rest.is_empty()
        };
        at.children.find(hash(parts), same).copied()
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }
}

/// Hashes the joined text. The tables hold only what the rules' author wrote, so the
/// hash needs no secret.
pub(super) fn hash(parts: &[&str]) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write(part.as_bytes());
    }
    hasher.finish()
}

//! The compiled rules: a tree of nodes per domain, and the walk that finds the rule
//! of a descriptor.
//!
//! Immutable once built. A look-up costs at most two hash look-ups per entry plus the
//! wildcards of the levels it passes, and does not allocate.

use std::collections::HashMap;
use std::hash::Hasher;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

use super::Limit;
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

/// A limit and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedLimit {
    /// The limit.
    pub limit: Limit,
    /// Echoed to the caller and the target of `replaces`; may be empty.
    pub name: Box<str>,
}

/// A level of the tree: children by composite key (`key`, or `key_value`).
#[derive(Debug, Default)]
pub struct Node {
    composite: Box<str>,
    rule: Option<RuleId>,
    value_to_metric: bool,
    share_threshold: bool,
    children: HashTable<NodeId>,
    wildcards: Vec<(Pattern, NodeId)>,
    /// Some child's composite key holds a `_`, so `key_value` may be there.
    has_joined: bool,
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
    pub fn pattern(&self, key: &str) -> &'r str {
        let composite: &'r str = &self.node.composite;
        composite.strip_prefix(key).and_then(|rest| rest.strip_prefix('_')).unwrap_or(composite)
    }

    /// Whether the pattern covers part of an entry's `key`, not only its value.
    pub fn reaches_into_key(&self, key: &str) -> bool {
        self.pattern(key).len() == self.node.composite.len()
    }

    /// Whether every value that the wildcard matches counts on one counter.
    pub fn is_shared(&self) -> bool {
        self.how == How::Wildcard && self.node.share_threshold
    }
}

/// One namespace of rules.
#[derive(Debug)]
pub struct Domain {
    root: NodeId,
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
    domains: HashMap<Box<str>, Domain>,
    nodes: Vec<Node>,
    rules: Vec<Rule>,
}

impl Ruleset {
    /// The domain of that name.
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.get(name)
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

    /// The rule that `entries` lead to. Each entry takes one step down: to the exact
    /// child, else the first wildcard in file order, else the child without value.
    /// There is no way back up, and only the last entry's node counts.
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
        if !at.wildcards.is_empty() {
            let mut joined: SmallVec<[u8; 256]> = SmallVec::from_slice(entry.key.as_bytes());
            joined.push(b'_');
            joined.extend_from_slice(entry.value.as_bytes());
            if let Some((_, id)) = at.wildcards.iter().find(|(p, _)| p.matches(&joined)) {
                return Some(reach(*id, How::Wildcard));
            }
        }
        self.child(at, &[entry.key]).map(|id| reach(id, How::Default))
    }

    /// The child whose composite key is `parts` joined.
    fn child(&self, at: &Node, parts: &[&str]) -> Option<NodeId> {
        let same = |id: &NodeId| {
            let mut rest = &*self.node(*id).composite;
            parts.iter().all(|part| rest.strip_prefix(part).map(|r| rest = r).is_some())
                && rest.is_empty()
        };
        at.children.find(hash(parts), same).copied()
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }
}

/// A node that a [`Builder`] shall add.
#[derive(Debug)]
pub(super) struct NewNode<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    pub(super) value_to_metric: bool,
    pub(super) share_threshold: bool,
    pub(super) rule: Option<Rule>,
}

/// Grows a ruleset.
#[derive(Debug, Default)]
pub(super) struct Builder(Ruleset);

impl Builder {
    /// The root of a domain, made if it is new; says whether it was there before.
    pub(super) fn domain(&mut self, name: &str) -> (NodeId, bool) {
        if let Some(domain) = self.0.domains.get(name) {
            return (domain.root, true);
        }
        let root = self.push(Node::default());
        self.0.domains.insert(name.into(), Domain { root, spending: Spending::default() });
        (root, false)
    }

    /// Adds a child. Refuses a composite key that `parent` has already, with the child
    /// that bears it.
    pub(super) fn child(&mut self, parent: NodeId, new: NewNode<'_>) -> Result<NodeId, NodeId> {
        let composite = composite(new.key, new.value);
        if let Some(taken) = self.0.child(self.0.node(parent), &[&composite]) {
            return Err(taken);
        }
        let rule = new.rule.map(|rule| {
            self.0.rules.push(rule);
            RuleId(self.0.rules.len() as u32 - 1)
        });
        let wildcard = composite.contains('*').then(|| Pattern::new(&composite));
        let has_joined = composite.contains('_');
        let id = self.push(Node {
            composite: composite.into(),
            rule,
            value_to_metric: new.value_to_metric,
            share_threshold: new.share_threshold,
            ..Node::default()
        });
        let (mut children, nodes) =
            (std::mem::take(&mut self.0.nodes[parent as usize].children), &self.0.nodes);
        let of = |id: &NodeId| hash(&[&nodes[*id as usize].composite]);
        children.insert_unique(of(&id), id, of);
        let parent = &mut self.0.nodes[parent as usize];
        parent.children = children;
        parent.has_joined |= has_joined;
        parent.wildcards.extend(wildcard.map(|pattern| (pattern, id)));
        Ok(id)
    }

    /// A node that no look-up reaches.
    pub(super) fn detached(&mut self) -> NodeId {
        self.push(Node::default())
    }

    pub(super) fn finish(self) -> Ruleset {
        self.0
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.0.nodes.push(node);
        self.0.nodes.len() as NodeId - 1
    }
}

/// `key`, or `key_value` where there is a value.
pub(super) fn composite(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_owned() } else { format!("{key}_{value}") }
}

/// Hashes the joined text. The tables hold only what the rules' author wrote, so the
/// hash needs no secret.
fn hash(parts: &[&str]) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write(part.as_bytes());
    }
    hasher.finish()
}

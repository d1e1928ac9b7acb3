//! Grows a [`Ruleset`]: node by node, and refuses what would be ambiguous.
//!
//! Among siblings no composite key stands twice, be it that of a node or of a value that
//! a node lists; and for one key no network does. So at most one node is the right one,
//! and the paths of rules differ.

use std::collections::HashMap;

use super::matcher::Matcher;
use super::pattern::Pattern;
use super::ruleset::{Domain, Node, NodeId, Rule, RuleId, Ruleset, Spending, hash};

/// A node that a [`Builder`] shall add.
#[derive(Debug)]
pub(super) struct NewNode<'a> {
    pub(super) key: &'a str,
    pub(super) target: Target<'a>,
    pub(super) value_to_metric: bool,
    pub(super) share_threshold: bool,
    pub(super) rule: Option<Rule>,
}

/// Which values a node is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// This one; every value if it is empty. With `*` a pattern.
    Value(&'a str),
    /// Those that match.
    Match(&'a Matcher),
}

impl Target<'_> {
    /// The composite key of a node: `key`, or `key_value` where there is a value. The
    /// text of a matcher stands for a value.
    pub(super) fn composite(&self, key: &str) -> String {
        match self {
            Self::Value("") => key.to_owned(),
            Self::Value(value) => join(key, value),
            Self::Match(matcher) => join(key, &matcher.text()),
        }
    }
}

/// Why a node cannot be added: a sibling is in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clash {
    /// It has the same composite key.
    Path(NodeId),
    /// It lists the value.
    Listed(NodeId),
    /// It is for the value or network at this index of the list.
    Element(usize, NodeId),
}

/// Grows a ruleset.
#[derive(Debug, Default)]
pub(super) struct Builder {
    ruleset: Ruleset,
    /// The composite keys of nodes with a matcher, and of the values they list, below
    /// each node that has such children.
    matched: HashMap<NodeId, HashMap<Box<str>, NodeId>>,
}

impl Builder {
    /// The root of a domain, made if it is new; says whether it was there before.
    pub(super) fn domain(&mut self, name: &str) -> (NodeId, bool) {
        if let Some(domain) = self.ruleset.domains.get(name) {
            return (domain.root, true);
        }
        let root = self.push(Node::default());
        let domain = Domain { root, spending: Spending::default() };
        self.ruleset.domains.insert(name.into(), domain);
        (root, false)
    }

    /// Says what a refused request of a domain spends.
    pub(super) fn spend(&mut self, name: &str, spending: Spending) {
        if let Some(domain) = self.ruleset.domains.get_mut(name) {
            domain.spending = spending;
        }
    }

    /// Adds a child, unless siblings are in its way.
    pub(super) fn child(&mut self, parent: NodeId, new: NewNode<'_>) -> Result<NodeId, Vec<Clash>> {
        let composite: Box<str> = new.target.composite(new.key).into();
        let clashes = self.clashes(parent, &new, &composite);
        if !clashes.is_empty() {
            return Err(clashes);
        }
        let rule = new.rule.map(|rule| {
            self.ruleset.rules.push(rule);
            RuleId(self.ruleset.rules.len() as u32 - 1)
        });
        let id = self.push(Node {
            composite: composite.clone(),
            rule,
            value_to_metric: new.value_to_metric,
            share_threshold: new.share_threshold,
            ..Node::default()
        });
        match new.target {
            Target::Value(_) => self.link(parent, id, &composite),
            Target::Match(matcher) => {
                let of_parent = self.matched.entry(parent).or_default();
                of_parent.insert(composite, id);
                if let Matcher::AnyOf(values) = matcher {
                    let composites = values.iter().map(|value| join(new.key, value).into());
                    of_parent.extend(composites.map(|composite| (composite, id)));
                }
                let matchers = &mut self.ruleset.nodes[parent as usize].matchers;
                matchers.get_or_insert_default().add(new.key, matcher, id);
            }
        }
        Ok(id)
    }

    /// A node that no look-up reaches.
    pub(super) fn detached(&mut self) -> NodeId {
        self.push(Node::default())
    }

    pub(super) fn finish(self) -> Ruleset {
        self.ruleset
    }

    /// The siblings that are in the way of a new node.
    fn clashes(&self, parent: NodeId, new: &NewNode<'_>, composite: &str) -> Vec<Clash> {
        if let Some(taken) = self.taken(parent, composite) {
            let is_path = *self.ruleset.node(taken).composite == *composite;
            return vec![if is_path { Clash::Path(taken) } else { Clash::Listed(taken) }];
        }
        let element = |(index, taken): (usize, Option<NodeId>)| Some(Clash::Element(index, taken?));
        match new.target {
            Target::Match(Matcher::AnyOf(values)) => {
                let taken = values.iter().map(|value| self.taken(parent, &join(new.key, value)));
                taken.enumerate().filter_map(element).collect()
            }
            Target::Match(Matcher::Cidr(networks)) => {
                let matchers = self.ruleset.node(parent).matchers.as_ref();
                let of_key = matchers.and_then(|matchers| matchers.of(new.key));
                let taken = networks.iter().map(|network| of_key?.network(*network));
                taken.enumerate().filter_map(element).collect()
            }
            Target::Match(Matcher::Regex(_)) | Target::Value(_) => Vec::new(),
        }
    }

    /// The child of `parent` that has this composite key, or lists a value that does.
    fn taken(&self, parent: NodeId, composite: &str) -> Option<NodeId> {
        let listed = || self.matched.get(&parent)?.get(composite).copied();
        self.ruleset.child(self.ruleset.node(parent), &[composite]).or_else(listed)
    }

    /// Makes a node reachable by its composite key.
    fn link(&mut self, parent: NodeId, id: NodeId, composite: &str) {
        let nodes = &mut self.ruleset.nodes;
        let mut children = std::mem::take(&mut nodes[parent as usize].children);
        let of = |id: &NodeId| hash(&[&nodes[*id as usize].composite]);
        children.insert_unique(of(&id), id, of);
        let parent = &mut nodes[parent as usize];
        parent.children = children;
        parent.has_joined |= composite.contains('_');
        if composite.contains('*') {
            parent.wildcards.push((Pattern::new(composite), id));
        }
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.ruleset.nodes.push(node);
        self.ruleset.nodes.len() as NodeId - 1
    }
}

fn join(key: &str, value: &str) -> String {
    format!("{key}_{value}")
}

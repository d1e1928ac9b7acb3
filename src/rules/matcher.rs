//! `match`, compiled: what a node may ask of a value instead of naming it, and the
//! look-up of the node whose question a value answers.
//!
//! A value costs one look-up among listed values, one per length of prefix that occurs,
//! and then one search per regular expression, each linear in the value. Only the key of
//! the entry is considered, and only on the level where the walk stands.

use std::collections::HashMap;
use std::hash::Hasher;

use regex::Regex;
use siphasher::sip::SipHasher13;

use super::network::{Network, Networks};
use super::ruleset::NodeId;

/// How long the text of a matcher may be to be used as it is, in bytes.
const LONGEST_TEXT: usize = 256;

/// What a value must be.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    /// One of these.
    AnyOf(Vec<Box<str>>),
    /// An address or network within one of these.
    Cidr(Vec<Network>),
    /// A text in which this occurs.
    Regex(Regex),
}

impl Matcher {
    /// Stands for the value in composite keys: values or networks joined by `|`, or the
    /// expression. A long text is cut and ends in its hash, so that it still differs
    /// from others.
    pub(super) fn text(&self) -> String {
        let text = match self {
            Self::AnyOf(values) => values.join("|"),
            Self::Cidr(networks) => {
                networks.iter().map(Network::to_string).collect::<Vec<_>>().join("|")
            }
            Self::Regex(regex) => regex.as_str().to_owned(),
        };
        if text.len() <= LONGEST_TEXT {
            return text;
        }
        let mut hasher = SipHasher13::new();
        hasher.write(text.as_bytes());
        let kept = text.floor_char_boundary(LONGEST_TEXT - 20);
        format!("{}...~{:016x}", text.get(..kept).unwrap_or_default(), hasher.finish())
    }

    /// The value or network at `index`, for display.
    pub(super) fn element(&self, index: usize) -> String {
        match self {
            Self::AnyOf(values) => values.get(index).map(|value| format!("{value:?}")),
            Self::Cidr(networks) => networks.get(index).map(Network::to_string),
            Self::Regex(regex) => Some(regex.as_str().to_owned()),
        }
        .unwrap_or_default()
    }
}

/// The matchers among the children of a node.
#[derive(Debug, Default)]
pub(super) struct Matchers(HashMap<Box<str>, OfKey>);

/// The matchers for values of one key.
#[derive(Debug, Default)]
pub(super) struct OfKey {
    values: HashMap<Box<str>, NodeId>,
    networks: Networks,
    /// In the order of the files.
    regexes: Vec<(Regex, NodeId)>,
}

impl Matchers {
    /// Those for values of `key`.
    pub(super) fn of(&self, key: &str) -> Option<&OfKey> {
        self.0.get(key)
    }

    /// Adds what leads to `node`.
    pub(super) fn add(&mut self, key: &str, matcher: &Matcher, node: NodeId) {
        let of_key = self.0.entry(key.into()).or_default();
        match matcher {
            Matcher::AnyOf(values) => {
                of_key.values.extend(values.iter().map(|value| (value.clone(), node)));
            }
            Matcher::Cidr(networks) => {
                networks.iter().for_each(|network| of_key.networks.insert(*network, node));
            }
            Matcher::Regex(regex) => of_key.regexes.push((regex.clone(), node)),
        }
    }
}

impl OfKey {
    /// The node that lists `value`.
    pub(super) fn listed(&self, value: &str) -> Option<NodeId> {
        self.values.get(value).copied()
    }

    /// The node of the smallest network around `value`, else of the first expression
    /// that occurs in it.
    pub(super) fn described(&self, value: &str) -> Option<NodeId> {
        self.networks.around(value).or_else(|| {
            self.regexes.iter().find(|(regex, _)| regex.is_match(value)).map(|(_, node)| *node)
        })
    }

    /// The node of exactly this network.
    pub(super) fn network(&self, network: Network) -> Option<NodeId> {
        self.networks.get(network)
    }
}

//! Rules that come as data instead of text, and the located nodes made of them.
//!
//! They become the tree that a file of the same content would be parsed to, so that what
//! is checked and how it compiles is written down once. A resource has no lines: a place
//! is a number that tells maps apart, and its line is 0.

use serde_json::{Map, Number, Value as Json};

use super::yaml::{Kind, Node, Place, Scalar};

/// The rules of a domain. How deep descriptors stand in each other is for whoever makes
/// a resource to bound: they are read by recursion.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct Resource {
    /// What problems call it.
    pub name: String,
    /// The domain; must not be empty.
    pub domain: String,
    /// What is below it.
    pub descriptors: Vec<Descriptor>,
}

/// A descriptor of a resource, with all below it.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct Descriptor {
    /// The key; must not be empty.
    pub key: String,
    /// The value, which may be a pattern; empty for every value.
    pub value: String,
    /// The limit.
    pub rate_limit: Option<RateLimit>,
    /// What is below it.
    pub descriptors: Vec<Self>,
    /// The limit lets every request pass.
    pub shadow_mode: bool,
    /// The limit refuses a request only together with others.
    pub quota_mode: bool,
    /// Metrics tell values apart.
    pub detailed_metric: bool,
    /// What answers bring along.
    pub metadata: Option<Map<String, Json>>,
}

/// A limit of a resource.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct RateLimit {
    /// The name of the unit, in any case. What is no name of a unit is quoted as it is.
    pub unit: String,
    /// How many requests pass in it.
    pub requests_per_unit: u32,
    /// There is no limit.
    pub unlimited: bool,
    /// What other limits replace it by; may be empty.
    pub name: String,
    /// The names of those that this one replaces.
    pub replaces: Vec<String>,
}

impl Resource {
    /// What problems call it, even if it has no name.
    pub(super) fn title(&self) -> &str {
        let names = [&self.name, &self.domain];
        names.into_iter().find(|name| !name.is_empty()).map_or("a resource", String::as_str)
    }

    /// The root of the file that it would be.
    pub(super) fn root(&self) -> Node<'_> {
        let mut places = Places::default();
        let at = places.next();
        let descriptors = places.descriptors(&self.descriptors);
        map(at, vec![("domain", text(at, &self.domain)), ("descriptors", descriptors)])
    }
}

/// Numbers maps.
#[derive(Default)]
struct Places(u32);

impl Places {
    fn next(&mut self) -> Place {
        self.0 = self.0.saturating_add(1);
        Place { line: 0, column: self.0 }
    }

    fn descriptors<'r>(&mut self, descriptors: &'r [Descriptor]) -> Node<'r> {
        let items = descriptors.iter().map(|descriptor| self.descriptor(descriptor));
        list(items.collect())
    }

    fn descriptor<'r>(&mut self, descriptor: &'r Descriptor) -> Node<'r> {
        let at = self.next();
        let mut fields = vec![("key", text(at, &descriptor.key))];
        if !descriptor.value.is_empty() {
            fields.push(("value", text(at, &descriptor.value)));
        }
        if let Some(limit) = &descriptor.rate_limit {
            fields.push(("rate_limit", self.rate_limit(limit)));
        }
        let flags = [
            ("shadow_mode", descriptor.shadow_mode),
            ("quota_mode", descriptor.quota_mode),
            ("detailed_metric", descriptor.detailed_metric),
        ];
        let set = flags.into_iter().filter(|(_, is_set)| *is_set);
        fields.extend(set.map(|(name, _)| (name, plain(at, "true"))));
        if let Some(metadata) = &descriptor.metadata {
            fields.push(("metadata", object(at, metadata)));
        }
        if !descriptor.descriptors.is_empty() {
            fields.push(("descriptors", self.descriptors(&descriptor.descriptors)));
        }
        map(at, fields)
    }

    fn rate_limit<'r>(&mut self, limit: &'r RateLimit) -> Node<'r> {
        let at = self.next();
        let mut fields = vec![("unit", text(at, &limit.unit)), ("name", text(at, &limit.name))];
        if limit.unlimited {
            fields.push(("unlimited", plain(at, "true")));
        } else {
            fields.push(("requests_per_unit", number(at, &limit.requests_per_unit.into())));
        }
        let replaced = limit.replaces.iter().map(|name| {
            let at = self.next();
            map(at, vec![("name", text(at, name))])
        });
        fields.push(("replaces", list(replaced.collect())));
        map(at, fields)
    }
}

fn map<'r>(at: Place, fields: Vec<(&'r str, Node<'r>)>) -> Node<'r> {
    let pairs = fields.into_iter().map(|(name, value)| (text(at, name), value));
    Node::new(at, Kind::Mapping(pairs.collect()))
}

fn list(items: Vec<Node<'_>>) -> Node<'_> {
    Node::new(Place::default(), Kind::Sequence(items))
}

/// Text, whatever it looks like.
fn text(at: Place, text: &str) -> Node<'_> {
    Node::new(at, Kind::Scalar(Scalar { text: text.into(), plain: false, tag: None }))
}

/// Text that means something.
fn plain(at: Place, text: &str) -> Node<'_> {
    Node::new(at, Kind::Scalar(Scalar { text: text.into(), plain: true, tag: None }))
}

fn number(at: Place, number: &Number) -> Node<'static> {
    let text = number.to_string().into();
    Node::new(at, Kind::Scalar(Scalar { text, plain: true, tag: None }))
}

fn object(at: Place, fields: &Map<String, Json>) -> Node<'_> {
    let pairs = fields.iter().map(|(key, value)| (text(at, key), json(at, value)));
    Node::new(at, Kind::Mapping(pairs.collect()))
}

fn json(at: Place, value: &Json) -> Node<'_> {
    match value {
        Json::Null => plain(at, "null"),
        Json::Bool(true) => plain(at, "true"),
        Json::Bool(false) => plain(at, "false"),
        Json::Number(value) => number(at, value),
        Json::String(value) => text(at, value),
        Json::Array(values) => list(values.iter().map(|value| json(at, value)).collect()),
        Json::Object(fields) => object(at, fields),
    }
}

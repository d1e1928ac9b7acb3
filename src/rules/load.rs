//! Rule files to a ruleset: reads each file, checks what it says and grows the tree.
//!
//! Goes on after an error, so that all of them are found. What grows meanwhile is
//! thrown away at the end.

use std::borrow::Cow;
use std::collections::HashSet;

use super::fields::{Field, Fields, check_item};
use super::level::Level;
use super::policy::{self, Policy};
use super::problem::{Problem, Rejected};
use super::report::{Report, Reported, Spot, clip, describe};
use super::ruleset::{Builder, NamedLimit, NewNode, NodeId, Rule, composite};
use super::scalar::{Value, resolve};
use super::yaml::{self, Kind, Node, Place};
use super::{Loaded, Options, SourceFile, metadata};

/// How long the paths of all descriptors together may be, in bytes: each repeats those
/// above it, so a short file may ask for much memory.
const MAX_PATHS: usize = 256 << 20;

/// Compiles `files` in the order of their names.
pub(super) fn load(files: &[SourceFile], options: Options) -> Result<Loaded, Rejected> {
    let mut files: Vec<&SourceFile> = files.iter().collect();
    files.sort_by_key(|file| &file.name);
    let mut loader = Loader { options, ..Loader::default() };
    for (index, file) in files.iter().enumerate() {
        loader.file = index;
        loader.names.push(file.name.clone());
        loader.file(file);
    }
    loader.finish()
}

#[derive(Default)]
struct Loader {
    options: Options,
    builder: Builder,
    report: Report,
    /// The files so far, and which of them is read.
    names: Vec<String>,
    file: usize,
    /// Where each node of the builder stands, by its id.
    origins: Vec<(usize, Place)>,
    /// The root under which descriptors are read.
    domain: NodeId,
    /// How long the paths so far are.
    paths: usize,
    /// The names of limits by domain.
    named: HashSet<(NodeId, Box<str>)>,
    replaced: Vec<Replacement>,
}

/// A name that some limit replaces.
struct Replacement {
    domain: NodeId,
    name: Box<str>,
    /// What to say if no limit has that name.
    warning: Problem,
}

/// A node that grows, and its path.
#[derive(Clone, Copy)]
struct Parent<'p> {
    node: NodeId,
    path: &'p str,
}

impl Loader {
    fn finish(mut self) -> Result<Loaded, Rejected> {
        for Replacement { domain, name, warning } in self.replaced {
            if !self.named.contains(&(domain, name)) {
                self.report.warnings.push(warning);
            }
        }
        self.report.sort();
        let Report { errors, warnings, .. } = self.report;
        if errors.is_empty() {
            return Ok(Loaded { ruleset: self.builder.finish(), warnings });
        }
        Err(Rejected { errors, warnings })
    }

    fn file(&mut self, file: &SourceFile) {
        self.report.begin(&file.name);
        let text = match std::str::from_utf8(&file.bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = end(&file.bytes, error.valid_up_to());
                let found = "a byte that is not UTF-8".to_owned();
                self.report.error(Spot { at, path: "" }, found, "UTF-8 text is allowed");
                return;
            }
        };
        match yaml::parse(text) {
            Ok(document) => self.document(&document),
            Err(error) => {
                self.report.error(Spot { at: error.at, path: "" }, error.found, error.allowed);
            }
        }
    }

    fn document(&mut self, document: &yaml::Document<'_>) {
        if let Some(at) = document.rest {
            let found = "text after the first document".to_owned();
            self.report.warn(Spot { at, path: "" }, found, "it is ignored");
        }
        let Some(root) = document.root.as_ref().filter(|root| !is_null(root)) else {
            let found = "domain is missing: nothing is there".to_owned();
            let spot = Spot { at: Place::default(), path: "" };
            self.report.error(spot, found, "a non-empty domain is required");
            return;
        };
        if !matches!(root.kind(), Kind::Mapping(_)) {
            let found = format!("the file is {}", describe(root));
            let spot = Spot { at: root.at, path: "" };
            self.report.error(spot, found, "a map with domain and descriptors is allowed");
            return;
        }
        self.root(root);
    }

    fn root(&mut self, root: &Node<'_>) {
        let fields = Fields::gather(&[root]);
        let field = fields.get("domain");
        let name = match self.report.text(field, "") {
            Ok(_) if field.is_none() && fields.misspells("domain") => Err(Reported),
            name => name,
        };
        let path = name.as_deref().unwrap_or_default();
        fields.report(Level::Root, path, &mut self.report);
        let at = field.and_then(Field::value).map_or(root.at, |node| node.at);
        self.domain = match &name {
            Ok(name) => self.domain(name, at).unwrap_or_else(|_| self.detached(at)),
            Err(Reported) => self.detached(at),
        };
        let parent = Parent { node: self.domain, path };
        self.descriptors(fields.get("descriptors"), parent);
    }

    /// The root node of the domain.
    fn domain(&mut self, name: &str, at: Place) -> Result<NodeId, Reported> {
        if name.is_empty() {
            let found = "domain is missing or empty".to_owned();
            let spot = Spot { at, path: "" };
            return Err(self.report.error(spot, found, "a non-empty domain is required"));
        }
        let (node, is_known) = self.builder.domain(name);
        if !is_known {
            self.origins.push((self.file, at));
        } else if !self.options.merge_domains {
            let found = format!("domain {:?} is taken by {}", clip(name), self.origin(node));
            let allowed = "one file for each domain is allowed, unless domains are merged";
            return Err(self.report.error(Spot { at, path: "" }, found, allowed));
        }
        Ok(node)
    }

    fn descriptors(&mut self, field: Option<&Field<'_>>, parent: Parent<'_>) {
        for item in self.report.list(field, parent.path).unwrap_or_default() {
            if check_item(item, parent.path, &mut self.report).is_ok() {
                self.descriptor(item, parent);
            }
        }
    }

    fn descriptor(&mut self, item: &Node<'_>, parent: Parent<'_>) {
        let fields = Fields::gather(&[item]);
        let key = self.key(&fields, Spot { at: item.at, path: parent.path });
        let value = self.report.text(fields.get("value"), parent.path);
        let joined = key.as_ref().ok().zip(value.as_ref().ok());
        let joined = joined.map(|(key, value)| composite(key, value));
        let path = match (&joined, parent.path) {
            (Some(joined), "") => joined.clone(),
            (Some(joined), above) => format!("{above}.{joined}"),
            (None, "") => "?".to_owned(),
            (None, above) => format!("{above}.?"),
        };
        self.paths += path.len();
        if self.paths > MAX_PATHS {
            let found = "keys and values are too long".to_owned();
            let allowed = format!("all paths together may have {MAX_PATHS} bytes");
            self.report.error(Spot { at: item.at, path: parent.path }, found, allowed);
            return;
        }
        fields.report(Level::Descriptor, &path, &mut self.report);
        let policy = policy::read(fields.get("rate_limit"), &path, &mut self.report);
        let share_threshold = self.share_threshold(&fields, joined.as_deref(), &path);
        let value_to_metric = self.report.boolean(fields.get("value_to_metric"), &path);
        let rule = self.rule(&fields, policy, &path);
        let new = NewNode {
            key: key.as_deref().unwrap_or_default(),
            value: value.as_deref().unwrap_or_default(),
            value_to_metric: value_to_metric.unwrap_or_default(),
            share_threshold: share_threshold.unwrap_or_default(),
            rule,
        };
        let node = match joined {
            Some(_) => self.add(parent.node, new, Spot { at: item.at, path: &path }),
            None => self.detached(item.at),
        };
        self.descriptors(fields.get("descriptors"), Parent { node, path: &path });
    }

    fn key<'t>(&mut self, fields: &Fields<'t>, spot: Spot<'_>) -> Result<Cow<'t, str>, Reported> {
        let field = fields.get("key");
        let key = self.report.text(field, spot.path)?;
        if !key.is_empty() {
            return Ok(key);
        }
        if field.is_none() && fields.misspells("key") {
            return Err(Reported);
        }
        let at = field.and_then(Field::value).map_or(spot.at, |node| node.at);
        let found = if field.is_some() { "key is empty" } else { "key is missing" };
        let allowed = "a descriptor needs a non-empty key";
        Err(self.report.error(Spot { at, ..spot }, found.to_owned(), allowed))
    }

    fn share_threshold(
        &mut self,
        fields: &Fields<'_>,
        joined: Option<&str>,
        path: &str,
    ) -> Result<bool, Reported> {
        let field = fields.get("share_threshold");
        let share = self.report.boolean(field, path)?;
        match (field, joined) {
            (Some(field), Some(joined)) if share && !joined.contains('*') => {
                let found = format!("share_threshold stands at {:?}", clip(joined));
                let allowed = "it needs a `*` in the value or key";
                Err(self.report.error(Spot { at: field.at, path }, found, allowed))
            }
            _ => Ok(share),
        }
    }

    /// The rule of a descriptor with `rate_limit`.
    fn rule(
        &mut self,
        fields: &Fields<'_>,
        policy: Result<Option<Policy>, Reported>,
        path: &str,
    ) -> Option<Rule> {
        let shadow_mode = self.report.boolean(fields.get("shadow_mode"), path);
        let quota_mode = self.report.boolean(fields.get("quota_mode"), path);
        let detailed_metric = self.report.boolean(fields.get("detailed_metric"), path);
        let metadata = metadata::read(fields.get("metadata"), path, &mut self.report);
        let policy = policy.ok()??;
        if !policy.name.is_empty() {
            self.named.insert((self.domain, policy.name.clone()));
        }
        for replaced in &policy.replaces {
            let spot = Spot { at: replaced.at, path };
            let name = replaced.name.clone();
            let found = format!("no limit of the domain is named {:?}", clip(&name));
            let allowed = "replacing it has no effect".to_owned();
            if let Some(warning) = self.report.problem(spot, found, allowed) {
                self.replaced.push(Replacement { domain: self.domain, name, warning });
            }
        }
        Some(Rule {
            path: path.into(),
            limits: policy
                .limit
                .map(|limit| NamedLimit { limit, name: policy.name.clone() })
                .into_iter()
                .collect(),
            requests_per_unit: policy.requests_per_unit,
            replaces: policy.replaces.into_iter().map(|replaced| replaced.name).collect(),
            shadow_mode: shadow_mode.ok()?,
            quota_mode: quota_mode.ok()?,
            detailed_metric: detailed_metric.ok()?,
            metadata: metadata.ok()?,
        })
    }

    fn add(&mut self, parent: NodeId, new: NewNode<'_>, spot: Spot<'_>) -> NodeId {
        match self.builder.child(parent, new) {
            Ok(node) => {
                self.origins.push((self.file, spot.at));
                node
            }
            Err(taken) => {
                let found =
                    format!("a second descriptor of this path, after {}", self.origin(taken));
                let allowed = "key and value joined by `_` must differ from their siblings";
                self.report.error(spot, found, allowed);
                self.detached(spot.at)
            }
        }
    }

    /// A node outside the tree, under which a wrong descriptor's children are checked.
    fn detached(&mut self, at: Place) -> NodeId {
        self.origins.push((self.file, at));
        self.builder.detached()
    }

    /// Names the place of a node.
    fn origin(&self, node: NodeId) -> String {
        let Some((file, Place { line, column })) = self.origins.get(node as usize) else {
            return String::new();
        };
        let name = self.names.get(*file).map_or("", String::as_str);
        format!("{name}:{line}:{column}")
    }
}

fn is_null(node: &Node<'_>) -> bool {
    matches!(node.kind(), Kind::Scalar(scalar) if resolve(scalar) == Ok(Value::Null))
}

/// The place of the byte at `index`, before which all is UTF-8.
fn end(bytes: &[u8], index: usize) -> Place {
    let before = String::from_utf8_lossy(bytes.get(..index).unwrap_or_default());
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: narrow(line), column: narrow(column) }
}

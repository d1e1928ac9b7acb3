//! Rules to a ruleset: reads each file or resource and what it says for all of its descriptors,
//! which `descriptor` reads then.
//!
//! Goes on after an error, so that all of them are found. What grows meanwhile is
//! thrown away at the end.

use std::collections::{HashMap, HashSet};

use super::builder::Builder;
use super::criteria::Regexes;
use super::defaults::Defaults;
use super::descriptor::Parent;
use super::fields::{Field, Fields};
use super::level::Level;
use super::problem::{Problem, Rejected};
use super::read::is_given;
use super::report::{Report, Reported, Spot, clip, describe};
use super::resource::Resource;
use super::ruleset::{NodeId, Spending};
use super::scalar::{Value, resolve};
use super::yaml::{self, Kind, Node, Place};
use super::{Loaded, Options, SourceFile};

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

/// Compiles `resources` in the order given.
pub(super) fn load_resources(resources: &[Resource], options: Options) -> Result<Loaded, Rejected> {
    let mut loader = Loader { options, ..Loader::default() };
    for (index, resource) in resources.iter().enumerate() {
        loader.file = index;
        loader.names.push(resource.title().to_owned());
        loader.report.begin(resource.title());
        loader.root(&resource.root());
    }
    loader.finish()
}

/// Reads files one after the other.
#[derive(Default)]
pub(super) struct Loader {
    options: Options,
    pub(super) builder: Builder,
    pub(super) report: Report,
    pub(super) regexes: Regexes,
    /// The files so far, and which of them is read.
    names: Vec<String>,
    file: usize,
    /// What the file says for its limits.
    pub(super) defaults: Defaults,
    /// Where each node of the builder stands, by its id.
    origins: Vec<Origin>,
    /// The root under which descriptors are read.
    pub(super) domain: NodeId,
    /// How long its name is.
    pub(super) domain_bytes: u32,
    /// How many descriptors there are so far.
    pub(super) descriptors: usize,
    /// How long their paths are.
    pub(super) paths: usize,
    /// Where a domain says `all_or_nothing`, and what.
    spending: HashMap<NodeId, (Origin, bool)>,
    /// The names of limits by domain.
    pub(super) named: HashSet<(NodeId, Box<str>)>,
    pub(super) replaced: Vec<Replacement>,
}

/// A file, by its index, and a place in it.
type Origin = (usize, Place);

/// A name that some limit replaces.
pub(super) struct Replacement {
    pub(super) domain: NodeId,
    pub(super) name: Box<str>,
    /// What to say if no limit has that name.
    pub(super) warning: Problem,
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
        let of_process =
            Defaults { on_store_error: Some(self.options.on_store_error), ..Defaults::default() };
        let of_file = Defaults::read(fields.get("defaults"), path, &mut self.report);
        self.defaults = of_file.or(of_process);
        self.spending(fields.get("all_or_nothing"), name.as_deref().ok(), path);
        self.domain_bytes = u32::try_from(path.len()).unwrap_or_default();
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
            self.located(at);
        } else if !self.options.merge_domains {
            let found = format!("domain {:?} is taken by {}", clip(name), self.origin(node));
            let what = if at.line == 0 { "resource" } else { "file" };
            let allowed =
                format!("one {what} for each domain is allowed, unless domains are merged");
            return Err(self.report.error(Spot { at, path: "" }, found, allowed));
        }
        Ok(node)
    }

    /// Files that add up to one domain must not contradict each other.
    fn spending(&mut self, field: Option<&Field<'_>>, name: Option<&str>, path: &str) {
        let Ok(together) = self.report.boolean(field, path) else { return };
        let (Some(field), Some(name)) = (field.filter(|_| is_given(field)), name) else { return };
        let at = Field::value_at(Some(field), field.at);
        match self.spending.get(&self.domain) {
            Some((origin, said)) if *said != together => {
                let place = self.place(*origin);
                let found = format!("all_or_nothing is {together}, but {said} at {place}");
                let allowed = "all files of a domain must say the same, or nothing";
                self.report.error(Spot { at, path }, found, allowed);
            }
            Some(_) => {}
            None => {
                self.spending.insert(self.domain, ((self.file, at), together));
                let spending = if together { Spending::AllOrNothing } else { Spending::Each };
                self.builder.spend(name, spending);
            }
        }
    }

    /// A node outside the tree, under which a wrong descriptor's children are checked.
    pub(super) fn detached(&mut self, at: Place) -> NodeId {
        self.located(at);
        self.builder.detached()
    }

    /// Notes where the node stands that the builder makes next, or made last.
    pub(super) fn located(&mut self, at: Place) {
        self.origins.push((self.file, at));
    }

    /// Names the place of a node.
    pub(super) fn origin(&self, node: NodeId) -> String {
        self.origins.get(node as usize).map_or(String::new(), |origin| self.place(*origin))
    }

    fn place(&self, (file, Place { line, column }): Origin) -> String {
        let name = self.names.get(file).map_or("", String::as_str);
        match line {
            0 => name.to_owned(),
            line => format!("{name}:{line}:{column}"),
        }
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

#[cfg(test)]
mod tests {
    use super::super::descriptor::MAX_DESCRIPTORS;
    use super::*;

    /// The errors of a file with three descriptors, after so many others.
    fn check(before: usize, expected: &[&str]) {
        let text = "{domain: a, descriptors: [{key: b, descriptors: [{key: c}]}, {key: d}]}";
        let file = SourceFile { name: "rules.yaml".to_owned(), bytes: text.into() };
        let names = vec![file.name.clone()];
        let mut loader = Loader { descriptors: before, names, ..Loader::default() };
        loader.file(&file);
        let errors: Vec<String> = loader.report.errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, expected, "{before}");
    }

    #[test]
    fn beyond_a_million_descriptors_the_first_is_an_error() {
        let full = |column: usize, path: &str| {
            format!(
                "rules.yaml:1:{column}: {path}: too many descriptors; all files together may have 1000000"
            )
        };
        check(MAX_DESCRIPTORS - 3, &[]);
        check(MAX_DESCRIPTORS - 2, &[&full(62, "a")]);
        check(MAX_DESCRIPTORS - 1, &[&full(50, "a.b")]);
        check(MAX_DESCRIPTORS, &[&full(27, "a")]);
    }
}

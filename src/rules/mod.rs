//! YAML, or data of the same form, to [`Ruleset`]: the immutable, compiled form of all rules, and the look-up
//! of the rule that a descriptor meets.
//!
//! Pure: no I/O, no clock, no log. Every mistake of a set of rules is found at once
//! and located; a set with one error yields no ruleset. Getting the rules belongs to
//! `sources`, counting to `limiter`.
//!
//! Text passes through `yaml` (located nodes), `scalar` (what YAML 1.1 takes them for),
//! `fields` (merges applied, keys checked) and `read` (typed values) to `load` and
//! `descriptor`, which grow the tree. Data comes in as such nodes, through `resource`.

mod limit;
mod pattern;
mod network;
mod matcher;
mod problem;
mod ruleset;
mod builder;
pub(crate) mod yaml;
mod scalar;
mod report;
mod level;
mod fields;
mod read;
mod defaults;
mod replaces;
mod terms;
mod policy;
mod criteria;
mod metadata;
mod descriptor;
mod resource;
mod load;
mod schema;

pub use limit::{Accuracy, Algorithm, Limit, OnStoreError, Unit};
pub use problem::{Problem, Rejected};
pub use resource::{Descriptor, RateLimit, Resource};
pub use ruleset::{
    Domain, Entry, How, NamedLimit, Node, Rule, RuleId, Ruleset, Spending, Step, Steps,
};

/// One rule file as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// What problems call it: the path below the rules directory.
    pub name: String,
    /// Its content, expected to be UTF-8.
    pub bytes: Vec<u8>,
}

/// How a set of files or resources becomes one ruleset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Files or resources of one domain add up instead of excluding each other.
    pub merge_domains: bool,
    /// What limits do when the store cannot say, where neither they nor their file say.
    pub on_store_error: OnStoreError,
}

/// A ruleset and what is odd about where it comes from.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled rules.
    pub ruleset: Ruleset,
    /// Likely mistakes that are not errors.
    pub warnings: Vec<Problem>,
}

/// The JSON Schema of a rule file, for editors: draft 2020-12, with descriptions of all keys.
pub fn schema() -> serde_json::Value {
    schema::document()
}

/// Compiles a set of rule files.
///
/// # Errors
///
/// [`Rejected`] lists every error of every file.
pub fn load(files: &[SourceFile], options: Options) -> Result<Loaded, Rejected> {
    load::load(files, options)
}

/// Compiles a set of resources, in the order given; problems are named by the resource.
///
/// # Errors
///
/// [`Rejected`] lists every error of every resource.
pub fn load_resources(resources: &[Resource], options: Options) -> Result<Loaded, Rejected> {
    load::load_resources(resources, options)
}

//! Rule files through [`tidegate::rules::load`], the way `sources` uses it.

mod accepted;
mod beyond;
mod hostile;
mod matching;
mod misuse;
mod rejected;
mod schema;

use tidegate::rules::{
    self, Entry, Limit, Loaded, Options, Problem, Rejected, Rule, Ruleset, SourceFile, Steps,
};

fn file(name: &str, text: impl Into<Vec<u8>>) -> SourceFile {
    SourceFile { name: name.to_owned(), bytes: text.into() }
}

/// Loads files as `sources` does; what editors know must agree.
fn load(files: &[SourceFile], options: Options) -> Result<Loaded, Rejected> {
    let result = rules::load(files, options);
    schema::agree(files, &result);
    result
}

/// A file with one descriptor, written as flow map.
fn one_descriptor(descriptor: &str) -> String {
    format!("domain: shop\ndescriptors:\n- {descriptor}\n")
}

/// Loads one file.
fn load_one(text: impl Into<Vec<u8>>) -> Result<Loaded, Rejected> {
    load(&[file("rules.yaml", text)], Options::default())
}

/// Loads one file that must be right.
fn loaded(text: &str) -> Loaded {
    load_one(text).unwrap_or_else(|rejected| panic!("{rejected}\nin\n{text}"))
}

/// The rule that a descriptor leads to.
fn find<'r>(ruleset: &'r Ruleset, domain: &str, entries: &[(&str, &str)]) -> Option<&'r Rule> {
    let entries: Vec<Entry<'_>> = entries.iter().map(|(key, value)| Entry { key, value }).collect();
    let mut steps = Steps::new();
    let id = ruleset.find(ruleset.domain(domain)?, &entries, &mut steps)?;
    Some(ruleset.rule(id))
}

/// The limits of a rule, without their names.
fn limits(rule: &Rule) -> Vec<Limit> {
    rule.limits.iter().map(|named| named.limit).collect()
}

/// Errors and warnings as an operator reads them.
fn render(errors: &[Problem], warnings: &[Problem]) -> String {
    let errors = errors.iter().map(|problem| format!("error: {problem}\n"));
    errors.chain(warnings.iter().map(|problem| format!("warning: {problem}\n"))).collect()
}

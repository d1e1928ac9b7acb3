//! The metric path of a decision: the dotted name under which its statistics go.
//!
//! Most rules have one fixed path. Only rules that show values of the request, and
//! limits that the request brings, need a text of their own.

use crate::rules::{Entry, How, Rule, Step};

/// The path of a match, `None` where it is the rule's own [`Rule::path`].
pub(super) fn of_match(
    domain: &str,
    rule: &Rule,
    entries: &[Entry<'_>],
    steps: &[Step<'_>],
) -> Option<Box<str>> {
    if rule.detailed_metric {
        return Some(detailed(domain, entries, steps));
    }
    let matches = || entries.iter().zip(steps);
    if !matches().any(|(entry, step)| differs(entry, step)) {
        return None;
    }
    Some(join(domain, matches().map(|(entry, step)| piece(entry, step))))
}

/// The path of a limit that the request brought: all values.
pub(super) fn of_override(domain: &str, entries: &[Entry<'_>]) -> Box<str> {
    join(domain, entries.iter().map(|entry| (entry.key, some(entry.value))))
}

/// All values, an empty one leaving its underscore; with shared wildcards and matches their
/// patterns, and then empty values leave nothing.
fn detailed(domain: &str, entries: &[Entry<'_>], steps: &[Step<'_>]) -> Box<str> {
    let any_shared = steps.iter().any(Step::is_shared);
    let piece = |(entry, step): (&Entry<'_>, &Step<'_>)| -> String {
        if step.is_shared() {
            format!(".{}_{}", entry.key, step.pattern(entry.key))
        } else if any_shared && entry.value.is_empty() {
            format!(".{}", entry.key)
        } else {
            format!(".{}_{}", entry.key, entry.value)
        }
    };
    let pieces: String = entries.iter().zip(steps).map(piece).collect();
    format!("{domain}{pieces}").into()
}

/// Whether the piece of this entry is not the composite key of its node.
fn differs(entry: &Entry<'_>, step: &Step<'_>) -> bool {
    match step.how {
        How::Exact => false,
        How::Default => step.node.value_to_metric() && !entry.value.is_empty(),
        How::Matched => step.node.value_to_metric() && !step.is_shared(),
        How::Wildcard => {
            (step.node.value_to_metric() && !step.is_shared()) || step.reaches_into_key(entry.key)
        }
    }
}

fn piece<'t>(entry: &Entry<'t>, step: &Step<'t>) -> (&'t str, Option<&'t str>) {
    let value = match step.how {
        How::Wildcard | How::Matched if step.is_shared() || !step.node.value_to_metric() => {
            step.pattern(entry.key)
        }
        How::Default if !step.node.value_to_metric() => "",
        How::Exact | How::Wildcard | How::Matched | How::Default => entry.value,
    };
    (entry.key, some(value))
}

fn some(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

fn join<'t>(domain: &str, pieces: impl Iterator<Item = (&'t str, Option<&'t str>)>) -> Box<str> {
    let mut path = domain.to_owned();
    for (key, value) in pieces {
        path.push('.');
        path.push_str(key);
        if let Some(value) = value {
            path.push('_');
            path.push_str(value);
        }
    }
    path.into()
}

//! `rate_limit` and `rate_limits`: the limits of a rule and what they replace.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use super::fields::{Field, Fields, check_item};
use super::level::Level;
use super::limit::Algorithm;
use super::read::is_given;
use super::replaces::Replaced;
use super::report::{Report, Reported, Spot, clip};
use super::ruleset::NamedLimit;
use super::terms::{self, Context, Terms};
use super::yaml::{Node, Place};

/// How many limits a descriptor may have: each costs an operation per request.
pub(super) const MAX_LIMITS: usize = 16;

/// The valid limits of a descriptor.
#[derive(Debug, Default)]
pub(super) struct Policy {
    /// None means unlimited.
    pub(super) limits: Vec<NamedLimit>,
    /// As written for the first limit.
    pub(super) requests_per_unit: u32,
    /// The names given, that of an unlimited rule included.
    pub(super) names: Vec<Box<str>>,
    pub(super) replaces: Vec<Replaced>,
}

/// Reads the limits of a descriptor with these fields; `None` where there are none.
pub(super) fn read(
    descriptor: &Fields<'_>,
    context: Context<'_>,
    report: &mut Report,
) -> Result<Option<Policy>, Reported> {
    let (one, several) = (descriptor.get("rate_limit"), descriptor.get("rate_limits"));
    let both = match several.filter(|_| is_given(one) && is_given(several)) {
        Some(several) => {
            let spot = Spot { at: several.at, path: context.path };
            let found = "rate_limits stands beside rate_limit".to_owned();
            Err(report.error(spot, found, "one of the two is allowed"))
        }
        None => Ok(()),
    };
    let one = single(one, context, report);
    let several = list(several, context, report);
    both?;
    Ok(one?.or(several?))
}

fn single(
    field: Option<&Field<'_>>,
    context: Context<'_>,
    report: &mut Report,
) -> Result<Option<Policy>, Reported> {
    let (Some(field), [_, ..]) = (field, report.maps(field, context.path)?) else {
        return Ok(None);
    };
    let fields = Fields::gather(field.maps());
    fields.report(Level::RateLimit, context.path, report);
    let mut policy = Policy::default();
    let terms = terms::read(&fields, field.at, context, report)?;
    policy.add(terms);
    Ok(Some(policy))
}

fn list(
    field: Option<&Field<'_>>,
    context: Context<'_>,
    report: &mut Report,
) -> Result<Option<Policy>, Reported> {
    let path = context.path;
    let items = report.list(field, path)?;
    let Some(field) = field.filter(|_| is_given(field)) else {
        return Ok(None);
    };
    let spot = Spot { at: Field::value_at(Some(field), field.at), path };
    if items.is_empty() {
        let found = "rate_limits is an empty list".to_owned();
        return Err(report.error(spot, found, "at least one limit is required"));
    }
    if items.len() > MAX_LIMITS {
        let found = format!("rate_limits holds {} limits", items.len());
        let allowed = format!("{MAX_LIMITS} are allowed for one descriptor");
        return Err(report.error(spot, found, allowed));
    }
    let mut policy = Policy::default();
    let mut kinds = HashMap::new();
    let mut result = Ok(());
    for item in items {
        let terms = element(item, context, report)
            .and_then(|terms| differs(terms, Spot { at: item.at, path }, &mut kinds, report));
        match terms {
            Ok(terms) => policy.add(terms),
            Err(reported) => result = Err(reported),
        }
    }
    policy.check_replaces(path, report).and(result).map(|()| Some(policy))
}

fn element(item: &Node<'_>, context: Context<'_>, report: &mut Report) -> Result<Terms, Reported> {
    let path = context.path;
    check_item(item, path, report)?;
    let fields = Fields::gather(&[item]);
    fields.report(Level::RateLimits, path, report);
    let unlimited = fields.get("unlimited");
    if let Some(field) = unlimited
        && let Ok(true) = report.boolean(unlimited, path)
    {
        let found = "unlimited stands in rate_limits".to_owned();
        let allowed = "only limits are allowed in the list";
        return Err(report.error(Spot { at: field.at, path }, found, allowed));
    }
    terms::read(&fields, item.at, context, report)
}

/// What tells counters of one descriptor apart: algorithm and length of window.
type Kinds = HashMap<(Discriminant<Algorithm>, u64), Place>;

/// Two limits of one kind would share a counter.
fn differs(
    terms: Terms,
    spot: Spot<'_>,
    kinds: &mut Kinds,
    report: &mut Report,
) -> Result<Terms, Reported> {
    let Some(limit) = terms.limit else { return Ok(terms) };
    let secs = limit.window_secs();
    let kind = (discriminant(&limit.algorithm), secs);
    match kinds.get(&kind) {
        Some(Place { line, column }) => {
            let name = limit.algorithm.name();
            let found =
                format!("a second {name} of {secs} s in one list, first at {line}:{column}");
            let allowed = "the two would share a counter, and only the smaller one would matter";
            Err(report.error(spot, found, allowed))
        }
        None => {
            kinds.insert(kind, spot.at);
            Ok(terms)
        }
    }
}

impl Policy {
    fn add(&mut self, terms: Terms) {
        let Terms { limit, requests_per_unit, name, replaces } = terms;
        if self.limits.is_empty() {
            self.requests_per_unit = requests_per_unit;
        }
        if !name.is_empty() {
            self.names.push(name.clone());
        }
        self.limits.extend(limit.map(|limit| NamedLimit { limit, name }));
        self.replaces.extend(replaces);
    }

    /// A limit that another one of its own rule replaces would never count.
    fn check_replaces(&self, path: &str, report: &mut Report) -> Result<(), Reported> {
        let mut result = Ok(());
        for Replaced { at, name } in &self.replaces {
            if self.names.contains(name) {
                let found = format!("the limit {:?} stands in the same list", clip(name));
                let allowed = "a limit of another descriptor is allowed";
                result = Err(report.error(Spot { at: *at, path }, found, allowed));
            }
        }
        result
    }
}

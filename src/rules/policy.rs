//! `rate_limit`: the limit of a rule, its name and what it replaces.

use super::fields::{Field, Fields, check_item};
use super::level::Level;
use super::limit::{Limit, Unit};
use super::report::{Report, Reported, Spot, clip, nearest};
use super::yaml::{Node, Place};

const UNITS: &str = "second, minute, hour, day, week, month and year are allowed";

/// A valid `rate_limit`.
#[derive(Debug)]
pub(super) struct Policy {
    /// `None` means unlimited.
    pub(super) limit: Option<Limit>,
    pub(super) requests_per_unit: u32,
    pub(super) name: Box<str>,
    pub(super) replaces: Vec<Replaced>,
}

/// A name in `replaces`.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) at: Place,
    pub(super) name: Box<str>,
}

/// Reads `rate_limit`; `None` where there is none.
pub(super) fn read(
    field: Option<&Field<'_>>,
    path: &str,
    report: &mut Report,
) -> Result<Option<Policy>, Reported> {
    let (Some(field), [_, ..]) = (field, report.maps(field, path)?) else {
        return Ok(None);
    };
    let fields = Fields::gather(field.maps());
    fields.report(Level::RateLimit, path, report);

    let requests_per_unit = report.whole(fields.get("requests_per_unit"), path);
    let limit = limit(&fields, Spot { at: field.at, path }, report);
    let name = report.text(fields.get("name"), path);
    let replaces = replaces(&fields, name.as_deref().ok(), path, report);
    let (requests_per_unit, name) = (requests_per_unit?, name?.into());
    let limit = limit?.map(|unit| Limit::fixed(requests_per_unit, unit));
    Ok(Some(Policy { limit, requests_per_unit, name, replaces: replaces? }))
}

/// The unit; `None` for unlimited.
fn limit(
    fields: &Fields<'_>,
    spot: Spot<'_>,
    report: &mut Report,
) -> Result<Option<Unit>, Reported> {
    let path = spot.path;
    let unlimited = report.boolean(fields.get("unlimited"), path);
    let field = fields.get("unit");
    let written = report.text(field, path);
    let (unlimited, written) = (unlimited?, written?);
    let at = field.and_then(Field::value).map_or(spot.at, |node| node.at);
    match (unlimited, Unit::parse(&written)) {
        (false, Some(unit)) => Ok(Some(unit)),
        (false, None) if field.is_none() && fields.misspells("unit") => Err(Reported),
        (false, None) => {
            let found = match (field, &*written) {
                (None, _) => "unit is missing".to_owned(),
                (_, "") => "unit is empty".to_owned(),
                _ => format!("unit is {:?}", clip(&written)),
            };
            let names = Unit::ALL.map(|unit| unit.name().to_lowercase());
            let near = nearest(&written, &names.each_ref().map(String::as_str));
            let allowed = near.map(|name| format!("did you mean {name:?}? "));
            let allowed = allowed.unwrap_or_default() + UNITS;
            Err(report.error(Spot { at, path }, found, allowed))
        }
        (true, Some(_)) => {
            let found = format!("unlimited stands beside unit {:?}", clip(&written));
            Err(report.error(Spot { at, path }, found, "one of the two is allowed"))
        }
        (true, None) => {
            if let Some(field) = fields.get("requests_per_unit") {
                let found = "requests_per_unit stands beside unlimited".to_owned();
                report.warn(Spot { at: field.at, path }, found, "there is no limit");
            }
            Ok(None)
        }
    }
}

/// The names in `replaces`; `own` is the limit's name, if that is known.
fn replaces(
    fields: &Fields<'_>,
    own: Option<&str>,
    path: &str,
    report: &mut Report,
) -> Result<Vec<Replaced>, Reported> {
    let mut names = Vec::new();
    let mut result = Ok(());
    for item in report.list(fields.get("replaces"), path)? {
        match replaced(item, own, path, report) {
            Ok(name) => names.push(name),
            Err(reported) => result = Err(reported),
        }
    }
    result.map(|()| names)
}

fn replaced(
    item: &Node<'_>,
    own: Option<&str>,
    path: &str,
    report: &mut Report,
) -> Result<Replaced, Reported> {
    check_item(item, path, report)?;
    let fields = Fields::gather(&[item]);
    fields.report(Level::Replaces, path, report);
    let field = fields.get("name");
    let name = report.text(field, path)?;
    let at = field.and_then(Field::value).map_or(item.at, |node| node.at);
    let spot = Spot { at, path };
    if field.is_none() && fields.misspells("name") {
        return Err(Reported);
    }
    if name.is_empty() {
        let allowed = "name the limit that is replaced: `name: other`";
        return Err(report.error(spot, "a replaces element names no limit".to_owned(), allowed));
    }
    if Some(&*name) == own {
        let found = format!("the limit {:?} replaces itself", clip(&name));
        return Err(report.error(spot, found, "the name of another limit is allowed"));
    }
    Ok(Replaced { at, name: name.into() })
}

//! `replaces`: names of limits that do not count when this one is met.

use super::fields::{Field, Fields, check_item};
use super::level::Level;
use super::report::{Report, Reported, Spot, clip};
use super::yaml::{Node, Place};

/// A name in `replaces`.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) at: Place,
    pub(super) name: Box<str>,
}

/// The names in `replaces`; `own` is the limit's name, if that is known.
pub(super) fn read(
    field: Option<&Field<'_>>,
    own: Option<&str>,
    path: &str,
    report: &mut Report,
) -> Result<Vec<Replaced>, Reported> {
    let mut names = Vec::new();
    let mut result = Ok(());
    for item in report.list(field, path)? {
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
    let at = Field::value_at(field, item.at);
    if field.is_none() && fields.misspells("name") {
        return Err(Reported);
    }
    if name.is_empty() {
        let allowed = "name the limit that is replaced: `name: other`";
        let found = "a replaces element names no limit".to_owned();
        return Err(report.error(Spot { at, path }, found, allowed));
    }
    if Some(&*name) == own {
        let found = format!("the limit {:?} replaces itself", clip(&name));
        let allowed = "the name of another limit is allowed";
        return Err(report.error(Spot { at, path }, found, allowed));
    }
    Ok(Replaced { at, name: name.into() })
}

//! The keys that a map of a rule file ends up with, and whether they may stand there.
//!
//! Merge keys apply in the order of the map and the last of several values wins, as in
//! the parser of envoyproxy/ratelimit: so a merge overrides the keys that stand before
//! it. A key that is known but means nothing at its level is accepted, with a warning;
//! but one that envoyproxy/ratelimit does not know is an error.

use smallvec::SmallVec;

use super::level::{KNOWN, Level, home};
use super::read::{COUNT, WHOLE};
use super::report::{Report, Reported, Spot, clip, describe, nearest};
use super::scalar::{Value, resolve};
use super::yaml::{Kind, Node, Place};

/// A key with its value.
#[derive(Debug)]
pub(super) struct Field<'t> {
    pub(super) name: &'static str,
    /// Where the key stands.
    pub(super) at: Place,
    /// Every value given for it; the last one counts.
    values: SmallVec<[&'t Node<'t>; 1]>,
    merged: bool,
}

impl<'t> Field<'t> {
    /// The value that counts.
    pub(super) fn value(&self) -> Option<&'t Node<'t>> {
        self.values.last().copied()
    }

    /// The maps that make up the value: a further map adds to the one before it.
    pub(super) fn maps(&self) -> &[&'t Node<'t>] {
        let is_map = |node: &&&Node<'_>| matches!(node.kind(), Kind::Mapping(_));
        let maps = self.values.iter().rev().take_while(is_map).count();
        self.values.get(self.values.len() - maps..).unwrap_or_default()
    }
}

/// What stands in a map once merge keys are followed.
pub(super) enum Entry<'t> {
    Pair {
        key: &'t Node<'t>,
        value: &'t Node<'t>,
        /// It comes from another map.
        merged: bool,
    },
    /// The value of a merge key that is neither a map nor a list of maps.
    BadMerge(&'t Node<'t>),
}

/// Visits the entries of maps of which each adds to those before it.
pub(super) fn entries<'t>(maps: &[&'t Node<'t>], visit: &mut dyn FnMut(Entry<'t>)) {
    if let Some((last, earlier)) = maps.split_last() {
        earlier.iter().for_each(|map| merge(map, visit));
        walk(last, visit, |key, value| Entry::Pair { key, value, merged: false });
    }
}

fn merge<'t>(map: &'t Node<'t>, visit: &mut dyn FnMut(Entry<'t>)) {
    walk(map, visit, |key, value| Entry::Pair { key, value, merged: true });
}

fn walk<'t>(
    map: &'t Node<'t>,
    visit: &mut dyn FnMut(Entry<'t>),
    entry: fn(&'t Node<'t>, &'t Node<'t>) -> Entry<'t>,
) {
    let Kind::Mapping(pairs) = map.kind() else {
        return visit(Entry::BadMerge(map));
    };
    for (key, value) in pairs {
        match (key.kind(), value.kind()) {
            (Kind::Scalar(scalar), Kind::Sequence(maps)) if scalar.is_merge() => {
                // The earlier map wins, so it comes last.
                maps.iter().rev().for_each(|map| merge(map, visit));
            }
            (Kind::Scalar(scalar), _) if scalar.is_merge() => merge(value, visit),
            _ => visit(entry(key, value)),
        }
    }
}

/// The fields of a map, merges and duplicates applied.
#[derive(Debug, Default)]
pub(super) struct Fields<'t> {
    fields: SmallVec<[Field<'t>; 6]>,
    strangers: Vec<&'t Node<'t>>,
    bad_merges: Vec<&'t Node<'t>>,
    doubles: Vec<Double>,
}

/// A key that takes the place of an earlier one in the same map.
#[derive(Debug)]
struct Double {
    name: &'static str,
    earlier: Place,
    later: Place,
    merged: bool,
}

impl<'t> Fields<'t> {
    /// Reads maps of which each adds to those before it.
    pub(super) fn gather(maps: &[&'t Node<'t>]) -> Self {
        let mut fields = Self::default();
        entries(maps, &mut |entry| match entry {
            Entry::BadMerge(node) => fields.bad_merges.push(node),
            Entry::Pair { key, value, merged } => match known(key) {
                Some(name) => fields.add(Field {
                    name,
                    at: key.at,
                    values: SmallVec::from_slice(&[value]),
                    merged,
                }),
                None => fields.strangers.push(key),
            },
        });
        fields
    }

    /// The field of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Field<'t>> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Whether every key is known and means something at `level`.
    pub(super) fn belong(&self, level: Level) -> bool {
        let mut names = self.fields.iter().map(|field| field.name);
        let known = self.strangers.is_empty() && self.bad_merges.is_empty();
        known && names.all(|name| level.keys().contains(&name))
    }

    /// Whether an unknown key was probably meant to be `name`.
    pub(super) fn misspells(&self, name: &str) -> bool {
        let is_near = |key: &&Node<'t>| match key.kind() {
            Kind::Scalar(scalar) => nearest(&scalar.text, &[name]).is_some(),
            _ => false,
        };
        self.strangers.iter().any(is_near)
    }

    fn add(&mut self, later: Field<'t>) {
        let Some(field) = self.fields.iter_mut().find(|field| field.name == later.name) else {
            return self.fields.push(later);
        };
        if !field.merged {
            let Field { name, merged, .. } = later;
            self.doubles.push(Double { name, earlier: field.at, later: later.at, merged });
        }
        (field.at, field.merged) = (later.at, later.merged);
        field.values.extend(later.values);
    }

    /// Reports the keys that may not stand at `level`, and those that are odd there.
    pub(super) fn report(&self, level: Level, path: &str, report: &mut Report) {
        for key in &self.strangers {
            stranger(key, level, path, report);
        }
        for node in &self.bad_merges {
            let found = format!("the merge key << holds {}", describe(node));
            report.error(Spot { at: node.at, path }, found, "a map or a list of maps is allowed");
        }
        for double in &self.doubles {
            double.report(path, report);
        }
        for field in &self.fields {
            let misplaced = !level.keys().contains(&field.name);
            if misplaced && (level.is_ours() || home(field.name).is_some()) {
                field.refuse(level, path, report);
                continue;
            }
            if misplaced {
                let at = field.at;
                let (found, allowed) = field.misplaced(level);
                report.warn(Spot { at, path }, found, allowed);
            }
            if let Some(value) = field.value()
                && (misplaced || level == Level::Ignored)
                && field.name != "metadata"
            {
                ignored(value, path, report);
            }
        }
    }
}

impl Double {
    fn report(&self, path: &str, report: &mut Report) {
        let Self { name, earlier, later, merged } = self;
        let Place { line, column } = earlier;
        let (at, found) = if *merged {
            (earlier, format!("{name} is overridden by the merge key << that stands below it"))
        } else {
            (later, format!("{name} stands twice in one map, first at {line}:{column}"))
        };
        let allowed = if *merged { "keys above a merge lose" } else { "the last one counts" };
        report.warn(Spot { at: *at, path }, found, allowed);
    }
}

impl Field<'_> {
    /// Where the value stands; `otherwise` without one.
    pub(super) fn value_at(field: Option<&Self>, otherwise: Place) -> Place {
        field.and_then(Field::value).map_or(otherwise, |node| node.at)
    }

    /// Reports a key that would be ignored although it says what a limit shall do.
    fn refuse(&self, level: Level, path: &str, report: &mut Report) {
        let place = if level == Level::Ignored { "here" } else { level.name() };
        let found = format!("{} means nothing {place}", self.name);
        let allowed = match (home(self.name), self.name) {
            (Some(home), _) => format!("it is allowed {home}"),
            (None, "shadow_mode" | "quota_mode") => "it belongs beside rate_limits".to_owned(),
            (None, _) => format!("allowed {place}: {}", level.keys().join(", ")),
        };
        report.error(Spot { at: self.at, path }, found, allowed);
    }

    fn misplaced(&self, level: Level) -> (String, String) {
        let name = self.name;
        let found = format!("{name} means nothing {}", level.name());
        let allowed = match (name, level) {
            ("shadow_mode" | "quota_mode", Level::RateLimit) => {
                format!("the limit is ENFORCED; {name} belongs beside rate_limit")
            }
            _ => "it is ignored".to_owned(),
        };
        (found, allowed)
    }
}

/// The name of a known key.
fn known(key: &Node<'_>) -> Option<&'static str> {
    match key.kind() {
        Kind::Scalar(scalar) => KNOWN.into_iter().find(|name| *name == scalar.text),
        _ => None,
    }
}

fn stranger(key: &Node<'_>, level: Level, path: &str, report: &mut Report) {
    let allowed = format!("allowed {}: {}", level.name(), level.keys().join(", "));
    let spot = Spot { at: key.at, path };
    if let Kind::Scalar(scalar) = key.kind()
        && let Ok(Value::Text(text)) = resolve(scalar)
    {
        let near = nearest(text, level.keys()).or_else(|| nearest(text, &KNOWN));
        let allowed = near.map_or(allowed, |name| format!("did you mean {name:?}?"));
        report.error(spot, format!("unknown key {:?}", clip(text)), allowed);
        return;
    }
    report.error(spot, format!("a key is {}, not a string", describe(key)), allowed);
}

/// Checks what is below a key without meaning: its keys, lists and numbers must still
/// be such as a rule file may hold.
fn ignored(node: &Node<'_>, path: &str, report: &mut Report) {
    match node.kind() {
        Kind::Scalar(_) => {
            let _ = check_number("a value", node, path, report);
        }
        Kind::Sequence(items) => {
            for item in items {
                if check_item(item, path, report).is_ok() {
                    ignored(item, path, report);
                }
            }
        }
        Kind::Mapping(_) => Fields::gather(&[node]).report(Level::Ignored, path, report),
    }
}

/// Lists hold maps only.
pub(super) fn check_item(item: &Node<'_>, path: &str, report: &mut Report) -> Result<(), Reported> {
    if matches!(item.kind(), Kind::Mapping(_)) {
        return Ok(());
    }
    let found = format!("a list element is {}", describe(item));
    Err(report.error(Spot { at: item.at, path }, found, "only maps are allowed in a list"))
}

/// No floats outside metadata, and no integers beyond 64 bits.
pub(super) fn check_number(
    name: &str,
    node: &Node<'_>,
    path: &str,
    report: &mut Report,
) -> Result<(), Reported> {
    let Kind::Scalar(scalar) = node.kind() else {
        return Ok(());
    };
    let why = match resolve(scalar) {
        Ok(Value::Float(_)) => "",
        Ok(Value::Large(_)) => ", which needs more than 63 bits",
        _ => return Ok(()),
    };
    let allowed = match name {
        "requests_per_unit" => WHOLE.to_owned(),
        "unit_multiplier" | "burst" => COUNT.to_owned(),
        _ => format!("put it in quotes to mean the text: {:?}", clip(&scalar.text)),
    };
    let found = format!("{name} is {}{why}", describe(node));
    Err(report.error(Spot { at: node.at, path }, found, allowed))
}

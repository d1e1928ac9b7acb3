//! From YAML to a [`Mapping`]. Keys that are not known are read past.

use regex::Regex;

use super::{Action, Mapping, Pattern, Rule};
use crate::rules::yaml::{self, Kind as Yaml, Node};
use crate::telemetry::prometheus::Kind;
use crate::telemetry::template::Template;

/// Why a mapping file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {found}")]
pub struct MappingError {
    line: u32,
    column: u32,
    found: String,
}

type Result<T> = std::result::Result<T, MappingError>;

pub(super) fn mapping(text: &str) -> Result<Mapping> {
    let document = yaml::parse(text).map_err(|error| MappingError {
        line: error.at.line,
        column: error.at.column,
        found: error.found,
    })?;
    let Some(root) = document.root else { return Ok(Mapping::default()) };
    let defaults = get(&root, "defaults");
    let default_type = defaults.and_then(|node| get(node, "match_type"));
    let rules = match get(&root, "mappings") {
        Some(node) => {
            items(node, "mappings")?.iter().map(|node| rule(node, default_type)).collect()
        }
        None => Ok(Vec::new()),
    };
    Ok(Mapping { rules: rules?, buckets: defaults.map(buckets).transpose()?.flatten() })
}

fn rule(node: &Node<'_>, default_type: Option<&Node<'_>>) -> Result<Rule> {
    if !matches!(node.kind(), Yaml::Mapping(_)) {
        return wrong(node, "a mapping is not a map");
    }
    let Some(matched) = get(node, "match") else {
        return wrong(node, "a mapping has no match");
    };
    let pattern = pattern(matched, get(node, "match_type").or(default_type))?;
    let kind = get(node, "match_metric_type").map(kind).transpose()?;
    let is_drop = get(node, "action").map(text).transpose()? == Some("drop");
    let action = if is_drop { Action::Drop } else { name(node)? };
    Ok(Rule { pattern, kind, action })
}

fn pattern(node: &Node<'_>, kind: Option<&Node<'_>>) -> Result<Pattern> {
    let matched = text(node)?;
    match kind.map(|kind| Ok((text(kind)?, kind))).transpose()? {
        None | Some(("glob" | "", _)) => {
            Ok(Pattern::Glob(matched.split('.').map(str::to_owned).collect()))
        }
        Some(("regex", _)) => match Regex::new(matched) {
            Ok(regex) => Ok(Pattern::Regex(regex)),
            Err(_) => wrong(node, "match is not a regular expression"),
        },
        Some((other, kind)) => wrong(kind, format!("{other:?} is not glob or regex")),
    }
}

fn kind(node: &Node<'_>) -> Result<Kind> {
    match text(node)? {
        "counter" => Ok(Kind::Counter),
        "gauge" => Ok(Kind::Gauge),
        "observer" | "timer" => Ok(Kind::Histogram),
        other => wrong(node, format!("{other:?} is not counter, gauge, observer or timer")),
    }
}

fn name(node: &Node<'_>) -> Result<Action> {
    let Some(family) = get(node, "name") else {
        return wrong(node, "a mapping has no name");
    };
    Ok(Action::Name {
        family: Template::new(text(family)?),
        labels: get(node, "labels").map(labels).transpose()?.unwrap_or_default(),
        buckets: buckets(node)?,
        scale: get(node, "scale").map(number).transpose()?,
    })
}

fn labels(node: &Node<'_>) -> Result<Vec<(String, Template)>> {
    let Yaml::Mapping(pairs) = node.kind() else { return wrong(node, "labels is not a map") };
    let label = |(key, value): &(Node<'_>, Node<'_>)| {
        let name = text(key)?;
        let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
        let is_name = name.bytes().all(|b| letter(b) || b.is_ascii_digit())
            && name.bytes().next().is_some_and(letter);
        if !is_name || name == "le" {
            return wrong(key, format!("{name:?} is not the name of a label"));
        }
        Ok((name.to_owned(), Template::new(text(value)?)))
    };
    pairs.iter().map(label).collect()
}

/// The buckets of a rule or of the defaults: in the place for them, or in the older one.
fn buckets(node: &Node<'_>) -> Result<Option<Vec<f64>>> {
    let options = get(node, "histogram_options").and_then(|node| get(node, "buckets"));
    let Some(node) = options.or_else(|| get(node, "buckets")) else { return Ok(None) };
    let mut buckets = items(node, "buckets")?.iter().map(number).collect::<Result<Vec<f64>>>()?;
    buckets.sort_by(f64::total_cmp);
    buckets.dedup();
    Ok(Some(buckets))
}

fn get<'n, 't>(node: &'n Node<'t>, key: &str) -> Option<&'n Node<'t>> {
    let Yaml::Mapping(pairs) = node.kind() else { return None };
    let is_key = |node: &Node<'_>| matches!(node.kind(), Yaml::Scalar(s) if s.text == key);
    pairs.iter().find(|(name, _)| is_key(name)).map(|(_, value)| value)
}

fn items<'n, 't>(node: &'n Node<'t>, what: &str) -> Result<&'n [Node<'t>]> {
    match node.kind() {
        Yaml::Sequence(items) => Ok(items),
        _ => wrong(node, format!("{what} is not a list")),
    }
}

fn text<'n>(node: &'n Node<'_>) -> Result<&'n str> {
    match node.kind() {
        Yaml::Scalar(scalar) => Ok(&scalar.text),
        _ => wrong(node, "text is expected"),
    }
}

fn number(node: &Node<'_>) -> Result<f64> {
    let text = text(node)?;
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => wrong(node, format!("{text:?} is not a number")),
    }
}

fn wrong<T>(node: &Node<'_>, found: impl Into<String>) -> Result<T> {
    let (line, column) = (node.at.line, node.at.column);
    Err(MappingError { line, column, found: found.into() })
}

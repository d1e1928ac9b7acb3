//! `metadata`: any YAML map as JSON.
//!
//! Scalars mean what YAML 1.1 says. Keys become text: a boolean key `yes` is `"true"`.
//! JSON has no infinities, so they become text too, as in the JSON form of protobuf.

use std::collections::HashSet;

use serde_json::{Map, Number, Value as Json};

use super::fields::{Entry, Field, entries};
use super::report::{Report, Reported, Spot, clip, describe};
use super::scalar::{Value, resolve};
use super::yaml::{Kind, Node};

/// Reads `metadata`; `None` where there is none.
pub(super) fn read(
    field: Option<&Field<'_>>,
    path: &str,
    report: &mut Report,
) -> Result<Option<Map<String, Json>>, Reported> {
    let maps = report.maps(field, path)?;
    if maps.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader { path, report, result: Ok(()) };
    let map = reader.map(maps);
    reader.result.map(|()| Some(map))
}

struct Reader<'r> {
    path: &'r str,
    report: &'r mut Report,
    result: Result<(), Reported>,
}

impl Reader<'_> {
    fn map(&mut self, maps: &[&Node<'_>]) -> Map<String, Json> {
        let mut map = Map::new();
        let mut own = HashSet::new();
        entries(maps, &mut |entry| match entry {
            Entry::BadMerge(node) => {
                self.wrong(node, "the merge key << holds", "a map or a list of maps is allowed");
            }
            Entry::Pair { key, value, merged } => {
                let text = self.key(key);
                if !merged && !own.insert(text.clone()) {
                    let spot = Spot { at: key.at, path: self.path };
                    let found = format!("key {:?} stands twice in one map", clip(&text));
                    self.report.warn(spot, found, "the last one counts");
                }
                let value = self.value(value);
                map.insert(text, value);
            }
        });
        map
    }

    fn key(&mut self, node: &Node<'_>) -> String {
        match self.value(node) {
            Json::String(text) => text,
            Json::Array(_) | Json::Object(_) => {
                self.wrong(node, "a key in metadata is", "a string is allowed");
                String::new()
            }
            scalar => scalar.to_string(),
        }
    }

    fn value(&mut self, node: &Node<'_>) -> Json {
        let scalar = match node.kind() {
            Kind::Mapping(_) => return Json::Object(self.map(&[node])),
            Kind::Sequence(items) => return items.iter().map(|item| self.value(item)).collect(),
            Kind::Scalar(scalar) => scalar,
        };
        match resolve(scalar) {
            Ok(Value::Null) => Json::Null,
            Ok(Value::Bool(value)) => Json::Bool(value),
            Ok(Value::Int(value)) => Json::Number(value.into()),
            Ok(Value::Large(value)) => Json::Number(value.into()),
            Ok(Value::Float(value)) => float(value),
            Ok(Value::Text(text)) => Json::String(text.to_owned()),
            Ok(Value::Binary(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => Json::String(text),
                Err(_) => self.wrong(node, "metadata holds", "the bytes must be UTF-8"),
            },
            Err(_) => self.wrong(node, "metadata holds", "the text must be what its tag says"),
        }
    }

    fn wrong(&mut self, node: &Node<'_>, what: &str, allowed: &str) -> Json {
        let spot = Spot { at: node.at, path: self.path };
        let found = format!("{what} {}", describe(node));
        self.result = Err(self.report.error(spot, found, allowed));
        Json::Null
    }
}

fn float(value: f64) -> Json {
    let text = match value {
        _ if value.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => return Number::from_f64(value).map_or(Json::Null, Json::Number),
    };
    Json::String(text.to_owned())
}

//! Dynamic metadata: the request and the metadata of the rules it passed, as a Struct.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;

use crate::limiter::{Decision, Descriptor, Request, Verdict};
use crate::rules::Ruleset;

type Fields = BTreeMap<String, Value>;

/// The metadata of an answer.
pub(super) fn dynamic(request: &Request<'_>, decision: &Decision, ruleset: &Ruleset) -> Struct {
    let mut fields = Fields::new();
    fields.insert("domain".to_owned(), string(request.domain));
    let descriptors = request.descriptors().iter().map(|d| descriptor(request, d)).collect();
    fields.insert("descriptors".to_owned(), list(descriptors));
    if request.hits_addend != 0 {
        fields.insert("hitsAddend".to_owned(), number(request.hits_addend.into()));
    }
    let merged = of_rules(decision, ruleset);
    if !merged.is_empty() {
        fields.insert("metadata".to_owned(), structure(merged));
    }
    Struct { fields }
}

fn descriptor(request: &Request<'_>, descriptor: &Descriptor) -> Value {
    let entries = request.entries(descriptor).iter();
    let entries = entries.map(|entry| string(&format!("{}={}", entry.key, entry.value)));
    let mut fields = Fields::from([("entries".to_owned(), list(entries.collect()))]);
    if let Some(limit) = descriptor.terms.limit {
        let text = format!("requests_per_unit:{} unit:{}", limit.requests_per_unit, limit.unit);
        fields.insert("limit".to_owned(), string(&text));
    }
    if let Some(hits) = descriptor.terms.hits {
        fields.insert("hitsAddend".to_owned(), number(hits as f64));
    }
    structure(fields)
}

/// The metadata of the rules that the request passed; the first to name a key wins.
fn of_rules(decision: &Decision, ruleset: &Ruleset) -> Fields {
    let passed = decision
        .statuses
        .iter()
        .filter(|status| status.applied.is_some() && status.verdict == Verdict::Ok);
    let mut merged = Fields::new();
    for id in passed.filter_map(|status| status.rule) {
        for (key, value) in ruleset.rule(id).metadata.iter().flatten() {
            merge(&mut merged, key, json(value));
        }
    }
    merged
}

/// Adds a key that is new, and the new keys of a structure that is not.
fn merge(into: &mut Fields, key: &str, value: Value) {
    match into.entry(key.to_owned()) {
        Slot::Vacant(slot) => {
            slot.insert(value);
        }
        Slot::Occupied(mut slot) => {
            let Some(Kind::StructValue(old)) = &mut slot.get_mut().kind else {
                return;
            };
            let Some(Kind::StructValue(new)) = value.kind else {
                return;
            };
            for (key, value) in new.fields {
                merge(&mut old.fields, &key, value);
            }
        }
    }
}

fn json(value: &Json) -> Value {
    match value {
        Json::Null => Value { kind: Some(Kind::NullValue(0)) },
        Json::Bool(value) => Value { kind: Some(Kind::BoolValue(*value)) },
        Json::Number(value) => number(value.as_f64().unwrap_or_default()),
        Json::String(value) => string(value),
        Json::Array(values) => list(values.iter().map(json).collect()),
        Json::Object(fields) => {
            structure(fields.iter().map(|(key, value)| (key.clone(), json(value))).collect())
        }
    }
}

fn number(value: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(value)) }
}

fn string(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.to_owned())) }
}

fn list(values: Vec<Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

fn structure(fields: Fields) -> Value {
    Value { kind: Some(Kind::StructValue(Struct { fields })) }
}

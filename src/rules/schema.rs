//! The JSON Schema of rule files, from which editors complete, explain and check.
//!
//! Made from the loader's own keys and names, so neither can be missing. What a file may say
//! without an error or a misplaced key, the schema accepts; of what the loader refuses it
//! refuses all that a schema can say (`tests/it/rules/schema.rs` holds both). It uses only
//! words that older drafts know as well, as editors do.

mod descriptions;

use serde_json::{Map, Value, json};

use descriptions::description;

use super::criteria::LONGEST_REGEX;
use super::defaults::{ACCURACIES, ON_STORE_ERROR};
use super::level::{Level, home};
use super::limit::Unit;
use super::policy::MAX_LIMITS;
use super::read::Choices;
use super::terms::{ALGORITHMS, LONGEST_WINDOW};

/// The schema, in draft 2020-12.
pub(super) fn document() -> Value {
    let mut root = map(Level::Root);
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".to_owned(), json!("Rules of Tidegate"));
    root.insert("required".to_owned(), json!(["domain"]));
    let definitions = [
        Level::Defaults,
        Level::Descriptor,
        Level::Match,
        Level::RateLimit,
        Level::RateLimits,
        Level::Replaces,
    ];
    let definitions = definitions.map(|level| (id(level).to_owned(), Value::Object(map(level))));
    root.insert("$defs".to_owned(), Map::from_iter(definitions).into());
    Value::Object(root)
}

/// What the definition of a level is called.
const fn id(level: Level) -> &'static str {
    match level {
        Level::Root | Level::Ignored => "root",
        Level::Defaults => "defaults",
        Level::Descriptor => "descriptor",
        Level::Match => "match",
        Level::RateLimit => "limit",
        Level::RateLimits => "limit_of_several",
        Level::Replaces => "replaced",
    }
}

fn one(level: Level) -> Value {
    json!({"$ref": format!("#/$defs/{}", id(level))})
}

fn many(level: Level) -> Value {
    json!({"type": ["array", "null"], "items": one(level)})
}

/// The schema of a map of that level: its keys, and what they say about each other.
fn map(level: Level) -> Map<String, Value> {
    let kind = match level {
        Level::Defaults | Level::Match | Level::RateLimit => json!(["object", "null"]),
        _ => json!("object"),
    };
    let properties: Map<String, Value> =
        level.keys().iter().map(|&key| (key.to_owned(), property(level, key))).collect();
    let mut map = Map::new();
    map.insert("type".to_owned(), kind);
    map.insert("properties".to_owned(), properties.into());
    map.insert("additionalProperties".to_owned(), json!(false));
    let relations = relations(level);
    if !relations.is_empty() {
        map.insert("allOf".to_owned(), relations.into());
    }
    map
}

/// A key: what its value may be, and what an editor tells of it.
fn property(level: Level, key: &str) -> Value {
    let mut property = shape(level, key).unwrap_or(json!({"not": {}}));
    if let (Some(text), Value::Object(map)) = (description(key), &mut property) {
        map.insert("description".to_owned(), text.into());
    }
    property
}

/// What the value of a key may be, whatever stands beside it. Every field may be null,
/// unless it must not be empty.
fn shape(level: Level, key: &str) -> Option<Value> {
    let count =
        |least: u32| json!({"type": ["integer", "null"], "minimum": least, "maximum": u32::MAX});
    Some(match key {
        "domain" | "key" => filled(),
        "name" if level == Level::Replaces => filled(),
        "value" | "name" | "unit" => text(),
        "descriptors" => many(Level::Descriptor),
        "replaces" => many(Level::Replaces),
        "rate_limit" => one(Level::RateLimit),
        "match" => one(Level::Match),
        "defaults" => one(Level::Defaults),
        "rate_limits" => json!({
            "type": ["array", "null"],
            "items": one(Level::RateLimits),
            "minItems": 1,
            "maxItems": MAX_LIMITS,
        }),
        "unlimited" if level == Level::RateLimits => json!({"enum": [false, null]}),
        "unlimited" | "shadow_mode" | "quota_mode" | "detailed_metric" | "value_to_metric"
        | "share_threshold" | "all_or_nothing" | "count_refused" => {
            json!({"type": ["boolean", "null"]})
        }
        "metadata" => json!({"type": ["object", "null"]}),
        "requests_per_unit" => count(0),
        "unit_multiplier" | "burst" => count(1),
        "algorithm" => choice(ALGORITHMS),
        "accuracy" => choice(ACCURACIES),
        "on_store_error" => choice(ON_STORE_ERROR),
        "any_of" => list(&filled()),
        "cidr" => json!({"anyOf": [network(), list(&network())]}),
        "regex" => json!({
            "type": ["string", "integer", "boolean", "null"],
            "minLength": 1,
            "maxLength": LONGEST_REGEX,
        }),
        _ => return None,
    })
}

/// Text as it is written: `8080` and `yes` are text too, but no fractions.
fn text() -> Value {
    json!({
        "type": ["string", "integer", "boolean", "null"],
        "minimum": i64::MIN,
        "maximum": i64::MAX,
    })
}

/// Text that is not empty.
fn filled() -> Value {
    json!({
        "type": ["string", "integer", "boolean"],
        "minLength": 1,
        "minimum": i64::MIN,
        "maximum": i64::MAX,
    })
}

fn list(item: &Value) -> Value {
    json!({"type": ["array", "null"], "items": item, "minItems": 1, "uniqueItems": true})
}

fn choice<T>(choices: &Choices<T>) -> Value {
    let names = choices.iter().map(|(name, _)| json!(name));
    json!({"enum": names.chain([Value::Null]).collect::<Vec<_>>()})
}

/// A network, but for bits beyond its prefix.
fn network() -> Value {
    const V4: &str = "[0-9.]+/(3[0-2]|[12]?[0-9])";
    const V6: &str = "[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/(12[0-8]|1[01][0-9]|[1-9]?[0-9])";
    json!({"type": "string", "pattern": format!("^({V4}|{V6})$")})
}

/// What the keys of a map say about each other.
fn relations(level: Level) -> Vec<Value> {
    match level {
        Level::Descriptor => descriptor(),
        Level::Match => {
            let one = Level::Match.keys().iter().map(|key| given(key)).collect::<Vec<_>>();
            vec![when(json!({"type": "object"}), json!({"oneOf": one}))]
        }
        Level::RateLimit => {
            let mut relations = vec![unlimited()];
            relations.extend(limit());
            relations
        }
        Level::RateLimits => {
            let mut relations = vec![limited()];
            relations.extend(limit());
            relations
        }
        Level::Replaces => vec![json!({"required": ["name"]})],
        Level::Root | Level::Defaults | Level::Ignored => Vec::new(),
    }
}

fn descriptor() -> Vec<Value> {
    let is_shared = json!({
        "required": ["share_threshold"],
        "properties": {"share_threshold": {"const": true}},
    });
    let starred = |key: &str| json!({"required": [key], "properties": {key: {"type": "string", "pattern": "\\*"}}});
    vec![
        json!({"required": ["key"]}),
        when(given("rate_limits"), json!({"properties": {"rate_limit": {"type": "null"}}})),
        when(
            given("match"),
            json!({"properties": {
                "key": {"not": {"type": "string", "pattern": "\\*"}},
                "value": {"enum": [null, ""]},
            }}),
        ),
        when(is_shared, json!({"anyOf": [starred("key"), starred("value"), given("match")]})),
    ]
}

/// Without a limit nothing says how to count.
fn unlimited() -> Value {
    let is_true = json!({"required": ["unlimited"], "properties": {"unlimited": {"const": true}}});
    let ours = Level::RateLimit.keys().iter().filter(|key| home(key).is_some());
    let mut absent: Map<String, Value> =
        ours.map(|&key| (key.to_owned(), json!({"type": "null"}))).collect();
    absent.insert("unit".to_owned(), json!({"not": unit()}));
    json!({"if": is_true, "then": {"properties": absent}, "else": limited()})
}

/// A limit needs a unit.
fn limited() -> Value {
    json!({"required": ["unit"], "properties": {"unit": unit()}})
}

/// Units in lower case, which editors offer, and in any other.
fn unit() -> Value {
    let names = Unit::ALL.map(|unit| unit.name().to_lowercase());
    let patterns = Unit::ALL.map(caseless).join("|");
    json!({"anyOf": [{"enum": names}, {"type": "string", "pattern": format!("^({patterns})$")}]})
}

/// An expression for the name of a unit in any case.
fn caseless(unit: Unit) -> String {
    unit.name().chars().map(|c| format!("[{}{c}]", c.to_ascii_lowercase())).collect()
}

/// What holds for a limit with a unit.
fn limit() -> Vec<Value> {
    let is = |unit| json!({"type": "string", "pattern": format!("^{}$", caseless(unit))});
    let longest = |unit: Unit| {
        let most = LONGEST_WINDOW / unit.as_secs();
        when(
            json!({"required": ["unit"], "properties": {"unit": is(unit)}}),
            json!({"properties": {"unit_multiplier": {"maximum": most}}}),
        )
    };
    let mut relations: Vec<Value> = Unit::ALL.map(longest).into();
    relations.push(when(
        given("burst"),
        json!({
            "required": ["algorithm", "requests_per_unit"],
            "properties": {
                "algorithm": {"const": "token_bucket"},
                "requests_per_unit": {"type": "integer", "minimum": 1},
            },
        }),
    ));
    relations.push(when(
        json!({
            "required": ["unit", "accuracy"],
            "properties": {"unit": is(Unit::Second), "accuracy": {"const": "leased"}},
        }),
        json!({
            "required": ["unit_multiplier"],
            "properties": {"unit_multiplier": {"type": "integer", "minimum": 2}},
        }),
    ));
    relations
}

/// The key is there, and not null.
fn given(key: &str) -> Value {
    json!({"type": "object", "required": [key], "properties": {key: {"not": {"type": "null"}}}})
}

fn when(condition: Value, then: Value) -> Value {
    json!({"if": condition, "then": then})
}

#[cfg(test)]
mod tests {
    use super::super::level::KNOWN;
    use super::*;

    #[test]
    fn every_key_has_a_shape_and_a_description() {
        for key in KNOWN {
            assert!(description(key).is_some_and(|text| text.ends_with('.')), "{key}");
        }
        let levels = [
            Level::Root,
            Level::Defaults,
            Level::Descriptor,
            Level::Match,
            Level::RateLimit,
            Level::RateLimits,
            Level::Replaces,
        ];
        for level in levels {
            for key in level.keys() {
                assert!(shape(level, key).is_some(), "{key} {}", level.name());
            }
        }
    }
}

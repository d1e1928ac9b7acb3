//! The JSON Schema of rule files says what the loader says.
//!
//! Every text that the tests of this room load is put before the schema too ([`agree`]):
//! golden error files, accepted files and all. What the loader refuses the schema refuses,
//! unless all of its reasons stand in [`BEYOND`]; what it accepts the schema accepts, unless
//! a key means nothing where it stands.

mod random;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use tidegate::rules::{Loaded, Problem, Rejected, SourceFile};

use super::{load_one, one_descriptor};

static SCHEMA: LazyLock<Value> = LazyLock::new(tidegate::rules::schema);

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&SCHEMA).expect("a schema"));

/// Reasons of the loader that a schema cannot have: words of the message, why, and a descriptor
/// (or a file) that is wrong for that reason alone.
const BEYOND: [(&str, &str, &str); 16] = [
    ("is taken by", "files of one set exclude each other", ""),
    ("all_or_nothing is false, but true", "files of one set contradict each other", ""),
    (
        "a second descriptor of this path",
        "siblings are compared by key and value together",
        "{key: a_b, rate_limit: {unit: day}}, {key: a, value: b}",
    ),
    (
        "leads to",
        "elements of siblings are compared",
        "{key: a, match: {cidr: [10.0.0.0/8]}}, {key: a, match: {cidr: [11.0.0.0/8, 10.0.0.0/8]}}",
    ),
    (
        "holds this value as well",
        "elements of siblings are compared",
        "{key: a, match: {any_of: [x, y]}}, {key: a, value: x}",
    ),
    (
        "in one list, first at",
        "windows are compared by their length",
        "{key: a, rate_limits: [{unit: hour}, {unit: minute, unit_multiplier: 60}]}",
    ),
    (
        "years to refill",
        "it takes arithmetic",
        "{key: a, rate_limit: {unit: year, requests_per_unit: 1, algorithm: token_bucket, burst: 101}}",
    ),
    (
        "accuracy is leased by defaults",
        "what holds by default stands elsewhere",
        "domain: d\ndefaults: {accuracy: leased}\ndescriptors: [{key: a, rate_limit: {unit: second}}]",
    ),
    (
        "replaces itself",
        "two names are compared",
        "{key: a, rate_limit: {unit: day, name: n, replaces: [{name: n}]}}",
    ),
    (
        "stands in the same list",
        "names are compared",
        "{key: a, rate_limits: [{unit: day, name: n}, {unit: hour, replaces: [{name: n}]}]}",
    ),
    ("does not compile", "the syntax is that of a Rust crate", "{key: a, match: {regex: '('}}"),
    ("bits set beyond its prefix", "it takes arithmetic", "{key: a, match: {cidr: 10.1.0.0/8}}"),
    ("/104\" twice", "two writings of one network", ""),
    ("is the float 1.0", "JSON has one kind of number", "{key: a, value: 1.0}"),
    ("is the float 1e3", "JSON has one kind of number", "{key: a, value: 1e3}"),
    ("is the float 08", "JSON has one kind of number", "{key: a, value: 08}"),
];

/// Texts that an editor reads otherwise, by words that they hold, and why.
const READ_OTHERWISE: [(&str, &str); 3] = [
    ("requests_per_unit: 5, name: base}", "a limit beside a merge adds to the merged one here"),
    ("{domain: shop} more", "what follows the first document is not read here"),
    ("domain: shop\n...\n@", "what follows the first document is not read here"),
];

fn is_beyond(problem: &Problem) -> bool {
    BEYOND.iter().any(|(words, ..)| problem.to_string().contains(words))
}

/// Misplaced keys are ignored with a warning; an editor shows them.
fn is_misplaced(problem: &Problem) -> bool {
    problem.found.contains(" means nothing ")
}

/// What an editor sees: YAML 1.1, the last of several values, the first document.
fn editor(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        budget: None,
    };
    let body = text.strip_prefix("%YAML 1.1\n").unwrap_or(text);
    let first = body.split("\n---").next().unwrap_or_default();
    serde_saphyr::from_str_with_options(first, options).map_err(|e| e.to_string())
}

/// What the schema has against a text.
fn objection(text: &str) -> Option<String> {
    let value = match editor(text) {
        Ok(value) => value,
        Err(error) => return Some(error),
    };
    VALIDATOR.iter_errors(&value).next().map(|e| format!("{}: {e}", e.instance_path()))
}

/// Holds the schema against what the loader said of these files.
pub(super) fn agree(files: &[SourceFile], result: &Result<Loaded, Rejected>) {
    let (errors, warnings) = match result {
        Ok(loaded) => (&[][..], &loaded.warnings),
        Err(rejected) => (&rejected.errors[..], &rejected.warnings),
    };
    for file in files {
        let Ok(text) = std::str::from_utf8(&file.bytes) else { continue };
        if READ_OTHERWISE.iter().any(|(words, _)| text.contains(words)) {
            continue;
        }
        let of_file = |problem: &&Problem| problem.file == file.name;
        let wrong = errors.iter().filter(of_file).find(|e| !is_beyond(e));
        let wrong = wrong.or(warnings.iter().filter(of_file).find(|w| is_misplaced(w)));
        match (wrong, objection(text)) {
            (Some(_), Some(_)) | (None, None) => {}
            (Some(problem), None) => panic!("the schema accepts, {problem}, in\n{text}"),
            (None, Some(why)) => panic!("the schema refuses, {why}, in\n{text}"),
        }
    }
}

#[test]
fn what_is_beyond_the_schema_is_beyond_it() {
    for (words, why, example) in BEYOND {
        let text = match example {
            "" => continue,
            whole if whole.starts_with("domain") => whole.to_owned(),
            descriptors => format!("domain: d\ndescriptors: [{descriptors}]\n"),
        };
        let rejected = load_one(text.clone()).expect_err(example);
        let [error] = &*rejected.errors else { panic!("{example}: {rejected}") };
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(objection(&text), None, "{why}: {example}");
    }
}

#[test]
fn it_is_a_schema_of_the_draft_it_names() {
    jsonschema::draft202012::meta::validate(&SCHEMA).expect("a valid schema");
    assert_eq!(SCHEMA["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn every_key_is_explained() {
    let mut keys = 0;
    let definitions = SCHEMA["$defs"].as_object().unwrap().values();
    for level in definitions.chain([&*SCHEMA]) {
        for (key, property) in level["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{key}");
            keys += 1;
        }
    }
    assert_eq!(keys, 45);
}

#[test]
fn every_rule_file_and_example_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    let mut check = |name: &str, text: &str| {
        assert_eq!(objection(text), None, "{name}:\n{text}");
        seen += 1;
    };
    for entry in fs::read_dir(root.join("deploy/rules")).unwrap() {
        let path = entry.unwrap().path();
        check(&path.display().to_string(), &fs::read_to_string(&path).unwrap());
    }
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    for page in pages.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        // An outline has dots for what is left out.
        for block in blocks.filter(|b| b.starts_with("domain:") && !b.contains("...  ")) {
            check(&page.display().to_string(), block);
        }
    }
    assert!(seen > 6, "{seen}");
}

/// The loader takes what the reference takes, as the replay of the transcripts shows.
#[test]
fn transcripts_of_the_reference_agree() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let (mut good, mut bad) = (0, 0);
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let transcript: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let steps = transcript["steps"].as_array().unwrap();
        let writes = steps.iter().filter_map(|step| step.get("write"));
        for files in writes.chain([&transcript["rules"]]) {
            for text in files.as_object().unwrap_or(&Map::new()).values() {
                let Some(text) = text.as_str() else { continue };
                match load_one(text) {
                    Ok(_) => {
                        assert_eq!(objection(text), None, "{text}");
                        good += 1;
                    }
                    Err(_) => bad += 1,
                }
            }
        }
    }
    assert!(good > 180 && bad > 10, "{good} good, {bad} bad");
}

#[test]
fn what_editors_offer_stands_where_they_look() {
    let limit = &SCHEMA["$defs"]["limit"]["properties"];
    let names = json!(["fixed_window", "sliding_window", "token_bucket", null]);
    assert_eq!(limit["algorithm"]["enum"], names);
    assert_eq!(limit["on_store_error"]["enum"], json!(["error", "allow", "deny", "local", null]));
    let units = &SCHEMA["$defs"]["limit_of_several"]["allOf"][0]["properties"]["unit"]["anyOf"][0];
    assert_eq!(units["enum"][0], "second");
    assert_eq!(units["enum"].as_array().unwrap().len(), 7);
}

/// What the loader refuses in one place, the schema refuses in that place.
#[test]
fn mistakes_are_refused_where_they_stand() {
    let place = |descriptor: &str| {
        let value = editor(&one_descriptor(descriptor)).unwrap();
        let error = VALIDATOR.iter_errors(&value).next().expect(descriptor);
        error.instance_path().to_string()
    };
    for (descriptor, expected) in [
        ("{key: a, rate_limit: {unit: minuet}}", "/descriptors/0/rate_limit/unit"),
        ("{key: a, rate_limit: {unit: day, shadow_mode: true}}", "/descriptors/0/rate_limit"),
        ("{key: a, descriptors: [{key: b, valeu: c}]}", "/descriptors/0/descriptors/0"),
        ("{key: a, match: {cidr: 10.0.0.1}}", "/descriptors/0/match/cidr"),
    ] {
        assert_eq!(place(descriptor), expected, "{descriptor}");
    }
}

//! Files made of known keys and likely values, at random: the schema and the loader agree.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;

use super::super::load_one;
use super::SCHEMA;

/// Values as they stand in a flow map; each is right for some key.
const VALUES: [&str; 37] = [
    "~",
    "''",
    "a",
    "'*'",
    "0",
    "1",
    "5",
    "-1",
    "61",
    "4294967296",
    "1.5",
    "yes",
    "no",
    "'yes'",
    "[]",
    "[a]",
    "[a, 5, ~]",
    "{}",
    "{a: b}",
    "second",
    "MINUTE",
    "year",
    "eon",
    "fixed_window",
    "token_bucket",
    "leased",
    "local",
    "10.0.0.0/8",
    "['fd00::/8', 10.0.0.1]",
    "[{unit: day}]",
    "[{unit: day, unlimited: no}, {unit: hour, burst: 1}]",
    "[{name: a}]",
    "[{key: k}]",
    "[{}]",
    "{unit: hour, requests_per_unit: 3}",
    "{unlimited: yes}",
    "{any_of: [a]}",
];

/// A map as pairs of texts.
type Pairs = BTreeMap<String, String>;

/// What is right for a key, mostly.
fn likely(key: &str) -> Vec<String> {
    let values: &[&str] = match key {
        "unit_multiplier" | "burst" | "requests_per_unit" => &["0", "1", "5", "61", "4294967295"],
        "algorithm" => &["fixed_window", "sliding_window", "token_bucket"],
        "accuracy" => &["exact", "leased"],
        "on_store_error" => &["error", "local"],
        "unit" => &["second", "MINUTE", "year", "eon"],
        "key" | "value" => &["a", "'*'", "''", "8080"],
        "cidr" => &["10.0.0.0/8", "['fd00::/8', 10.0.0.1/32]", "10.0.0.1"],
        "any_of" => &["[a]", "[a, 5]", "[a, a]", "[]"],
        "regex" | "name" | "domain" => &["a", "5"],
        "match" => &["{any_of: [a]}", "{cidr: 10.0.0.0/8, regex: ~}", "{regex: a, any_of: [a]}"],
        "rate_limit" => &["{unit: hour}", "{unlimited: yes}", "{unlimited: yes, burst: 1}", "~"],
        "rate_limits" => &["[{unit: day}]", "[{unit: day, unlimited: no}, {unit: hour}]", "[]"],
        "descriptors" => &["[{key: k}]", "[{key: k, value: v}, {key: l}]", "~", "[~]"],
        "replaces" => &["[{name: b}]", "[{}]", "[]"],
        "metadata" | "defaults" => &["{}", "{count_refused: no}", "~"],
        _ => &["yes", "no", "true"],
    };
    values.iter().map(|&value| value.to_owned()).collect()
}

/// The keys of a level.
fn keys(level: &str) -> Vec<String> {
    let level = match level {
        "root" => &*SCHEMA,
        other => &SCHEMA["$defs"][other],
    };
    level["properties"].as_object().unwrap().keys().cloned().collect()
}

/// Up to `most` keys, of the level mostly.
fn pairs(level: &str, most: usize) -> impl Strategy<Value = Pairs> + use<> {
    let levels = ["root", "defaults", "descriptor", "match", "limit"];
    let mut all: Vec<String> = levels.into_iter().flat_map(keys).collect();
    all.push("vlaue".to_owned());
    let key = prop_oneof![19 => select(keys(level)), 1 => select(all)];
    let pair = key.prop_flat_map(|key| {
        let any = select(&VALUES[..]).prop_map(str::to_owned);
        (Just(key.clone()), prop_oneof![9 => select(likely(&key)), 1 => any])
    });
    vec(pair, 0..=most).prop_map(Pairs::from_iter)
}

/// A flow map of what always stands there, unless something else does, and these pairs.
fn flow(always: &[(&str, String)], pairs: &Pairs) -> String {
    let always = always.iter().filter(|(key, _)| !pairs.contains_key(*key));
    let always = always.map(|(key, value)| format!("{key}: {value}"));
    let rest = pairs.iter().map(|(key, value)| format!("{key}: {value}"));
    format!("{{{}}}", always.chain(rest).collect::<Vec<_>>().join(", "))
}

proptest! {
    #![proptest_config(Config { cases: 6000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_file_is_judged_alike(
        root in pairs("root", 1),
        defaults in pairs("defaults", 1),
        descriptor in pairs("descriptor", 2),
        limit in pairs("limit", 4),
        matching in prop::option::weighted(0.2, pairs("match", 2)),
    ) {
        let limit = flow(&[("unit", "day".to_owned())], &limit);
        let mut always = vec![("key", "k".to_owned()), ("rate_limit", limit)];
        always.extend(matching.map(|matching| ("match", flow(&[], &matching))));
        let descriptor = flow(&always, &descriptor);
        let always = [
            ("domain", "d".to_owned()),
            ("defaults", flow(&[], &defaults)),
            ("descriptors", format!("[{descriptor}]")),
        ];
        // It is held against the schema in there.
        let _ = load_one(flow(&always, &root));
    }
}

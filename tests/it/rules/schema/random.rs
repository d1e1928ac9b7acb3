//! Files made of known keys and likely values, at random: the schema and the loader agree.

use std::collections::BTreeMap;

use proptest::collection::btree_map;
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
type Pairs = BTreeMap<String, &'static str>;

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
    let key = prop_oneof![9 => select(keys(level)), 1 => select(all)];
    btree_map(key, select(&VALUES[..]), 0..=most)
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
        defaults in pairs("defaults", 2),
        descriptor in pairs("descriptor", 3),
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

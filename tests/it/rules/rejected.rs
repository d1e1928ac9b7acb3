//! What is rejected, and how the operator reads it.
//!
//! Each golden file below `snapshots/` shows the errors and warnings of one set of
//! files. `INSTA_UPDATE=always` writes them anew.

use insta::assert_snapshot;
use tidegate::rules::Options;

use super::{file, load, load_one, render};

/// The report on files of which at least one is wrong.
fn rejected(files: &[(&str, &str)], options: Options) -> String {
    let files: Vec<_> = files.iter().map(|(name, text)| file(name, *text)).collect();
    let rejected = load(&files, options).expect_err("must be rejected");
    assert!(!rejected.errors.is_empty());
    render(&rejected.errors, &rejected.warnings)
}

fn one(text: &str) -> String {
    rejected(&[("rules.yaml", text)], Options::default())
}

/// The errors of a descriptor written as flow map, below domain `shop`, with their
/// columns in it: exactly those expected.
fn check(descriptor: &str, expected: &[&str]) {
    let text = format!("domain: shop\ndescriptors:\n-\n {descriptor}\n");
    let errors = load_one(text).err().map(|rejected| rejected.errors).unwrap_or_default();
    let lines: Vec<String> = errors
        .into_iter()
        .map(|e| format!("{}:{}: {}; {}", e.column - 1, e.path, e.found, e.allowed))
        .collect();
    assert_eq!(lines, expected, "{descriptor}");
}

const WHOLE: &str = "a whole number from 0 to 4294967295 is allowed, without quotes";

fn check_requests(text: &str, found: &str) {
    let descriptor = format!("{{key: k, rate_limit: {{unit: day, requests_per_unit: {text}}}}}");
    check(&descriptor, &[&format!("53:shop.k: requests_per_unit is {found}; {WHOLE}")]);
}

#[test]
fn v1_text_that_is_no_yaml() {
    let report = rejected(
        &[
            ("a-brace.yaml", "domain: shop\ndescriptors: [{key: k\n"),
            ("b-indentation.yaml", "domain: shop\n descriptors:\n- key: k\n"),
            ("c-tab.yaml", "domain: shop\ndescriptors:\n\t- key: k\n"),
            ("d-alias.yaml", "domain: shop\ndescriptors:\n- key: k\n  value: *\n"),
            ("e-anchor.yaml", "domain: shop\ndescriptors: *unknown\n"),
            ("f-colon.yaml", "domain: a: b\n"),
            ("g-quote.yaml", "domain: \"shop\n"),
            ("h-list.yaml", "- domain: shop\n"),
            ("i-text.yaml", "\n\n  domain\n"),
            ("j-self.yaml", "domain: shop\ndescriptors: &a [{key: k, descriptors: *a}]\n"),
        ],
        Options::default(),
    );
    assert_snapshot!(report);
}

#[test]
fn what_is_missing_at_the_end_is_missing_on_the_last_line() {
    let check = |text: &str, place: &str| {
        let report = rejected(&[("a.yaml", text)], Options::default());
        assert!(report.starts_with(&format!("error: a.yaml:{place}: ")), "{report}");
    };
    check("domain: [broken", "1:16");
    check("domain: shop\r\nb: [\u{e4}", "2:6");
    check("domain: [broken\n", "2:1");
    check("domain: d\n? ", "2:3");
}

#[test]
fn a_key_of_several_lines_is_one_line_of_log() {
    let text = "domain: d\ndescriptors:\n- key: |\n    k\n\n  rate_limit: {unit: eon}\n";
    let report = rejected(&[("a\x1b.yaml", text)], Options::default());
    assert!(report.starts_with("error: a\\u{1b}.yaml:6:22: d.k\\n: "), "{report}");
    assert_eq!(report.lines().count(), 1, "{report}");
}

#[test]
fn a_network_of_255_bits_is_none() {
    let text = "domain: d\ndescriptors:\n- {key: k, match: {cidr: [0.0.0.0/255]}}\n";
    let report = rejected(&[("a.yaml", text)], Options::default());
    assert!(report.contains("0.0.0.0/255"), "{report}");
}

#[test]
fn v2_numbers_that_are_none() {
    check_requests("-1", "the number -1");
    check_requests("4294967296", "the number 4294967296");
    check_requests("ten", "the string \"ten\"");
    check_requests("'5'", "the string \"5\"");
    check_requests("5s", "the string \"5s\"");
    check_requests("yes", "the boolean yes");
    check_requests("[5]", "a list");
    check_requests("{}", "a map");
    check_requests("!!int x", "\"x\", which is no !!int");
}

#[test]
fn v2_values_of_the_wrong_type() {
    let boolean = "true or false is allowed, without quotes";
    check(
        "{key: k, shadow_mode: 'yes', quota_mode: 1, detailed_metric: {}, share_threshold: nope}",
        &[
            &format!("23:shop.k: shadow_mode is the string \"yes\"; {boolean}"),
            &format!("42:shop.k: quota_mode is the number 1; {boolean}"),
            &format!("62:shop.k: detailed_metric is a map; {boolean}"),
            &format!("83:shop.k: share_threshold is the string \"nope\"; {boolean}"),
        ],
    );
    check("{key: k, rate_limit: []}", &["22:shop.k: rate_limit is a list; a map is allowed"]);
    check("{key: k, rate_limit: 5}", &["22:shop.k: rate_limit is the number 5; a map is allowed"]);
    check("{key: k, metadata: [a]}", &["20:shop.k: metadata is a list; a map is allowed"]);
    check(
        "{key: k, descriptors: {key: l}}",
        &["23:shop.k: descriptors is a map; a list of maps is allowed"],
    );
    check("{key: [k], value: v}", &["7:shop: key is a list; a string is allowed"]);
    check("{key: k, value: {v: w}}", &["17:shop: value is a map; a string is allowed"]);
    check(
        "{key: k, rate_limit: {unit: [day], name: {}, replaces: x, unlimited: 1}}",
        &[
            "29:shop.k: unit is a list; a string is allowed",
            "42:shop.k: name is a map; a string is allowed",
            "56:shop.k: replaces is the string \"x\"; a list of maps is allowed",
            &format!("70:shop.k: unlimited is the number 1; {boolean}"),
        ],
    );
}

#[test]
fn v3_keys_that_are_no_strings() {
    let report = one("\
domain: shop
0: a
1.5: b
on: c
~: d
descriptors:
- key: k
  y: e
  [a, b]: f
  rate_limit: {unit: day, no: 3}
");
    assert_snapshot!(report);
}

#[test]
fn v4_unknown_keys() {
    let report = one("\
domian: shop
domain: shop
descriptor: []
x-anchors: {}
descriptors:
- key: k
  rate_limt: {unit: day}
  rateLimit: {unit: day}
  Value: v
  pattern: .*
  rate_limit:
    unit: day
    requestsPerUnit: 5
    per: 2
    replaces: [{nmae: x, name: y}]
  unit: {units: 1}
  metadata: {anything: {goes: here}}
");
    assert_snapshot!(report);
}

#[test]
fn v5_lists_hold_maps_only() {
    let report = one("\
domain: shop
descriptors:
- text
- 5
- [nested]
-
- key: k
  rate_limit: {unit: day, name: n, replaces: [other, ~]}
  name: [a]
");
    assert_snapshot!(report);
}

#[test]
fn v6_no_floats_outside_metadata() {
    check(
        "{key: k, value: 1.5}",
        &["17:shop: value is the float 1.5; put it in quotes to mean the text: \"1.5\""],
    );
    check(
        "{key: 08, value: v, rate_limit: {unit: day}}",
        &["7:shop: key is the float 08; put it in quotes to mean the text: \"08\""],
    );
    check_requests("1e3", "the float 1e3");
    check_requests("1.0", "the float 1.0");
    check_requests(
        "9223372036854775808",
        "the number 9223372036854775808, which needs more than 63 bits",
    );
    check(
        "{key: k, value: 9999999999999999999}",
        &["17:shop: value is the number 9999999999999999999, which needs more than 63 bits; \
           put it in quotes to mean the text: \"9999999999999999999\""],
    );
    check(
        "{key: k, unit: .5, shadow_mode: 0.1}",
        &[
            "16:shop.k: a value is the float .5; put it in quotes to mean the text: \".5\"",
            "33:shop.k: shadow_mode is the float 0.1; put it in quotes to mean the text: \"0.1\"",
        ],
    );
    check("{key: k, metadata: {a: 1.5, b: [08]}}", &[]);
}

#[test]
fn v7_the_domain_is_required() {
    let report = rejected(
        &[
            ("a.yaml", ""),
            ("b.yaml", "# nothing\n"),
            ("c.yaml", "descriptors: [{key: ''}]\n"),
            ("d.yaml", "domain: ''\n"),
            ("e.yaml", "domain:\ndescriptors: []\n"),
            ("f.yaml", "{}"),
            ("g.yaml", "~"),
            ("h.yaml", "domain: 1.5\ndescriptors: [{key: k, value: .5}]"),
            ("i.yaml", "---\n---\ndomain: shop\n"),
        ],
        Options::default(),
    );
    assert_snapshot!(report);
}

#[test]
fn v8_a_domain_in_two_files() {
    let files = [
        ("b.yaml", "domain: shop\ndescriptors: [{key: b}, {key: b}]\n"),
        ("a.yaml", "\ndomain: shop\ndescriptors: [{key: b}]\n"),
        ("c.yaml", "descriptors: []\ndomain: shop\n"),
    ];
    assert_snapshot!(rejected(&files, Options::default()));
}

#[test]
fn v9_the_key_is_required() {
    let no_key = "a descriptor needs a non-empty key";
    check("{value: v}", &[&format!("1:shop: key is missing; {no_key}")]);
    check("{key: '', value: v}", &[&format!("7:shop: key is empty; {no_key}")]);
    check(
        "{key: , value: v, descriptors: [{value: w}, {key: k, rate_limit: {unit: x}}]}",
        &[
            &format!("2:shop: key is empty; {no_key}"),
            &format!("33:shop.?: key is missing; {no_key}"),
            "73:shop.?.k: unit is \"x\"; second, minute, hour, day, week, month and year are allowed",
        ],
    );
}

#[test]
fn v10_a_composite_key_twice() {
    let files = [
        (
            "a.yaml",
            "\
domain: shop
descriptors:
- key: k
  value: v
  descriptors:
  - key: a
    value: b
  - key: a_b
    descriptors: [{key: ''}]
- key: k
  value: w
- {key: k, value: v}
- {key: k, value: v}
",
        ),
        ("b.yaml", "domain: shop\ndescriptors:\n- key: k_w\n- key: new\n"),
    ];
    assert_snapshot!(rejected(&files, Options { merge_domains: true, ..Options::default() }));
}

#[test]
fn v11_the_unit_is_required() {
    let units = "second, minute, hour, day, week, month and year are allowed";
    check("{key: k, rate_limit: {}}", &[&format!("10:shop.k: unit is missing; {units}")]);
    check("{key: k, rate_limit: {unit: }}", &[&format!("23:shop.k: unit is empty; {units}")]);
    check("{key: k, rate_limit: {unit: ''}}", &[&format!("29:shop.k: unit is empty; {units}")]);
    check(
        "{key: k, rate_limit: {unit: Unknown}}",
        &[&format!("29:shop.k: unit is \"Unknown\"; {units}")],
    );
    check(
        "{key: k, rate_limit: {unit: minutes}}",
        &[&format!("29:shop.k: unit is \"minutes\"; did you mean \"minute\"? {units}")],
    );
    check(
        "{key: k, rate_limit: {unit: day , unlimited: no, requests_per_unit: -1}}",
        &[&format!("69:shop.k: requests_per_unit is the number -1; {WHOLE}")],
    );
    check(
        "{key: k, rate_limit: {unit: ' day'}}",
        &[&format!("29:shop.k: unit is \" day\"; did you mean \"day\"? {units}")],
    );
}

#[test]
fn v12_unlimited_excludes_a_unit() {
    check(
        "{key: k, rate_limit: {unlimited: true, unit: Day}}",
        &["46:shop.k: unlimited stands beside unit \"Day\"; one of the two is allowed"],
    );
    check("{key: k, rate_limit: {unlimited: true, unit: fortnight}}", &[]);
}

#[test]
fn v13_v14_replaces_names_another_limit() {
    check(
        "{key: k, rate_limit: {unit: day, replaces: [{name: ''}, {}, {name: ~}]}}",
        &[
            "52:shop.k: a replaces element names no limit; name the limit that is replaced: `name: other`",
            "57:shop.k: a replaces element names no limit; name the limit that is replaced: `name: other`",
            "68:shop.k: a replaces element names no limit; name the limit that is replaced: `name: other`",
        ],
    );
    check(
        "{key: k, rate_limit: {unit: day, name: a, replaces: [{name: b}, {name: a}]}}",
        &["72:shop.k: the limit \"a\" replaces itself; the name of another limit is allowed"],
    );
}

#[test]
fn v15_sharing_needs_a_wildcard() {
    check(
        "{key: k, value: v, share_threshold: true}",
        &["20:shop.k_v: share_threshold stands at \"k_v\"; it needs a `*` in the value or key"],
    );
    check("{key: k, value: v, share_threshold: false}", &[]);
    check("{key: 'k*', share_threshold: true}", &[]);
}

#[test]
fn v16_metadata_must_become_json() {
    check(
        "{key: k, metadata: {a: !!binary /w==, b: !!binary '?', [c]: d, <<: e}}",
        &[
            "24:shop.k: metadata holds binary data; the bytes must be UTF-8",
            "42:shop.k: metadata holds \"?\", which is no !!binary; the text must be what its tag says",
            "56:shop.k: a key in metadata is a list; a string is allowed",
            "68:shop.k: the merge key << holds the string \"e\"; a map or a list of maps is allowed",
        ],
    );
}

#[test]
fn merges_take_maps() {
    check(
        "{key: k, <<: 5}",
        &["14:shop.k: the merge key << holds the number 5; a map or a list of maps is allowed"],
    );
    check(
        "{key: k, <<: [{value: v}, [w], ~]}",
        &[
            "27:shop.k_v: the merge key << holds a list; a map or a list of maps is allowed",
            "32:shop.k_v: the merge key << holds empty (null); a map or a list of maps is allowed",
        ],
    );
}

#[test]
fn one_mistake_behind_aliases_is_one_error() {
    let report = one("\
domain: shop
descriptors:
- key: a
  rate_limit: &limit {unit: minuet, requests_per_unit: 1.5}
- {key: b, rate_limit: *limit}
- {key: c, rate_limit: {<<: *limit, unit: day}}
");
    assert_snapshot!(report);
}

#[test]
fn all_errors_of_all_files_in_order() {
    let report = rejected(
        &[
            ("z.yaml", "domain: last\ndescriptors:\n- key: k\n  value: 08\n"),
            (
                "main.yaml",
                "\
domain: shop
descriptors:
- key: remote_address
  rate_limt:
    unit: second
    requests_per_unit: 5
- key: api
  value: '*'
  share_threshold: 'true'
  shadow_mode: on
  descriptors:
  - key: user
    rate_limit:
      unit: minutes
      requests_per_unit: '10'
      shadow_mode: true
  - value: orphan
    rate_limit: {unlimited: true, unit: hour}
  - key: user
- just text
",
            ),
            ("broken.yaml", "domain: other\ndescriptors:\n- key: k\n   value: v\n"),
            ("good.yaml", "domain: good\n---\nmore\n"),
        ],
        Options::default(),
    );
    assert_snapshot!(report);
}

#[test]
fn a_misspelt_key_is_not_missing_as_well() {
    let report = one("\
domian: shop
descriptors:
- kye: k
  value: v
- key: l
  rate_limit: {unti: day}
- key: m
  rate_limit: {unit: day, replaces: [{names: x}]}
");
    assert_snapshot!(report);
}

#[test]
fn long_texts_are_cut() {
    let long = "x".repeat(1000);
    let rejected = load_one(format!("domain: shop\n{long}: 1\n")).unwrap_err();
    assert!(rejected.to_string().len() < 200, "{rejected}");
}

#[test]
fn control_characters_are_escaped() {
    let rejected = load_one("domain: shop\n\"a\\nb\\x1b[31m\": 1\n").unwrap_err();
    assert!(rejected.to_string().contains("unknown key \"a\\nb\\u{1b}[31m\""), "{rejected}");
}

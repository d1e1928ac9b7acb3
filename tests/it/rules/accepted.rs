//! What a reader of the format may not expect to be accepted, and what it means.

use serde_json::json;
use tidegate::rules::{Limit, Options, Rule, Unit};

use super::{file, find, limits, load, loaded, render};

/// The only rule of a descriptor written as flow map, in domain `shop`.
fn rule(descriptor: &str) -> Rule {
    let loaded = loaded(&format!("domain: shop\ndescriptors:\n- {descriptor}\n"));
    let [rule] = loaded.ruleset.rules() else { panic!("one rule expected: {descriptor}") };
    rule.clone()
}

fn check_path(descriptor: &str, path: &str) {
    let limited = format!("{{{descriptor}, rate_limit: {{unit: second}}}}");
    assert_eq!(&*rule(&limited).path, path, "{descriptor}");
}

fn check_limit(rate_limit: &str, requests_per_unit: u32, unit: Unit) {
    let rule = rule(&format!("{{key: k, rate_limit: {{{rate_limit}}}}}"));
    assert_eq!(limits(&rule), [Limit::fixed(requests_per_unit, unit)], "{rate_limit}");
}

fn check_shadow(text: &str, expected: bool) {
    let rule = rule(&format!("{{key: k, shadow_mode: {text}, rate_limit: {{unit: day}}}}"));
    assert_eq!(rule.shadow_mode, expected, "{text}");
}

/// Loads, with these warnings.
fn check_warnings(text: &str, expected: &[&str]) {
    let rendered = render(&[], &loaded(text).warnings);
    let expected: String = expected.iter().map(|line| format!("warning: {line}\n")).collect();
    assert_eq!(rendered, expected, "{text}");
}

#[test]
fn scalars_are_text_as_written() {
    check_path("key: k, value: 8080", "shop.k_8080");
    check_path("key: k, value: 007", "shop.k_007");
    check_path("key: k, value: 0x1F", "shop.k_0x1F");
    check_path("key: k, value: yes", "shop.k_yes");
    check_path("key: k, value: 2026-01-02", "shop.k_2026-01-02");
    check_path("key: k, value: 2026-01-02T03:04:05Z", "shop.k_2026-01-02T03:04:05Z");
    check_path("key: k, value: \"1.5\"", "shop.k_1.5");
    check_path("key: k, value: '08'", "shop.k_08");
    check_path("key: k, value: 10.0.0.1", "shop.k_10.0.0.1");
    check_path("key: 5, value: true", "shop.5_true");
    check_path("key: no", "shop.no");
    check_path("key: k, value: !!str 1.5", "shop.k_1.5");
    check_path("key: k, value: !!binary aGk=", "shop.k_hi");
}

#[test]
fn null_is_the_empty_text() {
    check_path("key: k, value: ~", "shop.k");
    check_path("key: k, value: null", "shop.k");
    check_path("key: k, value: ", "shop.k");
    check_path("key: k, value: ''", "shop.k");
    check_path("key: k, value: 'null'", "shop.k_null");
}

#[test]
fn numbers_have_the_notations_of_yaml_1_1() {
    check_limit("unit: second, requests_per_unit: 0x10", 16, Unit::Second);
    check_limit("unit: second, requests_per_unit: 0b11", 3, Unit::Second);
    check_limit("unit: second, requests_per_unit: 0o17", 15, Unit::Second);
    check_limit("unit: second, requests_per_unit: 017", 15, Unit::Second);
    check_limit("unit: second, requests_per_unit: 1_000", 1000, Unit::Second);
    check_limit("unit: second, requests_per_unit: +5", 5, Unit::Second);
    check_limit("unit: second, requests_per_unit: 4294967295", u32::MAX, Unit::Second);
    check_limit("unit: second, requests_per_unit: !!int '5'", 5, Unit::Second);
}

#[test]
fn requests_per_unit_defaults_to_zero() {
    check_limit("unit: hour", 0, Unit::Hour);
    check_limit("unit: hour, requests_per_unit: ~", 0, Unit::Hour);
    check_limit("unit: hour, requests_per_unit: 0", 0, Unit::Hour);
}

#[test]
fn units_are_case_insensitive() {
    check_limit("unit: SECOND", 0, Unit::Second);
    check_limit("unit: Minute", 0, Unit::Minute);
    check_limit("unit: 'hoUR'", 0, Unit::Hour);
    check_limit("unit: day", 0, Unit::Day);
    check_limit("unit: week", 0, Unit::Week);
    check_limit("unit: month", 0, Unit::Month);
    check_limit("unit: year", 0, Unit::Year);
}

#[test]
fn booleans_have_the_names_of_yaml_1_1() {
    for text in ["true", "True", "TRUE", "yes", "Yes", "y", "Y", "on", "On", "ON"] {
        check_shadow(text, true);
    }
    for text in ["false", "False", "no", "n", "N", "off", "OFF", "~", "null", "!!bool 'no'"] {
        check_shadow(text, false);
    }
}

#[test]
fn null_means_absent() {
    check_warnings("domain: shop", &[]);
    check_warnings("domain: shop\ndescriptors:\n", &[]);
    check_warnings("domain: shop\ndescriptors: null\n", &[]);
    check_warnings("domain: shop\ndescriptors: []\n", &[]);
    let text =
        "domain: shop\ndescriptors:\n- {key: k, rate_limit: null, descriptors: ~, metadata: }";
    check_warnings(text, &[]);
    assert!(loaded(text).ruleset.rules().is_empty());
}

#[test]
fn an_unlimited_rule_needs_no_unit() {
    let unlimited = rule("{key: k, rate_limit: {unlimited: true, unit: fortnight}}");
    assert_eq!((limits(&unlimited), unlimited.requests_per_unit), (vec![], 0));
    let unlimited = rule("{key: k, rate_limit: {unlimited: true, requests_per_unit: 7}}");
    assert_eq!((limits(&unlimited), unlimited.requests_per_unit), (vec![], 7));
    check_warnings(
        "domain: shop\ndescriptors:\n- key: k\n  rate_limit: {unlimited: on, requests_per_unit: 7}",
        &["rules.yaml:4:31: shop.k: requests_per_unit stands beside unlimited; there is no limit"],
    );
}

#[test]
fn a_known_key_at_the_wrong_level_is_ignored_with_a_warning() {
    let text = "\
domain: shop
key: root
descriptors:
- key: k
  unit: second
  domain: other
  rate_limit: {unit: minute, requests_per_unit: 1, shadow_mode: true, quota_mode: no}
";
    let found = loaded(text);
    let rule = find(&found.ruleset, "shop", &[("k", "")]).unwrap();
    assert!(!rule.shadow_mode);
    assert_eq!(limits(rule), [Limit::fixed(1, Unit::Minute)]);
    let enforced = "the limit is ENFORCED";
    check_warnings(
        text,
        &[
            "rules.yaml:2:1: shop: key means nothing at the root; it is ignored",
            "rules.yaml:5:3: shop.k: unit means nothing in a descriptor; it is ignored",
            "rules.yaml:6:3: shop.k: domain means nothing in a descriptor; it is ignored",
            &format!(
                "rules.yaml:7:52: shop.k: shadow_mode means nothing in rate_limit; {enforced}; \
                 shadow_mode belongs beside rate_limit"
            ),
            &format!(
                "rules.yaml:7:71: shop.k: quota_mode means nothing in rate_limit; {enforced}; \
                 quota_mode belongs beside rate_limit"
            ),
        ],
    );
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    let text = "\
domain: shop
descriptors:
- key: a
  value: 1.5
  key: k
  value: v
  rate_limit: {unit: minute, unit: day}
";
    assert_eq!(limits(&loaded(text).ruleset.rules()[0]), [Limit::fixed(0, Unit::Day)]);
    check_warnings(
        text,
        &[
            "rules.yaml:5:3: shop.k_v: key stands twice in one map, first at 3:3; the last one counts",
            "rules.yaml:6:3: shop.k_v: value stands twice in one map, first at 4:3; the last one counts",
            "rules.yaml:7:30: shop.k_v: unit stands twice in one map, first at 7:16; the last one counts",
        ],
    );
}

#[test]
fn anchors_and_merges_are_resolved() {
    let text = "\
domain: shop
descriptors:
- key: a
  rate_limit: &limit {unit: minute, requests_per_unit: 5}
- &base
  key: b
  shadow_mode: true
  rate_limit: *limit
- <<: *base
  key: c
- <<: [{key: d}, *base]
- {<<: {key: e}, rate_limit: {<<: *limit, requests_per_unit: 6}}
";
    let found = loaded(text);
    let rules = found.ruleset.rules();
    let summary: Vec<_> =
        rules.iter().map(|r| (&*r.path, r.requests_per_unit, r.shadow_mode)).collect();
    let expected = [
        ("shop.a", 5, false),
        ("shop.b", 5, true),
        ("shop.c", 5, true),
        ("shop.d", 5, true),
        ("shop.e", 6, false),
    ];
    assert_eq!(summary, expected);
    check_warnings(text, &[]);
}

#[test]
fn a_merge_overrides_the_keys_above_it() {
    let text = "\
domain: shop
descriptors:
- &base {key: a, rate_limit: {unit: minute}}
- key: b
  <<: {key: c}
";
    assert!(load(&[file("rules.yaml", text)], Options::default()).is_ok());
    check_warnings(
        text,
        &["rules.yaml:4:3: shop.c: key is overridden by the merge key << that stands below it; \
           keys above a merge lose"],
    );
}

#[test]
fn a_further_rate_limit_or_metadata_adds_to_the_merged_one() {
    let text = "\
domain: shop
descriptors:
- &base
  key: a
  rate_limit: {unit: minute, requests_per_unit: 5, name: base}
  metadata: {team: red, tier: 1}
- <<: *base
  key: b
  rate_limit: {requests_per_unit: 6}
  metadata: {tier: 2}
- <<: *base
  key: c
  rate_limit: ~
  metadata: ~
";
    let found = loaded(text);
    let rule = find(&found.ruleset, "shop", &[("b", "")]).unwrap();
    assert_eq!(limits(rule), [Limit::fixed(6, Unit::Minute)]);
    assert_eq!(&*rule.limits[0].name, "base");
    assert_eq!(json!(rule.metadata), json!({"team": "red", "tier": 2}));
    assert!(find(&found.ruleset, "shop", &[("c", "")]).is_none());
    check_warnings(text, &[]);
}

#[test]
fn names_may_be_shared_and_replaces_may_name_nobody() {
    let text = "\
domain: shop
descriptors:
- {key: a, rate_limit: {unit: day, name: x}}
- {key: b, rate_limit: {unit: day, name: x}}
- {key: c, rate_limit: {unit: day, name: y, replaces: [{name: x}, {name: z}]}}
";
    let found = loaded(text);
    let rule = find(&found.ruleset, "shop", &[("c", "")]).unwrap();
    assert_eq!(rule.replaces, ["x".into(), "z".into()].into());
    let nobody = "no limit of the domain is named \"z\"; replacing it has no effect";
    check_warnings(text, &[&format!("rules.yaml:5:74: shop.c: {nobody}")]);
}

#[test]
fn replaces_reaches_the_other_files_of_a_merged_domain() {
    let files = [
        file(
            "a.yaml",
            "domain: shop\ndescriptors: [{key: a, rate_limit: {unit: day, replaces: [{name: x}]}}]",
        ),
        file("b.yaml", "domain: shop\ndescriptors: [{key: b, rate_limit: {unit: day, name: x}}]"),
    ];
    let found = load(&files, Options { merge_domains: true, ..Options::default() }).unwrap();
    assert_eq!(found.warnings, []);
    assert_eq!((found.ruleset.domain_count(), found.ruleset.rules().len()), (1, 2));
}

#[test]
fn metadata_holds_anything() {
    let text = "{key: k, rate_limit: {unit: day}, metadata: {foo: bar, list: [1, a, [~]], 1: one, \
                yes: 1.5, deep: {unknown: {x: 0x10}}, date: 2026-01-02, inf: -.inf, '': !!binary aGk=}}";
    let expected = json!({
        "foo": "bar",
        "list": [1, "a", [null]],
        "1": "one",
        "true": 1.5,
        "deep": {"unknown": {"x": 16}},
        "date": "2026-01-02",
        "inf": "-Infinity",
        "": "hi",
    });
    assert_eq!(json!(rule(text).metadata), expected);
    assert!(rule("{key: k, rate_limit: {unit: day}}").metadata.is_none());
}

#[test]
fn a_second_document_is_ignored_with_a_warning() {
    let ignored = "text after the first document; it is ignored";
    let text = "domain: shop\n---\ndomain: [\n@";
    check_warnings(text, &[&format!("rules.yaml:2:1: {ignored}")]);
    check_warnings("{domain: shop} more\n", &[&format!("rules.yaml:1:16: {ignored}")]);
    check_warnings("domain: shop\n...\n@", &[&format!("rules.yaml:3:1: {ignored}")]);
    check_warnings("---\ndomain: shop\n...\n", &[]);
    check_warnings("%YAML 1.1\n---\ndomain: shop\n...\n# end\n", &[]);
}

#[test]
fn bom_crlf_and_indentation_are_free() {
    check_warnings("\u{feff}domain: shop\r\ndescriptors:\r\n- key: k\r\n", &[]);
    check_warnings(
        "domain: shop\ndescriptors:\n    - key: k\n      descriptors:\n      - key: l",
        &[],
    );
    check_warnings("{\"domain\": \"shop\", \"descriptors\": [\n{\"key\": \"k\"}\n]}", &[]);
    check_warnings(
        "domain: shop\ndescriptors: [\n  {key: k,\n  descriptors: [\n  {key: l}\n  ]}\n]\n",
        &[],
    );
}

#[test]
fn no_files_are_a_valid_ruleset() {
    let found = load(&[], Options::default()).unwrap();
    assert_eq!((found.ruleset.domain_count(), found.warnings), (0, vec![]));
}

#[test]
fn a_domain_in_two_files_may_merge() {
    let files = [
        file(
            "b.yaml",
            "domain: shop\ndescriptors: [{key: k, value: 'b*', rate_limit: {unit: day}}]",
        ),
        file(
            "a.yaml",
            "domain: shop\ndescriptors: [{key: k, value: '*b', rate_limit: {unit: day}}]",
        ),
    ];
    let found = load(&files, Options { merge_domains: true, ..Options::default() }).unwrap();
    let first = find(&found.ruleset, "shop", &[("k", "bb")]).unwrap();
    assert_eq!(&*first.path, "shop.k_*b", "wildcards stand in the order of the files' names");
}

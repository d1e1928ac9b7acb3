//! How wrong uses of the keys that the reference does not have are reported.
//!
//! As in `rejected`: each golden file shows the report on one set of files.

use insta::assert_snapshot;
use tidegate::rules::Options;

use super::{file, load, load_one, one_descriptor, render};

fn rejected(files: &[(&str, &str)], options: Options) -> String {
    let files: Vec<_> = files.iter().map(|(name, text)| file(name, *text)).collect();
    let rejected = load(&files, options).expect_err("must be rejected");
    render(&rejected.errors, &rejected.warnings)
}

/// The report on descriptors of domain `shop`, which begin in line 3. Those of one line are
/// also loaded alone, as editors must agree on each.
fn descriptors(text: &str) -> String {
    for line in text.lines().filter_map(|line| line.strip_prefix("- {")) {
        let _ = load_one(one_descriptor(&format!("{{{line}")));
    }
    rejected(&[("rules.yaml", &format!("domain: shop\ndescriptors:\n{text}"))], Options::default())
}

#[test]
fn windows_and_algorithms() {
    assert_snapshot!(descriptors(
        "\
- {key: a, rate_limit: {unit: minute, unit_multiplier: 0}}
- {key: b, rate_limit: {unit: minute, unit_multiplier: '15'}}
- {key: c, rate_limit: {unit: minute, unit_multiplier: 1.5}}
- {key: d, rate_limit: {unit: minute, unit_multiplier: -1, algorithm: [], burst: x}}
- {key: e, rate_limit: {unit: year, unit_multiplier: 6}}
- {key: f, rate_limit: {unit: month, unit_multiplier: 61}}
- {key: g, rate_limit: {unit: second, unit_multiplier: 4294967295}}
- {key: h, rate_limit: {unit: day, algorithm: slidingwindow}}
- {key: i, rate_limit: {unit: day, algorithm: leaky_bucket}}
- {key: j, rate_limit: {unit: day, algorithm: ''}}
- {key: k, rate_limit: {unit: day, algorithm: Fixed_Window}}
- {key: l, rate_limit: {unit: day, count_refused: maybe, accuracy: exakt, on_store_error: denied}}
- {key: m, rate_limit: {unit: day, count_refused: 1, accuracy: true, on_store_error: {}}}
- {key: n, rate_limit: {unit: minute, unit_multipler: 2, accuracy: leased, algoritm: token_bucket, burst: 5}}
"
    ));
}

#[test]
fn buckets_and_leases() {
    assert_snapshot!(descriptors(
        "\
- {key: a, rate_limit: {unit: day, requests_per_unit: 5, burst: 5}}
- {key: b, rate_limit: {unit: day, requests_per_unit: 5, algorithm: sliding_window, burst: 5}}
- {key: c, rate_limit: {unit: day, requests_per_unit: 5, algorithm: token_bucket, burst: 0}}
- {key: d, rate_limit: {unit: day, requests_per_unit: 5, algorithm: token_bucket, burst: 4294967296}}
- {key: e, rate_limit: {unit: day, requests_per_unit: 0, algorithm: token_bucket, burst: 5}}
- {key: f, rate_limit: {unit: day, algorithm: token_bucket, burst: 5}}
- {key: g, rate_limit: {unit: day, request_per_unit: 5, algorithm: token_bucket, burst: 5}}
- {key: h, rate_limit: {unit: year, requests_per_unit: 1, algorithm: token_bucket, burst: 101}}
- {key: i, rate_limit: {unit: second, requests_per_unit: 1, algorithm: token_bucket, burst: 4294967295}}
- {key: j, rate_limit: {unit: second, requests_per_unit: 5, accuracy: leased}}
- {key: k, rate_limit: {unit: second, unit_multiplier: 1, algorithm: sliding_window, accuracy: leased}}
"
    ));
}

#[test]
fn several_limits() {
    assert_snapshot!(descriptors(
        "\
- {key: a, rate_limit: {unit: day}, rate_limits: [{unit: hour}]}
- {key: b, rate_limits: []}
- {key: c, rate_limits: {unit: day}}
- {key: d, rate_limits: [{unlimited: true}, {unit: day, unlimited: yes}, 5, [], ~]}
- key: e
  rate_limits:
  - {unit: minute, unit_multiplier: 60, requests_per_unit: 1}
  - {unit: hour, requests_per_unit: 2}
  - {unit: hour, algorithm: sliding_window}
  - {unit: second, unit_multiplier: 3600, algorithm: sliding_window}
  - {unit: hour, requests_per_unit: 5, algorithm: token_bucket, burst: 1}
  - {unit: hour, requests_per_unit: 5, algorithm: token_bucket, burst: 2}
- key: f
  rate_limits:
  - {unit: day, name: x, replaces: [{name: x}]}
  - {unit: hour, replaces: [{name: y}]}
  - {unit: week, name: y, shadow_mode: true}
- {key: g, rate_limits: [{}, {unit: dya, algorithm: none}]}
- {key: h, rate_limits: [&l {unit: day}, *l, *l, *l, *l, *l, *l, *l, *l, *l, *l, *l, *l, *l, *l, *l, *l]}
- {key: i, rate_limit: {unit: hours}, rate_limits: [{unit: days}]}
"
    ));
}

#[test]
fn unlimited_says_nothing_else() {
    assert_snapshot!(descriptors(
        "\
- key: a
  rate_limit:
    unlimited: true
    algorithm: sliding_window
    unit_multiplier: 2
    burst: 5
    count_refused: true
    accuracy: leased
    on_store_error: allow
    requests_per_unit: 5
- {key: b, rate_limit: {unlimited: true, unit: fortnight, algorithm: ~}}
"
    ));
}

#[test]
fn matches_in_the_wrong_shape() {
    assert_snapshot!(descriptors(
        "\
- {key: a, value: v, match: {any_of: [w]}}
- {key: 'b*', match: {any_of: [w]}}
- {key: c, match: {}}
- {key: d, match: gold}
- {key: e, match: {any_of: [x], regex: y}}
- {key: f, match: {cidr: 10.0.0.0/8, regex: y, any_of: ~}}
- {key: g, match: {any_of: []}}
- {key: h, match: {any_of: gold}}
- {key: i, match: {any_of: [a, [b], {c: d}, ~, '', 1.5, a, a]}}
- {key: j, match: {anyof: [a]}}
- {key: k, match: {value: a, key: b}}
- {key: l, mach: {any_of: [a]}}
- {key: l}
- {key: m, regex: a}
- {key: m}
- {key: n, match: {any_of: [a, b]}, value: ~, share_threshold: 1}
- {key: o, match: ~, share_threshold: true}
- {match: {any_of: [a]}}
"
    ));
}

#[test]
fn networks_that_are_none() {
    assert_snapshot!(descriptors(
        "\
- {key: a, match: {cidr: 10.1.2.3/8}}
- {key: b, match: {cidr: ['fd00::1/8', '2001:db8::/129', 10.0.0.0/33]}}
- {key: c, match: {cidr: [10.0.0.1, '::1', localhost, 10.0.0.0/8/8, ~, {}]}}
- {key: d, match: {cidr: [10.0.0.0/8, 10.0.0.0/8, '::ffff:10.0.0.0/104']}}
- {key: e, match: {cidr: []}}
- {key: f, match: {cidr: {}}}
- {key: g, match: {cidr: 10}}
"
    ));
}

#[test]
fn expressions_that_do_not_compile() {
    assert_snapshot!(descriptors(
        "\
- {key: a, match: {regex: '('}}
- {key: b, match: {regex: '[z-a]'}}
- {key: c, match: {regex: '(?=look)'}}
- {key: d, match: {regex: '(a)\\1'}}
- {key: e, match: {regex: 'a{1000}{1000}{1000}'}}
- {key: f, match: {regex: \"a\\n(\"}}
- {key: g, match: {regex: ''}}
- {key: h, match: {regex: [a]}}
- {key: i, match: {regex: '*.example.com'}}
- {key: j, match: &m {regex: ')'}}
- {key: k, match: *m}
"
    ));
}

#[test]
fn a_value_or_network_for_two_descriptors() {
    let a = "\
domain: shop
descriptors:
- {key: k, value: gold}
- {key: k, match: {any_of: [silver, gold, bronze]}}
- {key: k, match: {any_of: [silver, copper]}}
- {key: k, value: copper, descriptors: [{key: ''}]}
- {key: k, match: {any_of: [copper, silver]}}
- {key: k, match: {any_of: [copper, iron]}}
- {key: k, value: iron}
- {key: k_iron}
- {key: k, match: {any_of: [gold]}}
- {key: k, match: {cidr: [10.0.0.0/8, 'fd00::/8']}}
- {key: other, match: {cidr: 10.0.0.0/8}}
";
    let b = "\
domain: shop
descriptors:
- {key: k, match: {cidr: [11.0.0.0/8, '::ffff:10.0.0.0/104', 'fd00::/8', 10.0.0.0/9]}}
- {key: k, match: {regex: x}}
- {key: k, match: {regex: x}}
- {key: k, match: {any_of: ['x']}}
";
    assert_snapshot!(rejected(
        &[("a.yaml", a), ("b.yaml", b)],
        Options { merge_domains: true, ..Options::default() }
    ));
}

#[test]
fn the_root() {
    let files = [
        ("a.yaml", "domain: shop\nall_or_nothing: true\n"),
        (
            "b.yaml",
            "domain: shop\ndefaults: {accuracy: lease, count_refused: 2, on_store_eror: deny}\n",
        ),
        ("c.yaml", "domain: shop\nall_or_nothing: no\ndefaults: [exact]\n"),
        (
            "d.yaml",
            "domain: d\nall_or_nothing: 'yes'\ndefaults: {unit: day, algorithm: x, burst: 5}\n",
        ),
        (
            "e.yaml",
            "domain: e\ndefaults: {accuracy: leased}\ndescriptors:\n- {key: k, rate_limit: {unit: second}}\n",
        ),
        ("f.yaml", "domain: f\nall_or_nothin: yes\ndefault: {}\n"),
    ];
    assert_snapshot!(rejected(&files, Options { merge_domains: true, ..Options::default() }));
}

#[test]
fn keys_at_the_wrong_level() {
    let text = "\
domain: shop
algorithm: token_bucket
accuracy: leased
match: {any_of: [a]}
descriptors:
- key: a
  algorithm: token_bucket
  on_store_error: deny
  all_or_nothing: true
  defaults: {accuracy: leased}
  rate_limit:
    unit: day
    match: {regex: x}
    rate_limits: []
    all_or_nothing: true
    replaces: [{name: x, algorithm: y}]
  rate_limits: ~
  unit: {burst: [5], any_of: {unknown: x}}
- key: b
  rate_limits: [{unit: day, quota_mode: true, value: x}]
";
    assert_snapshot!(rejected(&[("rules.yaml", text)], Options::default()));
}

#[test]
fn too_many_expressions_are_refused() {
    let one = |n| format!("- {{key: k{n}, match: {{regex: 'x{n}'}}}}\n");
    let text: String = (0..1001).map(one).collect();
    let rejected = load_one(format!("domain: shop\ndescriptors:\n{text}")).unwrap_err();
    assert_eq!(rejected.errors.len(), 1);
    assert!(rejected.to_string().contains("more than 1000 different ones"), "{rejected}");
}

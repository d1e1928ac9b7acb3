//! Which rule a descriptor meets: the walk of the format, quirks included.

use tidegate::rules::{Entry, How, Ruleset, Steps};

use super::{find, loaded};

/// `entries` are written `key=value`, one per level.
fn pairs<'a>(entries: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    entries.iter().map(|entry| entry.split_once('=').unwrap()).collect()
}

fn check(ruleset: &Ruleset, entries: &[&str], expected: Option<&str>) {
    let found = find(ruleset, "shop", &pairs(entries)).map(|rule| &*rule.path);
    assert_eq!(found, expected.map(|path| format!("shop.{path}")).as_deref(), "{entries:?}");
}

/// The ruleset of a list of descriptors in YAML, in which `LIMIT` stands for any limit.
fn rules(descriptors: &str) -> Ruleset {
    let text = descriptors.replace("LIMIT", "rate_limit: {unit: day}");
    loaded(&format!("domain: shop\ndescriptors:\n{text}")).ruleset
}

#[test]
fn exact_before_wildcard_before_default() {
    let ruleset = rules(
        "\
- {key: k, LIMIT}
- {key: k, value: 'a*', LIMIT}
- {key: k, value: '*', LIMIT}
- {key: k, value: ab, LIMIT}
- {key: l, LIMIT}
",
    );
    check(&ruleset, &["k=ab"], Some("k_ab"));
    check(&ruleset, &["k=abc"], Some("k_a*"));
    check(&ruleset, &["k=b"], Some("k_*"));
    check(&ruleset, &["k="], Some("k_*"));
    check(&ruleset, &["l=any"], Some("l"));
    check(&ruleset, &["l="], Some("l"));
    check(&ruleset, &["m=any"], None);
}

#[test]
fn wildcards_stand_in_file_order() {
    let ruleset = rules("- {key: k, value: '*', LIMIT}\n- {key: k, value: 'a*', LIMIT}\n");
    check(&ruleset, &["k=ab"], Some("k_*"));
}

#[test]
fn the_depth_must_be_that_of_the_limit() {
    let ruleset = rules(
        "\
- key: a
  LIMIT
  descriptors:
  - key: b
    descriptors:
    - {key: c, LIMIT}
",
    );
    check(&ruleset, &["a=1"], Some("a"));
    check(&ruleset, &["a=1", "b=2"], None);
    check(&ruleset, &["a=1", "b=2", "c=3"], Some("a.b.c"));
    check(&ruleset, &["a=1", "b=2", "c=3", "d=4"], None);
    check(&ruleset, &["b=2", "a=1"], None);
    check(&ruleset, &["a=1", "c=3"], None);
    check(&ruleset, &["c=3"], None);
    check(&ruleset, &[], None);
}

#[test]
fn there_is_no_way_back_up() {
    let ruleset = rules(
        "\
- key: k
  value: exact
  descriptors:
  - {key: inner, value: one, LIMIT}
- key: k
  value: 'w*'
  descriptors:
  - {key: inner, value: one, LIMIT}
- key: k
  descriptors:
  - {key: inner, LIMIT}
",
    );
    check(&ruleset, &["k=exact", "inner=one"], Some("k_exact.inner_one"));
    check(&ruleset, &["k=exact", "inner=two"], None);
    check(&ruleset, &["k=wild", "inner=two"], None);
    check(&ruleset, &["k=other", "inner=two"], Some("k.inner"));
}

#[test]
fn a_value_without_limit_is_exempt() {
    let ruleset =
        rules("- {key: k, LIMIT}\n- {key: k, value: '1*', LIMIT}\n- {key: k, value: '10'}\n");
    check(&ruleset, &["k=10"], None);
    check(&ruleset, &["k=11"], Some("k_1*"));
    check(&ruleset, &["k=2"], Some("k"));
}

#[test]
fn matching_is_by_bytes() {
    let ruleset = rules("- {key: Key, value: Wert-ä, LIMIT}\n- {key: p, value: 'ä*ö', LIMIT}\n");
    check(&ruleset, &["Key=Wert-ä"], Some("Key_Wert-ä"));
    check(&ruleset, &["key=Wert-ä"], None);
    check(&ruleset, &["Key=wert-ä"], None);
    check(&ruleset, &["p=ä/ü.x_ö"], Some("p_ä*ö"));
    check(&ruleset, &["p=äö"], Some("p_ä*ö"));
    check(&ruleset, &["p=ä"], None);
}

#[test]
fn a_star_stands_anywhere() {
    let ruleset = rules(
        "\
- {key: path, value: '/api/*/users/*', LIMIT}
- {key: host, value: '*.example.com', LIMIT}
- {key: any, value: '**', LIMIT}
- {key: 'x-*', LIMIT}
",
    );
    check(&ruleset, &["path=/api/v1/users/7"], Some("path_/api/*/users/*"));
    check(&ruleset, &["path=/api/v1/users"], None);
    check(&ruleset, &["path=/api/users/7"], None);
    check(&ruleset, &["host=a.b.example.com"], Some("host_*.example.com"));
    check(&ruleset, &["host=example.com"], None);
    check(&ruleset, &["any="], Some("any_**"));
    check(&ruleset, &["x-user=7"], Some("x-*"));
    check(&ruleset, &["x-="], Some("x-*"));
}

#[test]
fn the_boundary_of_key_and_value_is_invisible() {
    let ruleset = rules("- {key: a_b, LIMIT}\n- {key: any, value: '*', LIMIT}\n");
    check(&ruleset, &["a=b"], Some("a_b"));
    check(&ruleset, &["a_b=c"], Some("a_b"));
    check(&ruleset, &["any_x=y"], Some("any_*"));
    check(&ruleset, &["any=y"], Some("any_*"));
    check(&ruleset, &["anyx=y"], None);
    let ruleset = rules("- {key: k_, LIMIT}\n");
    check(&ruleset, &["k="], Some("k_"));
    check(&ruleset, &["k_=v"], Some("k_"));
}

#[test]
fn the_pattern_itself_is_found_exactly() {
    let ruleset = rules("- {key: k, value: '*', LIMIT}\n- {key: k, value: 'a*', LIMIT}\n");
    check(&ruleset, &["k=a*"], Some("k_a*"));
}

#[test]
fn domains_are_apart() {
    let ruleset = rules("- {key: k, LIMIT}\n");
    assert!(find(&ruleset, "other", &[("k", "")]).is_none());
    assert!(find(&ruleset, "Shop", &[("k", "")]).is_none());
}

#[test]
fn steps_tell_how_each_entry_matched() {
    let ruleset = rules(
        "\
- key: a
  value: x
  value_to_metric: true
  descriptors:
  - key: any
    value: '*.y'
    share_threshold: true
    descriptors:
    - {key: c, LIMIT}
",
    );
    let mut steps = Steps::new();
    let entries = pairs(&["a=x", "any=1.y", "c=z"]).into_iter();
    let entries: Vec<_> = entries.map(|(key, value)| Entry { key, value }).collect();
    let domain = ruleset.domain("shop").unwrap();
    assert!(ruleset.find(domain, &entries, &mut steps).is_some());
    let told: Vec<_> = steps
        .iter()
        .map(|step| (step.how, step.is_shared(), step.node.value_to_metric()))
        .collect();
    let expected =
        [(How::Exact, false, true), (How::Wildcard, true, false), (How::Default, false, false)];
    assert_eq!(told, expected);
    assert_eq!(steps[1].pattern("any"), "*.y");
    assert_eq!(steps[1].pattern("any_x"), "any_*.y", "a pattern that reached into the key");

    let literal = [entries[0], Entry { key: "any", value: "*.y" }];
    ruleset.find(domain, &literal, &mut steps);
    assert_eq!((steps[1].how, steps[1].is_shared()), (How::Exact, false));
}

#[test]
fn a_rule_knows_what_its_descriptor_says() {
    let ruleset = rules(
        "\
- key: k
  shadow_mode: true
  quota_mode: true
  detailed_metric: true
  metadata: {}
  rate_limit: {unit: week, requests_per_unit: 9, name: n}
",
    );
    let rule = find(&ruleset, "shop", &[("k", "v")]).unwrap();
    assert!(rule.shadow_mode && rule.quota_mode && rule.detailed_metric);
    assert_eq!((&*rule.path, &*rule.limits[0].name, rule.requests_per_unit), ("shop.k", "n", 9));
    assert_eq!(rule.metadata.as_ref().map(serde_json::Map::len), Some(0));
}

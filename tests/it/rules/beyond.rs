//! What the reference does not have: algorithms, several limits, defaults, matches.

use tidegate::clock::Timestamp;
use tidegate::limiter::{Policy, Request, Terms, plan};
use tidegate::rules::{
    Accuracy, Algorithm, Entry, How, Limit, OnStoreError, Options, Rule, Ruleset, Spending, Steps,
    Unit,
};

use super::{file, find, limits, load, loaded};

/// The rules of a file of one descriptor `k` with this `rate_limit`, after `head`.
fn rule(head: &str, limits: &str) -> Rule {
    let text = format!("domain: shop\n{head}\ndescriptors:\n- key: k\n  {limits}\n");
    loaded(&text).ruleset.rules()[0].clone()
}

fn check_limit(rate_limit: &str, expected: Limit) {
    let rule = rule("", &format!("rate_limit: {{{rate_limit}}}"));
    assert_eq!(limits(&rule), [expected], "{rate_limit}");
}

const MINUTE: Limit = Limit::fixed(6, Unit::Minute);

/// A limit of an algorithm that spends nothing on refused requests.
const fn sparing(algorithm: Algorithm) -> Limit {
    Limit { algorithm, count_refused: false, ..MINUTE }
}

#[test]
fn a_limit_says_how_it_counts() {
    let minute = |more: &str| format!("unit: minute, requests_per_unit: 6, {more}");
    check_limit(&minute("unit_multiplier: 15"), Limit { multiplier: 15, ..MINUTE });
    check_limit(&minute("unit_multiplier: ~, algorithm: , burst: null"), MINUTE);
    check_limit(&minute("algorithm: fixed_window"), MINUTE);
    check_limit(&minute("algorithm: sliding_window"), sparing(Algorithm::SlidingWindow));
    let bucket = |burst| sparing(Algorithm::TokenBucket { burst });
    check_limit(&minute("algorithm: token_bucket"), bucket(6));
    check_limit(&minute("algorithm: token_bucket, burst: 50"), bucket(50));
    check_limit(&minute("algorithm: token_bucket, burst: 1"), bucket(1));
    check_limit(&minute("count_refused: no"), Limit { count_refused: false, ..MINUTE });
    let sliding = Limit { algorithm: Algorithm::SlidingWindow, ..MINUTE };
    check_limit(&minute("algorithm: sliding_window, count_refused: true"), sliding);
    check_limit(&minute("accuracy: leased"), Limit { accuracy: Accuracy::Leased, ..MINUTE });
    check_limit(&minute("accuracy: exact"), MINUTE);
    for (name, on_store_error) in [
        ("error", OnStoreError::Error),
        ("allow", OnStoreError::Allow),
        ("deny", OnStoreError::Deny),
        ("local", OnStoreError::Local),
    ] {
        check_limit(
            &minute(&format!("on_store_error: {name}")),
            Limit { on_store_error, ..MINUTE },
        );
    }
}

#[test]
fn what_is_just_allowed() {
    let years = |multiplier, unit| Limit { multiplier, ..Limit::fixed(1, unit) };
    check_limit("unit: year, unit_multiplier: 5, requests_per_unit: 1", years(5, Unit::Year));
    let second = "unit: second, unit_multiplier: 157680000, requests_per_unit: 1";
    check_limit(second, years(157_680_000, Unit::Second));
    let closed = Limit {
        algorithm: Algorithm::TokenBucket { burst: 1 },
        count_refused: false,
        ..Limit::fixed(0, Unit::Day)
    };
    check_limit("unit: day, algorithm: token_bucket", closed);
    check_limit(
        "unit: year, requests_per_unit: 1, algorithm: token_bucket, burst: 100",
        Limit {
            algorithm: Algorithm::TokenBucket { burst: 100 },
            requests_per_unit: 1,
            unit: Unit::Year,
            ..closed
        },
    );
    let two = Limit { multiplier: 2, accuracy: Accuracy::Leased, ..Limit::fixed(1, Unit::Second) };
    check_limit("unit: second, unit_multiplier: 2, requests_per_unit: 1, accuracy: leased", two);
}

#[test]
fn several_limits_stand_in_their_order() {
    let rule = rule(
        "",
        "\
rate_limits:
  - {unit: second, requests_per_unit: 10, algorithm: token_bucket, burst: 50, name: burst}
  - {unit: second, requests_per_unit: 9, replaces: [{name: x}]}
  - {unit: day, requests_per_unit: 250000, accuracy: leased, name: day, replaces: [{name: y}]}
  - {unit: minute, unit_multiplier: 60, requests_per_unit: 7, algorithm: sliding_window}",
    );
    let told: Vec<_> =
        rule.limits.iter().map(|l| (&*l.name, l.limit.requests_per_unit, l.limit.unit)).collect();
    let expected = [
        ("burst", 10, Unit::Second),
        ("", 9, Unit::Second),
        ("day", 250_000, Unit::Day),
        ("", 7, Unit::Minute),
    ];
    assert_eq!(told, expected);
    assert_eq!(rule.replaces, ["x".into(), "y".into()].into());
    assert_eq!((&*rule.path, rule.requests_per_unit), ("shop.k", 10));
}

#[test]
fn every_name_of_a_list_can_be_replaced() {
    let text = "\
domain: shop
descriptors:
- {key: a, rate_limits: [{unit: day, name: x}, {unit: hour, name: y}]}
- {key: b, rate_limit: {unit: day, replaces: [{name: x}, {name: y}]}}
";
    assert_eq!(loaded(text).warnings, []);
}

#[test]
fn defaults_are_for_limits_that_do_not_say_otherwise() {
    let head = "defaults: {count_refused: false, accuracy: leased, on_store_error: local}";
    let said = Limit {
        count_refused: false,
        accuracy: Accuracy::Leased,
        on_store_error: OnStoreError::Local,
        ..MINUTE
    };
    let one = rule(head, "rate_limit: {unit: minute, requests_per_unit: 6}");
    assert_eq!(limits(&one), [said]);
    let own = "count_refused: true, accuracy: exact, on_store_error: error";
    let two = rule(
        head,
        &format!(
            "rate_limits: [{{unit: minute, requests_per_unit: 6, {own}}}, \
             {{unit: hour, requests_per_unit: 6, algorithm: sliding_window}}]"
        ),
    );
    let sliding = Limit { unit: Unit::Hour, algorithm: Algorithm::SlidingWindow, ..said };
    assert_eq!(limits(&two), [MINUTE, sliding]);
    let unlimited = rule(head, "rate_limit: {unlimited: true}");
    assert_eq!(limits(&unlimited), []);
    let nothing =
        rule("defaults: {accuracy: ~}", "rate_limit: {unit: minute, requests_per_unit: 6}");
    assert_eq!(limits(&nothing), [MINUTE]);
}

#[test]
fn defaults_belong_to_their_file() {
    let limit = "rate_limit: {unit: minute, requests_per_unit: 6}";
    let files = [
        file(
            "a.yaml",
            format!(
                "domain: d\ndescriptors: [{{key: a, {limit}}}]\ndefaults: {{on_store_error: deny}}"
            ),
        ),
        file("b.yaml", format!("domain: d\ndescriptors: [{{key: b, {limit}}}]")),
    ];
    let ruleset =
        load(&files, Options { merge_domains: true, ..Options::default() }).unwrap().ruleset;
    let a = find(&ruleset, "d", &[("a", "")]).unwrap();
    let b = find(&ruleset, "d", &[("b", "")]).unwrap();
    assert_eq!(limits(a), [Limit { on_store_error: OnStoreError::Deny, ..MINUTE }]);
    assert_eq!(limits(b), [MINUTE]);
}

#[test]
fn a_domain_spends_all_or_nothing() {
    let spending = |text: &str| loaded(text).ruleset.domain("d").unwrap().spending;
    assert_eq!(spending("domain: d"), Spending::Each);
    assert_eq!(spending("domain: d\nall_or_nothing: no"), Spending::Each);
    assert_eq!(spending("all_or_nothing: yes\ndomain: d"), Spending::AllOrNothing);
    let files = [
        file("a.yaml", "domain: d"),
        file("b.yaml", "domain: d\nall_or_nothing: true"),
        file("c.yaml", "domain: d\nall_or_nothing: true"),
        file("d.yaml", "domain: e"),
    ];
    let ruleset =
        load(&files, Options { merge_domains: true, ..Options::default() }).unwrap().ruleset;
    let spending = |name| ruleset.domain(name).unwrap().spending;
    assert_eq!((spending("d"), spending("e")), (Spending::AllOrNothing, Spending::Each));
}

/// The ruleset of a list of descriptors in YAML, in which `LIMIT` stands for any limit.
fn rules(descriptors: &str) -> Ruleset {
    let text = descriptors.replace("LIMIT", "rate_limit: {unit: day}");
    loaded(&format!("domain: shop\ndescriptors:\n{text}")).ruleset
}

/// Each value of key `k` leads to the rule of this path below `shop`.
fn check(ruleset: &Ruleset, pairs: &[(&str, Option<&str>)]) {
    for (value, expected) in pairs {
        let found = find(ruleset, "shop", &[("k", value)]).map(|rule| &*rule.path);
        assert_eq!(found, expected.map(|path| format!("shop.{path}")).as_deref(), "{value}");
    }
}

#[test]
fn any_of_matches_each_of_its_values_and_nothing_else() {
    let ruleset = rules(
        "\
- {key: k, match: {any_of: [gold, silver, 007, yes, 'a*', '1.5']}, LIMIT}
- {key: other, LIMIT}
",
    );
    let all = Some("k_gold|silver|007|yes|a*|1.5");
    check(
        &ruleset,
        &[
            ("gold", all),
            ("silver", all),
            ("007", all),
            ("yes", all),
            ("a*", all),
            ("1.5", all),
            ("7", None),
            ("ab", None),
            ("Gold", None),
            ("gold|silver", None),
            ("gold|silver|007|yes|a*|1.5", None),
            ("", None),
        ],
    );
    assert!(find(&ruleset, "shop", &[("other", "gold")]).is_some());
    assert!(find(&ruleset, "shop", &[("k_gold", "")]).is_none());
    let boundary = rules("- {key: a_b, match: {any_of: [c]}, LIMIT}\n");
    assert!(find(&boundary, "shop", &[("a", "b_c")]).is_none(), "only the key itself matches");
    assert!(find(&boundary, "shop", &[("a_b", "c")]).is_some());
}

#[test]
fn networks_match_what_lies_within() {
    let ruleset = rules(
        "\
- {key: k, match: {cidr: 10.0.0.0/8}, LIMIT}
- {key: k, match: {cidr: [10.1.0.0/16, 192.168.0.0/24]}, LIMIT}
- {key: k, match: {cidr: 10.1.2.3/32}, LIMIT}
- {key: k, match: {cidr: ['fd00::/8', 'fd00:1::/32']}, LIMIT}
",
    );
    let (ten, sixteen, one) =
        (Some("k_10.0.0.0/8"), Some("k_10.1.0.0/16|192.168.0.0/24"), Some("k_10.1.2.3/32"));
    let private = Some("k_fd00::/8|fd00:1::/32");
    check(
        &ruleset,
        &[
            ("10.2.3.4", ten),
            ("10.1.2.4", sixteen),
            ("10.1.2.3", one),
            ("192.168.0.255", sixteen),
            ("192.168.1.0", None),
            ("11.0.0.0", None),
            ("::ffff:10.2.3.4", ten),
            ("::ffff:a01:203", one),
            ("10.1.0.0/16", sixteen),
            ("10.1.0.0/24", sixteen),
            ("10.1.2.3/32", one),
            ("10.0.0.0/15", ten),
            ("10.0.0.0/8", ten),
            ("10.0.0.0/7", None),
            ("::ffff:10.2.0.0/112", ten),
            ("fd12::1", private),
            ("FD00:1:2::", private),
            ("fd00::/64", private),
            ("fc00::/7", None),
            ("fe80::1", None),
            ("10.2.3", None),
            ("10.2.3.4:80", None),
            ("10.0.0.0/8|10.0.0.0/8", None),
            (" 10.2.3.4", None),
            ("", None),
        ],
    );
}

#[test]
fn each_family_has_its_own_network_of_everything() {
    let ruleset = rules(
        "\
- {key: k, match: {cidr: '::/0'}, LIMIT}
- {key: k, match: {cidr: 0.0.0.0/0}, LIMIT}
- {key: k, match: {cidr: '::ffff:10.0.0.0/104'}, LIMIT}
",
    );
    check(
        &ruleset,
        &[
            ("2001:db8::1", Some("k_::/0")),
            ("::", Some("k_::/0")),
            ("1.2.3.4", Some("k_0.0.0.0/0")),
            ("::ffff:1.2.3.4", Some("k_0.0.0.0/0")),
            ("10.2.3.4", Some("k_10.0.0.0/8")),
        ],
    );
    let ruleset = rules("- {key: k, match: {cidr: '::/0'}, LIMIT}\n");
    check(&ruleset, &[("1.2.3.4", None), ("::ffff:1.2.3.4", None), ("::1", Some("k_::/0"))]);
}

#[test]
fn expressions_match_anywhere_in_file_order() {
    let ruleset = rules(
        "\
- {key: k, match: {regex: '^/v[0-9]+/'}, LIMIT}
- {key: k, match: {regex: '/v1/'}, LIMIT}
- {key: k, match: {regex: '(?i)admin|\\bröot\\b'}, LIMIT}
- {key: k, match: {regex: '^$'}, LIMIT}
",
    );
    check(
        &ruleset,
        &[
            ("/v1/users", Some("k_^/v[0-9]+/")),
            ("/v22/", Some("k_^/v[0-9]+/")),
            ("/api/v1/users", Some("k_/v1/")),
            ("/the/ADMIN", Some("k_(?i)admin|\\bröot\\b")),
            ("a röot b", Some("k_(?i)admin|\\bröot\\b")),
            ("röots", None),
            ("", Some("k_^$")),
            ("^/v[0-9]+/", None),
        ],
    );
}

#[test]
fn matches_stand_between_wildcards_and_the_key_alone() {
    let ruleset = rules(
        "\
- {key: k, LIMIT}
- {key: k, match: {regex: '.'}, LIMIT}
- {key: k, match: {cidr: 10.0.0.0/8}, LIMIT}
- {key: k, value: '10.1.*', LIMIT}
- {key: k, match: {any_of: [10.1.0.1, 10.1.0.2]}, LIMIT}
- {key: k, value: 10.1.0.3, LIMIT}
",
    );
    check(
        &ruleset,
        &[
            ("10.1.0.1", Some("k_10.1.0.1|10.1.0.2")),
            ("10.1.0.2", Some("k_10.1.0.1|10.1.0.2")),
            ("10.1.0.3", Some("k_10.1.0.3")),
            ("10.1.0.4", Some("k_10.1.*")),
            ("10.2.0.4", Some("k_10.0.0.0/8")),
            ("11.2.0.4", Some("k_.")),
            ("", Some("k")),
        ],
    );
}

#[test]
fn a_matched_node_has_children_and_may_have_no_limit() {
    let ruleset = rules(
        "\
- key: k
  match: {any_of: [a, b]}
  descriptors:
  - {key: k, match: {cidr: 10.0.0.0/8}, LIMIT}
- {key: k, match: {regex: exempt}}
- {key: k, LIMIT}
",
    );
    let path = |entries: &[_]| find(&ruleset, "shop", entries).map(|rule| &*rule.path);
    assert_eq!(path(&[("k", "b"), ("k", "10.0.0.1")]), Some("shop.k_a|b.k_10.0.0.0/8"));
    assert_eq!(path(&[("k", "b"), ("k", "b")]), None);
    assert_eq!(path(&[("k", "exempted")]), None);
    assert_eq!(path(&[("k", "other")]), Some("shop.k"));
}

#[test]
fn steps_tell_what_matched_and_what_is_shared() {
    let ruleset = rules(
        "\
- {key: k, match: {any_of: [a, b]}, share_threshold: true, LIMIT}
- {key: k, match: {regex: '^x'}, value_to_metric: true, LIMIT}
",
    );
    let told = |value| {
        let mut steps = Steps::new();
        let entries = [Entry { key: "k", value }];
        ruleset.find(ruleset.domain("shop").unwrap(), &entries, &mut steps);
        let step = steps[0];
        (step.how, step.is_shared(), step.node.value_to_metric(), step.pattern("k"))
    };
    assert_eq!(told("b"), (How::Matched, true, false, "a|b"));
    assert_eq!(told("xy"), (How::Matched, false, true, "^x"));
}

#[test]
fn a_shared_counter_is_told_apart_from_a_value_that_reads_like_it() {
    let ruleset = rules(
        "\
- {key: k, match: {any_of: [a, b]}, share_threshold: true, LIMIT}
- {key: k, match: {cidr: 10.0.0.0/8}, LIMIT}
- {key: k, LIMIT}
",
    );
    let key = |value| {
        let mut request = Request::new("shop", 1);
        request.push([Entry { key: "k", value }], Terms::default());
        let plan = plan(&ruleset, &request, Timestamp::from_secs(1), &Policy::default());
        let [operation] = plan.batch.operations() else { panic!("one operation") };
        String::from_utf8(plan.batch.key(operation).to_vec()).unwrap()
    };
    assert_eq!(key("a"), "tg1:{shop:k=%ma|b}:f86400:");
    assert_eq!(key("b"), key("a"));
    assert_eq!(key("a|b"), "tg1:{shop:k=a|b}:f86400:");
    assert_eq!(key("%ma|b"), "tg1:{shop:k=%25ma|b}:f86400:");
    assert_eq!(key("10.0.0.1"), "tg1:{shop:k=10.0.0.1}:f86400:", "not shared");
}

#[test]
fn metric_paths_show_what_a_match_is_told_to() {
    let ruleset = rules(
        "\
- {key: a, match: {any_of: [x, y]}, descriptors: [{key: b, value_to_metric: true, LIMIT}]}
- {key: v, match: {any_of: [x, y]}, value_to_metric: true, LIMIT}
- {key: s, match: {any_of: [x, y]}, value_to_metric: true, share_threshold: true, LIMIT}
- {key: d, match: {any_of: [x, y]}, detailed_metric: true, LIMIT}
- {key: p, match: {any_of: [x, y]}, LIMIT}
",
    );
    let path = |entries: &[(&'static str, &'static str)]| {
        let mut request = Request::new("shop", 1);
        request.push(entries.iter().map(|&(key, value)| Entry { key, value }), Terms::default());
        let plan = plan(&ruleset, &request, Timestamp::from_secs(1), &Policy::default());
        let (rule, path, _) = plan.spending().next().unwrap();
        path.unwrap_or(&ruleset.rule(rule.unwrap()).path).to_owned()
    };
    assert_eq!(path(&[("a", "x"), ("b", "z")]), "shop.a_x|y.b_z");
    assert_eq!(path(&[("v", "x")]), "shop.v_x");
    assert_eq!(path(&[("s", "x")]), "shop.s_x|y");
    assert_eq!(path(&[("d", "x")]), "shop.d_x");
    assert_eq!(path(&[("p", "x")]), "shop.p_x|y");
}

#[test]
fn a_look_up_does_not_allocate() {
    let ruleset = rules(
        "\
- {key: k, LIMIT}
- {key: k, match: {cidr: [10.0.0.0/8, 'fd00::/8']}, LIMIT}
- {key: k, match: {any_of: [a, b]}, LIMIT}
",
    );
    let domain = ruleset.domain("shop").unwrap();
    for value in ["a", "10.1.2.3", "10.1.0.0/16", "fd00::1", "other"] {
        let mut steps = Steps::new();
        let entries = [Entry { key: "k", value }];
        let info = allocation_counter::measure(|| {
            assert!(ruleset.find(domain, &entries, &mut steps).is_some());
        });
        assert_eq!(info.count_total, 0, "{value}");
    }
}

#[test]
fn a_long_match_has_a_short_text_of_its_own() {
    let list = |last: &str| {
        let values: Vec<_> = (0..200).map(|n| format!("value-{n}")).collect();
        let limit = "rate_limit: {unit: day}";
        format!("- {{key: {last}, match: {{any_of: [{}, {last}]}}, {limit}}}\n", values.join(", "))
    };
    let ruleset = rules(&(list("a") + &list("b")));
    let paths: Vec<_> = ruleset.rules().iter().map(|rule| &rule.path["shop.a".len()..]).collect();
    assert!(paths[0].starts_with("_value-0|value-1|") && paths[0].len() < 300, "{}", paths[0]);
    assert_ne!(paths[0], paths[1]);
}

#[test]
fn a_match_repeated_through_an_alias_compiles_once() {
    let mut text = "- {key: a, match: &m {regex: '\\w+@\\w+'}, LIMIT}\n".to_owned();
    for number in 0..2000 {
        text += &format!("- {{key: k{number}, match: *m, LIMIT}}\n");
    }
    let ruleset = rules(&text);
    assert!(find(&ruleset, "shop", &[("k1999", "me@here")]).is_some());
}

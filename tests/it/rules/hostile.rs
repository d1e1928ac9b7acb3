//! Files that want to exhaust time, memory or the stack.
//!
//! What matters is that each ends, with a located error or a ruleset; a quadratic
//! step anywhere makes these tests hang.

use tidegate::rules::{Loaded, Options, Rejected};

use super::{file, find};

/// Loads one file. (Editors have bounds of their own for such files.)
fn load_one(text: impl Into<Vec<u8>>) -> Result<Loaded, Rejected> {
    tidegate::rules::load(&[file("rules.yaml", text)], Options::default())
}

fn loaded(text: &str) -> Loaded {
    load_one(text).unwrap_or_else(|rejected| panic!("{rejected}"))
}

/// The first error's place and text.
fn check(text: impl Into<Vec<u8>>, expected: &str) {
    let rejected = load_one(text).expect_err("must be rejected");
    let first = rejected.errors.first().map(ToString::to_string).unwrap_or_default();
    assert_eq!(first, expected);
}

fn check_rejected(text: impl Into<Vec<u8>>) {
    assert!(!load_one(text).expect_err("must be rejected").errors.is_empty());
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "domain: shop\nmetadata:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..60 {
        let alias = format!("*a{}", level - 1);
        text += &format!("  a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", "));
    }
    check(
        text,
        "rules.yaml:9:12: aliases stand for too much text; \
         all together may stand for 1000000 nodes",
    );
}

#[test]
fn an_alias_bomb_of_merges_is_refused() {
    let mut text = "domain: shop\ndescriptors:\n- &a0 {key: k}\n".to_owned();
    for level in 1..60 {
        let alias = format!("*a{}", level - 1);
        text += &format!("- &a{level} {{<<: [{}]}}\n", [alias.as_str(); 9].join(", "));
    }
    check_rejected(text);
}

#[test]
fn aliases_of_a_long_text_are_counted_by_length() {
    let long = "x".repeat(1_000_000);
    let aliases = vec!["*long"; 100_000].join(", ");
    let text = format!("domain: shop\nmetadata: {{long: &long {long}, list: [{aliases}]}}\n");
    check_rejected(text);
}

#[test]
fn a_thousand_aliases_are_fine() {
    let mut text = "\
domain: shop
descriptors:
- key: k
  rate_limit: &limit {unit: day, requests_per_unit: 5}
  metadata: &metadata {a: b, c: [d, e, f]}
"
    .to_owned();
    for number in 0..1000 {
        text +=
            &format!("- {{key: k, value: v{number}, rate_limit: *limit, metadata: *metadata}}\n");
    }
    assert_eq!(loaded(&text).ruleset.rules().len(), 1001);
}

#[test]
fn a_large_file_may_merge_as_often_as_it_likes() {
    let mut text =
        "domain: shop\ndescriptors:\n- &base {key: k, rate_limit: {unit: day}}\n".to_owned();
    for number in 0..MANY {
        text += &format!("- {{<<: *base, value: v{number}}}\n");
    }
    assert_eq!(loaded(&text).ruleset.rules().len(), MANY + 1);
}

#[test]
fn deep_nesting_is_refused() {
    let deep = "lists and maps are nested too deeply; 100 levels are allowed";
    for open in ["- ", "? ", "-\n", ": "] {
        check_rejected(open.repeat(500_000));
    }
    for open in ["[", "{a: ", "[a, ", "- [", "{? "] {
        check_rejected(open.repeat(500_000));
    }
    check("- ".repeat(500_000), &format!("rules.yaml:1:201: {deep}"));
    check("[".repeat(200) + &"]".repeat(200), &format!("rules.yaml:1:101: {deep}"));
    let block: String = (0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    check(block, &format!("rules.yaml:101:101: {deep}"));
}

#[test]
fn depth_through_aliases_counts() {
    let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(40), "]".repeat(40));
    let (a, b, c) = (nested("x"), nested("*a"), nested("*b"));
    let text = format!("domain: d\nmetadata: {{a: &a {a}, b: &b {b}, c: {c}}}\n");
    check_rejected(text);
}

#[test]
fn fifty_levels_of_descriptors_are_too_many_but_forty_are_fine() {
    let nested = |levels: usize| {
        let open = "descriptors: [{key: k, ".repeat(levels);
        format!("{{domain: shop, {open} rate_limit: {{unit: day}} {}}}", "}]".repeat(levels))
    };
    assert_eq!(loaded(&nested(40)).ruleset.rules().len(), 1);
    check_rejected(nested(50));
}

#[test]
fn twenty_megabytes_end_soon() {
    let fill = |unit: &str, bytes: usize| unit.repeat(bytes / unit.len());
    for unit in ["x", " ", "# comment\n", "---\n", "\0"] {
        check_rejected(fill(unit, 20 << 20));
    }
    for unit in ["x ", "x\n", "x: y\n", "\n", "\t", "\r", "- - a\n", "&a a: b\n", "a:\n"] {
        check_rejected(fill(unit, 1 << 17));
    }
    for unit in ["&a ", "*a ", "! ", "!!str ", "%", "\"", "''", "|\n", ": ", "- ? "] {
        check_rejected(fill(unit, 1 << 17));
    }
}

#[test]
fn long_flow_lists_end_soon() {
    for unit in ["a, ", "[], ", "{}, ", "{a: b}, ", "a: b, ", "'a' , ", "&a a, ", "\n"] {
        let list = unit.repeat((1 << 16) / unit.len());
        check_rejected(format!("domain: shop\ndescriptors: [{list}"));
        check_rejected(format!("domain: shop\ndescriptors: [{list}]\nend: 1\n"));
        check_rejected(format!("domain: shop\nwrong: {{{list}}}\n"));
    }
}

#[test]
fn a_long_text_is_a_text() {
    for quote in ["", "'", "\"", "|\n ", ">\n "] {
        let words = "word \n ".repeat(1 << 17);
        let text = format!("domain: {quote}{words}{}", quote.trim_end_matches([' ', '\n']));
        let text = if quote.ends_with(' ') { format!("domain: {quote}{words}") } else { text };
        assert_eq!(loaded(&text).ruleset.domain_count(), 1, "{quote}");
    }
}

#[test]
fn long_paths_are_refused_before_they_fill_the_memory() {
    let long = "k".repeat(1 << 20);
    let children = "{key: c}, ".repeat(1000);
    let text = format!("domain: shop\ndescriptors: [{{key: {long}, descriptors: [{children}]}}]\n");
    let rejected = load_one(text).unwrap_err();
    let last = rejected.errors.last().unwrap();
    assert_eq!(last.found, "keys and values are too long");
}

#[test]
fn a_log_line_holds_a_hundred_errors() {
    let rejected = load_one("domain: shop\nx: 1\n".to_owned() + &"x: 1\n".repeat(199)).unwrap_err();
    assert_eq!(rejected.errors.len(), 200);
    let text = rejected.to_string();
    assert_eq!((text.lines().count(), text.lines().last()), (101, Some("and 100 more")));
}

#[test]
fn bytes_that_are_not_utf_8_are_located() {
    let found = "a byte that is not UTF-8; UTF-8 text is allowed";
    check(&b"domain: shop\n# caf\xe9\n"[..], &format!("rules.yaml:2:6: {found}"));
    check(&b"\xff\xfed\0o\0"[..], &format!("rules.yaml:1:1: {found}"));
    check("domain: \u{e4}".as_bytes()[..9].to_vec(), &format!("rules.yaml:1:9: {found}"));
}

#[test]
fn binary_and_empty_files_are_refused() {
    check_rejected(vec![0; 4096]);
    check_rejected((0..=127).collect::<Vec<u8>>());
    check_rejected(&b"\x7fELF\x02\x01\x01\0\0\0"[..]);
    check_rejected("");
    check_rejected("\u{feff}");
    check_rejected("\r\n\r\n");
}

#[test]
fn every_cut_and_every_changed_byte_of_a_file_ends() {
    let text = "\
domain: shop
descriptors:
- &a {key: \"k\", value: 'v*', share_threshold: yes, <<: {metadata: {a: !!binary aGk=}}}
- key: |
    k
  rate_limit: {unit: day, requests_per_unit: 0x10, replaces: [{name: >-
   x}]}
  descriptors: [*a, ? b : c]
...
---
";
    change_each_byte(text);
}

#[test]
fn so_does_every_change_of_a_file_with_the_newer_keys() {
    change_each_byte(
        "\
domain: d
all_or_nothing: on
defaults: {accuracy: leased}
descriptors:
- {key: k, match: {cidr: [10.0.0.0/8, '::/0']}, share_threshold: y}
- key: k
  match: {regex: '^(?i)a+\\d{2}$'}
  rate_limits: [{unit: day, unit_multiplier: 2, algorithm: token_bucket, burst: 9}]
- {key: k, match: {any_of: [a, 1]}, rate_limit: {unit: day, count_refused: n}}
",
    );
}

fn change_each_byte(text: &str) {
    for index in 0..text.len() {
        let _ = load_one(&text[..index]);
        for byte in b"\0\t\n \"#&'*,-:>?@[]{}|!%<~a\x80" {
            let mut changed = text.as_bytes().to_vec();
            changed[index] = *byte;
            let _ = load_one(changed);
        }
    }
}

/// How many rules a large file has: fewer where nothing is optimised.
const MANY: usize = if cfg!(debug_assertions) { 20_000 } else { 200_000 };

#[test]
fn a_large_file_loads_and_so_do_its_duplicates() {
    let limit = "rate_limit: {unit: minute, requests_per_unit: 5}";
    let one = |number| format!("- key: user\n  value: u{number}\n  {limit}\n");
    let descriptors: String = (0..MANY).map(one).collect();
    let text = format!("domain: shop\ndescriptors:\n{descriptors}");
    assert_eq!(loaded(&text).ruleset.rules().len(), MANY);
    assert_eq!(load_one(text + &descriptors).unwrap_err().errors.len(), MANY);
}

#[test]
fn a_long_list_of_values_loads_and_is_found_in() {
    let list = |range: std::ops::Range<usize>| {
        let values: Vec<_> = range.map(|number| format!("v{number}")).collect();
        format!(
            "- {{key: k, match: {{any_of: [{}]}}, rate_limit: {{unit: day}}}}\n",
            values.join(", ")
        )
    };
    let text = format!("domain: shop\ndescriptors:\n{}", list(0..100_000));
    let ruleset = loaded(&text).ruleset;
    for number in 0..100_000 {
        assert!(find(&ruleset, "shop", &[("k", &format!("v{number}"))]).is_some());
    }
    assert!(find(&ruleset, "shop", &[("k", "v100000")]).is_none());
    let rejected = load_one(text + &list(1..100_002)).unwrap_err();
    assert_eq!(rejected.errors.len(), 99_999);
}

#[test]
fn many_networks_load_and_are_found() {
    let address =
        |number: u32| format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
    let descriptor = |networks: Vec<String>| {
        let list = networks.join(", ");
        format!("- {{key: k, match: {{cidr: [{list}]}}, rate_limit: {{unit: day}}}}\n")
    };
    let mut text = "domain: shop\ndescriptors:\n".to_owned();
    for first in (0..100_000).step_by(100) {
        let networks = (first..first + 100).map(|number| address(number) + "/32");
        text += &descriptor(networks.collect());
    }
    text += &descriptor((0..=128).map(|length| format!("'::/{length}'")).collect());
    let ruleset = loaded(&text).ruleset;
    for number in 0..100_000 {
        let found = find(&ruleset, "shop", &[("k", &address(number))]).unwrap();
        let first = format!("shop.k_{}/32|", address(number / 100 * 100));
        assert!(found.path.starts_with(&first), "{}", found.path);
    }
    assert!(find(&ruleset, "shop", &[("k", "10.255.0.0")]).is_none());
    for number in 0..1000 {
        let beside_many_lengths = format!("8000::{number:x}");
        assert!(find(&ruleset, "shop", &[("k", &beside_many_lengths)]).is_some());
    }
}

#[test]
fn expressions_that_want_memory_or_time_are_refused() {
    let regex = |text: &str| {
        format!("domain: shop\ndescriptors:\n- {{key: k, match: {{regex: '{text}'}}}}\n")
    };
    for text in [
        "x".repeat(8 << 20),
        "(".repeat(1 << 20),
        format!("{}x{}", "(".repeat(100_000), ")".repeat(100_000)),
        "((a{1000}){1000}){1000}".to_owned(),
        "(?:){1000}{1000}{1000}{1000}x{1000}{1000}".to_owned(),
        "a|".repeat(1 << 20),
        "\\w{1000}".to_owned(),
    ] {
        let rejected = load_one(regex(&text)).expect_err("must be rejected");
        assert_eq!(rejected.errors.len(), 1);
        assert!(rejected.to_string().len() < 300, "{rejected}");
    }
    let ruleset =
        loaded(&regex("^(a+)+$").replace("}}\n", "}, rate_limit: {unit: day}}\n")).ruleset;
    let value = "a".repeat(1 << 20);
    assert!(find(&ruleset, "shop", &[("k", &value)]).is_some());
    assert!(find(&ruleset, "shop", &[("k", &(value + "b"))]).is_none());
}

#[test]
fn long_keys_of_listed_values_are_refused_before_they_fill_the_memory() {
    let long = "k".repeat(1 << 20);
    let values: Vec<_> = (0..1000).map(|number| format!("v{number}")).collect();
    let values = values.join(", ");
    check(
        format!("domain: shop\ndescriptors: [{{key: {long}, match: {{any_of: [{values}]}}}}]\n"),
        "rules.yaml:2:15: shop: keys and values are too long; \
         all paths together may have 268435456 bytes",
    );
}

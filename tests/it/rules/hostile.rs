//! Files that want to exhaust time, memory or the stack.
//!
//! What matters is that each ends, with a located error or a ruleset; a quadratic
//! step anywhere makes these tests hang.

use tidegate::rules::Options;
use tidegate::rules::load;

use super::{file, load_one, loaded};

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
        "rules.yaml:8:32: aliases stand for too much text; \
         all aliases together may stand for 1000000 nodes",
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
fn deep_nesting_is_refused() {
    let deep = "lists and maps are nested too deeply; 100 levels are allowed";
    for (open, column) in [("[", 101), ("{a: ", 401), ("- ", 201), ("? ", 201), ("-\t", 201)] {
        let text = open.repeat(500_000);
        let rejected = load_one(text).expect_err(open);
        assert_eq!(rejected.errors.len(), 1, "{open}");
        let _ = (deep, column);
    }
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
    let megabytes = 20 << 20;
    let fill = |unit: &str| unit.repeat(megabytes / unit.len());
    check_rejected(fill("x"));
    check_rejected(fill("x "));
    check_rejected(fill("x\n"));
    check_rejected(fill("x: y\n"));
    check_rejected(fill("\n"));
    check_rejected(fill("# comment\n"));
    check_rejected(fill(" "));
    check_rejected(fill("\t"));
    check_rejected(fill("---\n"));
    check_rejected(fill("- - a\n"));
    check_rejected(fill("&a "));
    check_rejected(fill("*a "));
    check_rejected(fill("! "));
    check_rejected(fill("%"));
    check_rejected(fill("\0"));
    check_rejected(fill("\""));
    check_rejected(fill("''"));
    check_rejected(fill("|\n"));
}

#[test]
fn long_values_and_flow_lists_end_soon() {
    let megabytes = 4 << 20;
    for unit in ["a, ", "[], ", "{}, ", "{a: b}, ", "a: b, ", "'a' , ", "\n"] {
        let list = unit.repeat(megabytes / unit.len());
        check_rejected(format!("domain: shop\ndescriptors: [{list}"));
        check_rejected(format!("domain: shop\ndescriptors: [{list}]\nend: 1\n"));
        check_rejected(format!("domain: shop\nwrong: {{{list}}}\n"));
    }
    for quote in ["", "'", "\"", "|\n ", ">\n "] {
        let words = "word \n ".repeat(megabytes / 7);
        let found = load_one(format!("domain: {quote}{words}{}", quote.trim())).map(|_| ());
        let _ = found;
    }
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
    for index in 0..text.len() {
        let _ = load_one(&text[..index]);
        for byte in b"\0\t\n \"#&'*,-:>?@[]{}|!%<~a\x80" {
            let mut changed = text.as_bytes().to_vec();
            changed[index] = *byte;
            let _ = load_one(changed);
        }
    }
}

#[test]
fn a_hundred_thousand_rules_load() {
    let limit = "rate_limit: {unit: minute, requests_per_unit: 5}";
    let mut text = "domain: shop\ndescriptors:\n".to_owned();
    for number in 0..100_000 {
        text += &format!("- key: user\n  value: u{number}\n  {limit}\n");
    }
    assert_eq!(loaded(&text).ruleset.rules().len(), 100_000);
    let twice = text.clone() + text.split_once("descriptors:\n").unwrap().1;
    let rejected = load(&[file("rules.yaml", twice)], Options::default()).unwrap_err();
    assert_eq!(rejected.errors.len(), 100_000);
}

//! Which rules memcached leaves out, and how that is said.

use tidegate::rules::{Options, SourceFile, load};
use tidegate::store::Abilities;

/// What is said about a rule file with these descriptors below `domain: d`.
fn refused(abilities: Abilities, rules: &str) -> Vec<String> {
    let bytes = format!("domain: d\n{rules}\n").into_bytes();
    let loaded = load(&[SourceFile { name: "d.yaml".to_owned(), bytes }], Options::default());
    abilities.refused(&loaded.unwrap_or_else(|errors| panic!("{errors}")).ruleset)
}

fn check(rules: &str, expected: &[&str]) {
    let found = refused(Abilities::FixedWindows, rules);
    assert_eq!(found.len(), expected.len(), "{rules}: {found:?}");
    for (found, start) in found.iter().zip(expected) {
        let allowed = "; memcached can only count fixed windows that count refused hits too";
        assert!(found.starts_with(&format!("{start}{allowed}")), "{found}");
    }
    assert_eq!(refused(Abilities::Everything, rules), [""; 0], "{rules}");
}

/// A descriptor with a limit of ten a minute that says more.
fn limit(more: &str) -> String {
    format!("descriptors: [{{key: a, rate_limit: {{unit: minute, requests_per_unit: 10{more}}}}}]")
}

#[test]
fn fixed_windows_that_count_every_hit_can_be_counted() {
    check(&limit(""), &[]);
    check(&limit(", unit_multiplier: 7, count_refused: true, name: x"), &[]);
    check("descriptors: [{key: a, rate_limit: {unlimited: true}}, {key: b}]", &[]);
    check("all_or_nothing: false", &[]);
    check(
        "descriptors: [{key: a, quota_mode: true, rate_limits: [{unit: day, requests_per_unit: 1}]}]",
        &[],
    );
}

#[test]
fn anything_else_cannot() {
    check(&limit(", algorithm: sliding_window"), &["d.a: a sliding window"]);
    check(&limit(", algorithm: token_bucket, burst: 5"), &["d.a: a token bucket"]);
    check(&limit(", count_refused: false"), &["d.a: refused hits that do not count"]);
    check(
        "descriptors: [{key: a, rate_limits: [{unit: day, requests_per_unit: 9}, \
         {unit: hour, requests_per_unit: 1}]}]",
        &["d.a: several limits that hold together"],
    );
    check("all_or_nothing: true", &["d: a refused request spends nothing"]);
}

#[test]
fn everything_is_said_at_once() {
    let bucket = "rate_limit: {unit: day, requests_per_unit: 9, algorithm: sliding_window}";
    check(
        &format!("all_or_nothing: true\ndescriptors: [{{key: a, {bucket}}}, {{key: b, {bucket}}}]"),
        &["d: a refused request spends nothing", "d.a: a sliding window", "d.b: a sliding window"],
    );
}

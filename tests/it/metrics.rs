//! The metrics page: valid whatever requests hold, and bounded.

mod mapping;
mod page;
mod rulings;
mod scrape;
mod statsd;

use std::collections::HashSet;

use tidegate::app::Core;
use tidegate::clock::Clock;
use tidegate::limiter::{Request, Terms};
use tidegate::rules::{Entry, SourceFile};
use tidegate::settings::Settings;
use tidegate::sources::files::{FileSet, SourceError};
use tidegate::store::memory::MemoryStore;
use tidegate::telemetry::Call;

use crate::support::stores;

const OWN: &str = "tidegate_metric_paths";

const RULES: &str = "domain: shop
descriptors:
- key: user
  value_to_metric: true
  rate_limit: {unit: year, requests_per_unit: 5}
";

fn core(max_paths: &str) -> Core<MemoryStore> {
    core_with(&[("TIDEGATE_MAX_METRIC_PATHS", max_paths)])
}

fn core_with(environment: &[(&str, &str)]) -> Core<MemoryStore> {
    let lookup = |name: &str| {
        let variable = environment.iter().find(|(key, _)| *key == name);
        variable.map(|(_, value)| (*value).to_owned())
    };
    let settings = Settings::from_lookup(&lookup, &[]).unwrap();
    let core = Core::new(&settings, stores::memory(), Clock::System);
    load(&core, RULES);
    core
}

fn load(core: &Core<MemoryStore>, rules: &str) {
    let file = SourceFile { name: "rules.yaml".to_owned(), bytes: rules.as_bytes().to_vec() };
    core.reloader.apply(Ok(FileSet { files: vec![file], warnings: Vec::new() }));
}

/// The page with the names of the settings.
fn page(core: &Core<MemoryStore>) -> String {
    let mut page = core.front.service.metrics.page();
    core.front.service.render(&mut page);
    page.render()
}

async fn hit(core: &Core<MemoryStore>, domain: &str, value: &str) {
    let mut request = Request::new(domain, 1);
    request.push([Entry { key: "user", value }], Terms::default());
    core.front.service.check(&request, &mut Call::unheard()).await.unwrap();
}

/// The samples of the page, each series at most once.
fn samples(core: &Core<MemoryStore>) -> Vec<(String, f64)> {
    let text = page(core);
    check_page(&text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples: Vec<_> = lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
        .collect();
    let distinct: HashSet<_> = samples.iter().map(|(series, _)| series).collect();
    assert_eq!(distinct.len(), samples.len(), "{text}");
    samples
}

fn value(core: &Core<MemoryStore>, series: &str) -> f64 {
    let samples = samples(core);
    samples.iter().find(|(name, _)| name == series).unwrap_or_else(|| panic!("{samples:#?}")).1
}

/// What the parser of Prometheus demands: families in one block each, `HELP` and `TYPE`
/// first, only samples of that family in it, well-formed labels.
fn check_page(text: &str) {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
    };
    let mut families: Vec<&str> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (family, help) = line.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(is_name(family) && !help.is_empty(), "{line}");
        families.push(family);
        let typed = lines.next().unwrap().strip_prefix(&format!("# TYPE {family} ")).unwrap();
        assert!(["counter", "gauge", "histogram"].contains(&typed), "{family} {typed}");
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let suffixes: &[&str] = match typed {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.iter().any(|s| name == format!("{family}{s}")), "{family}: {line}");
            check_labels(labels.strip_suffix('}').unwrap());
        }
    }
    assert!(families.is_sorted_by(|one, next| one < next), "{families:?}");
}

fn check_labels(mut labels: &str) {
    let mut names = HashSet::new();
    while !labels.is_empty() {
        let (name, rest) = labels.split_once("=\"").unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{name}");
        assert!(names.insert(name), "{name} twice");
        let mut escaped = false;
        let end = rest.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        let rest = &rest[end.unwrap() + 1..];
        labels = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn total(labels: &str) -> String {
    format!("ratelimit_service_rate_limit_total_hits{{{labels}}}")
}

const OVERFLOW: &str = r#"domain="tidegate_overflow",key1="tidegate_overflow""#;

#[tokio::test]
async fn values_beyond_the_bound_go_to_one_series() {
    let core = core("3");
    for i in 0..50 {
        hit(&core, "shop", &format!("u{i}")).await;
        hit(&core, "shop", "u0").await;
    }
    assert_eq!(value(&core, &total(r#"domain="shop",key1="user_u0""#)), 51.0);
    assert_eq!(value(&core, &total(r#"domain="shop",key1="user_u2""#)), 1.0);
    assert_eq!(value(&core, &total(OVERFLOW)), 47.0);
}

#[tokio::test]
async fn long_values_do_not_become_series() {
    let core = core("1000");
    hit(&core, "shop", &"x".repeat(10_000)).await;
    assert_eq!(value(&core, &total(OVERFLOW)), 1.0);
}

#[tokio::test]
async fn odd_values_are_escaped() {
    let core = core("1000");
    hit(&core, "shop", "a\"b\\c\nd|e:f 10.0.0.1").await;
    let labels = r#"domain="shop",key1="user_a\"b\\c\nd_e_f 10_0_0_1""#;
    assert_eq!(value(&core, &total(labels)), 1.0);
}

#[tokio::test]
async fn unknown_domains_are_bounded_and_never_collide() {
    let core = core("1000");
    for domain in ["a-b", "a_b", "a.b", "é", "è"] {
        hit(&core, domain, "x").await;
    }
    let series = |name: &str| format!("ratelimit_service_rate_limit_{name}_domain_not_found");
    assert_eq!(value(&core, &series("a_b")), 3.0);
    assert_eq!(value(&core, &series("_")), 2.0);
    for i in 0..300 {
        hit(&core, &format!("d{i}"), "x").await;
    }
    hit(&core, &"y".repeat(5_000), "x").await;
    // Five names are taken.
    assert_eq!(value(&core, &series("tidegate_overflow")), 206.0);
}

#[tokio::test]
async fn a_hundred_thousand_values_fit_a_page_of_a_megabyte() {
    const VALUES: usize = 100_000;
    const TOTAL: &str = "ratelimit_service_rate_limit_total_hits{";
    let core = core_with(&[]);
    for i in 0..VALUES {
        hit(&core, "shop", &format!("customer-{i:08x}")).await;
    }
    let text = page(&core);
    assert!(text.len() < 1_000_000, "{} bytes", text.len());
    let samples = samples(&core);
    let totals = samples.iter().filter(|(name, _)| name.starts_with(TOTAL));
    let totals: Vec<f64> = totals.map(|(_, value)| *value).collect();
    assert_eq!(totals.iter().sum::<f64>(), VALUES as f64);
    // A thousand values and the rest.
    assert_eq!(totals.len(), 1001);
    assert_eq!(value(&core, &total(OVERFLOW)), (VALUES - 1000) as f64);
    assert_eq!(value(&core, "tidegate_metric_paths_overflow_total"), (VALUES - 1000) as f64);
    // The path of the rule is held, too.
    assert_eq!(value(&core, OWN), 1001.0);
}

#[tokio::test]
async fn long_values_cost_more_than_short_ones() {
    let core = core_with(&[]);
    for i in 0..2000 {
        hit(&core, "shop", &format!("{}{i:08}", "\"".repeat(400))).await;
    }
    let text = page(&core);
    assert!(text.len() < 1_000_000, "{} bytes", text.len());
    assert!(value(&core, OWN) < 200.0);
}

#[tokio::test]
async fn ever_new_rules_do_not_grow_the_page() {
    let core = core("10");
    let rules = |round: usize| {
        let limit = "rate_limit: {unit: hour, requests_per_unit: 9}";
        let mut text =
            format!("domain: shop\ndescriptors:\n- {{key: user, value: kept, {limit}}}\n");
        for i in 0..20 {
            text += &format!("- {{key: user, value: r{round}x{i}, {limit}}}\n");
        }
        text + "- {key: other, value_to_metric: true, rate_limit: {unit: hour, requests_per_unit: 9}}\n"
    };
    for round in 0..30 {
        load(&core, &rules(round));
        hit(&core, "shop", "kept").await;
        for i in 0..20 {
            hit(&core, "shop", &format!("r{round}x{i}")).await;
        }
        let held = value(&core, OWN);
        assert!(held <= 2.0 * 22.0 + 10.0, "round {round}: {held}");
    }
    // What exists before and after a reload goes on counting.
    assert_eq!(value(&core, &total(r#"domain="shop",key1="user_kept""#)), 30.0);
    // What is gone is shown until the reload after.
    let shown = |round: usize| {
        let name = total(&format!(r#"domain="shop",key1="user_r{round}x0""#));
        samples(&core).iter().any(|(series, _)| *series == name)
    };
    assert_eq!([27, 28, 29].map(shown), [false, true, true]);
}

#[tokio::test]
async fn values_that_nobody_sends_any_more_make_room_at_a_reload() {
    let core = core("2");
    hit(&core, "shop", "a").await;
    hit(&core, "shop", "b").await;
    hit(&core, "shop", "c").await;
    assert_eq!(value(&core, &total(OVERFLOW)), 1.0);
    // Both were counted since the reload before.
    load(&core, RULES);
    hit(&core, "shop", "b").await;
    load(&core, RULES);
    hit(&core, "shop", "c").await;
    hit(&core, "shop", "b").await;
    assert_eq!(value(&core, &total(r#"domain="shop",key1="user_c""#)), 1.0);
    assert_eq!(value(&core, &total(r#"domain="shop",key1="user_b""#)), 3.0);
    assert_eq!(value(&core, &total(OVERFLOW)), 1.0);
}

#[tokio::test]
async fn extra_tags_are_labels_of_what_the_reference_has() {
    let core = core_with(&[("EXTRA_TAGS", "zone:eu-1,a-b:c.d,domain:never,le:never,empty:")]);
    hit(&core, "shop", "u").await;
    let labels = r#"domain="shop",key1="user_u",a_b="c_d",zone="eu-1""#;
    assert_eq!(value(&core, &total(labels)), 1.0);
    let loads = r#"ratelimit_service_config_load_success{a_b="c_d",domain="never",zone="eu-1"}"#;
    assert_eq!(value(&core, loads), 1.0);
    assert_eq!(value(&core, OWN), 2.0);
}

#[tokio::test]
async fn attempts_to_read_rules_are_counted() {
    let core = core("10");
    core.reloader.apply::<FileSet>(Err(SourceError::Missing("/nowhere".into())));
    assert_eq!(value(&core, "runtime_load_attempts"), 2.0);
    assert_eq!(value(&core, "runtime_load_failures"), 1.0);
    assert_eq!(value(&core, "runtime_num_values"), 1.0);
    assert_eq!(value(&core, "ratelimit_service_config_load_error"), 1.0);
}

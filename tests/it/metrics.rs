//! The metrics page: valid whatever requests hold, and bounded.

use std::collections::HashSet;

use tidegate::app::Core;
use tidegate::clock::Clock;
use tidegate::limiter::{Request, Terms};
use tidegate::rules::{Entry, SourceFile};
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::store::memory::MemoryStore;
use tidegate::telemetry::Page;

use crate::support::stores;

const RULES: &str = "domain: shop
descriptors:
- key: user
  value_to_metric: true
  rate_limit: {unit: year, requests_per_unit: 5}
";

fn core(max_paths: &str) -> Core<MemoryStore> {
    let lookup = |name: &str| (name == "TIDEGATE_MAX_METRIC_PATHS").then(|| max_paths.to_owned());
    let settings = Settings::from_lookup(&lookup, &[]).unwrap();
    let core = Core::new(&settings, stores::memory(), Clock::System);
    let file = SourceFile { name: "rules.yaml".to_owned(), bytes: RULES.as_bytes().to_vec() };
    core.reloader.apply(Ok(FileSet { files: vec![file], warnings: Vec::new() }));
    core
}

async fn hit(core: &Core<MemoryStore>, domain: &str, value: &str) {
    let mut request = Request::new(domain, 1);
    request.push([Entry { key: "user", value }], Terms::default());
    core.front.service.check(&request).await.unwrap();
}

/// The samples of the page, each series at most once.
fn samples(core: &Core<MemoryStore>) -> Vec<(String, f64)> {
    let mut page = Page::default();
    core.front.service.metrics.render(&mut page);
    let text = page.render();
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
    assert_eq!(value(&core, &series("tidegate_overflow")), 203.0);
}

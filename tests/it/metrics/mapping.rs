//! The page under a mapping file such as Envoy Gateway mounts.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use tidegate::telemetry::{CacheStats, Mapping, Naming, Page, PoolStats, Snapshot, families};

use super::{check_page, core_with, hit, page};

/// A file that says what Envoy Gateway's says: paths of one and two keys, errors, calls,
/// loads, and nothing else.
fn gateway() -> String {
    let mut text = String::from("mappings:\n");
    let mut rule = |matched: &str, name: &str, labels: &[&str]| {
        let _ =
            write!(text, "- match: \"{matched}\"\n  name: \"{name}\"\n  timer_type: histogram\n");
        let labels = labels.iter().enumerate().map(|(i, l)| format!("    {l}: \"${}\"\n", i + 1));
        let labels: String = labels.collect();
        if !labels.is_empty() {
            let _ = write!(text, "  labels:\n{labels}");
        }
    };
    for family in ["near_limit", "over_limit", "total_hits", "within_limit"] {
        let name = format!("ratelimit_service_rate_limit_{family}");
        let dotted = |stars: &str| format!("ratelimit.service.rate_limit.{stars}.{family}");
        rule(&dotted("*.*"), &name, &["domain", "key1"]);
        rule(&dotted("*.*.*"), &name, &["domain", "key1", "key2"]);
    }
    let errors = "ratelimit_service_should_rate_limit_error";
    rule("ratelimit.service.call.should_rate_limit.*", errors, &["err_type"]);
    let calls = "ratelimit_service_total_requests";
    rule("ratelimit_server.*.total_requests", calls, &["grpc_method"]);
    let times = "ratelimit_service_response_time_seconds";
    rule("ratelimit_server.*.response_time", times, &["grpc_method"]);
    for load in ["config_load_success", "config_load_error"] {
        rule(&format!("ratelimit.service.{load}"), &format!("ratelimit_service_{load}"), &[]);
    }
    text + "- match: \".\"\n  match_type: regex\n  action: drop\n  name: dropped\n"
}

/// The lines of a page that name a series of the reference.
fn series(text: &str) -> BTreeSet<String> {
    check_page(text);
    let lines =
        text.lines().filter(|line| line.starts_with("ratelimit") || line.contains("runtime"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_names_of_envoy_gateway_are_those_built_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("conf.yaml");
    std::fs::write(&file, gateway()).unwrap();
    let mapped = core_with(&[("PROMETHEUS_MAPPER_YAML", file.to_str().unwrap())]);
    let built_in = core_with(&[]);
    for core in [&mapped, &built_in] {
        for _ in 0..7 {
            hit(core, "shop", "u").await;
        }
        hit(core, "elsewhere", "u").await;
    }
    let (mapped, built_in) = (series(&page(&mapped)), series(&page(&built_in)));
    assert!(mapped.len() > 20, "{mapped:#?}");
    assert!(mapped.is_subset(&built_in), "{mapped:#?} {built_in:#?}");
    // It drops what it does not name.
    let dropped = built_in.difference(&mapped);
    for line in dropped.filter(|line| !line.starts_with('#')) {
        let unnamed = ["domain_not_found", "global_shadow_mode", "runtime_"];
        assert!(unnamed.iter().any(|part| line.contains(part)), "{line}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_leaves_the_names_built_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("conf.yaml");
    std::fs::write(&file, "mappings: [{match: x}]").unwrap();
    for path in [file.to_str().unwrap(), "/nowhere/conf.yaml"] {
        let core = core_with(&[("PROMETHEUS_MAPPER_YAML", path)]);
        hit(&core, "shop", "u").await;
        let name = r#"ratelimit_service_rate_limit_total_hits{domain="shop",key1="user_u"} 1"#;
        assert!(series(&page(&core)).contains(name));
    }
}

fn render(naming: Naming, snapshot: &Snapshot) -> BTreeSet<String> {
    let mut page = Page::new(naming.into());
    page.take(snapshot);
    let text = page.render();
    check_page(&text);
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn what_the_cache_refused_is_counted_twice_for_two_keys_as_there() {
    let mut snapshot = Snapshot::default();
    for (path, over) in [("shop.a", 1), ("shop.a.b", 2), ("shop.a.b.c", 3)] {
        snapshot.add_part(&families::OVER_LIMIT, path.into(), over + 10);
        snapshot.add_part(&families::OVER_LIMIT_FROM_CACHE, path.into(), over);
    }
    let over = "ratelimit_service_rate_limit_over_limit";
    let expected = [
        r#"ratelimit_service_rate_limit_shop_a_over_limit_with_local_cache 1"#.to_owned(),
        format!(r#"{over}{{domain="shop",key1="a"}} 11"#),
        format!(r#"{over}{{domain="shop",key1="a",key2="b"}} 30"#),
    ];
    assert_eq!(render(Naming::default(), &snapshot), BTreeSet::from(expected));
}

#[test]
fn pools_and_caches_have_the_names_they_had() {
    let mut snapshot = Snapshot::default();
    PoolStats { active: 2, opened: 5 }.read("redis_pool", &mut snapshot);
    PoolStats { active: 1, opened: 1 }.read("redis_per_second_pool", &mut snapshot);
    CacheStats { entries: 4, evicted: 1, ..CacheStats::default() }.read(&mut snapshot);
    let lines = render(Naming::default(), &snapshot);
    for line in [
        "ratelimit_redis_pool_cx_active 2",
        "ratelimit_redis_pool_cx_total 5",
        "ratelimit_redis_pool_cx_local_close 3",
        "ratelimit_redis_per_second_pool_cx_local_close 0",
        "ratelimit_localcache_entryCount 4",
        "ratelimit_localcache_evacuateCount 1",
    ] {
        assert!(lines.contains(line), "{line}: {lines:#?}");
    }
}

#[test]
fn kinds_do_not_mix_under_one_name() {
    let mapping = Mapping::parse("mappings: [{match: ., match_type: regex, name: all}]").unwrap();
    let naming = Naming::new(Some(mapping), Default::default(), Default::default());
    let mut snapshot = Snapshot::default();
    PoolStats { active: 2, opened: 5 }.read("redis_pool", &mut snapshot);
    snapshot.add(&families::CONFIG_LOADED, 1);
    // The gauge comes first.
    assert_eq!(render(naming, &snapshot), BTreeSet::from(["all 2".to_owned()]));
}

#[tokio::test]
async fn buckets_of_response_times_are_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("conf.yaml");
    let rule = "mappings: [{match: ratelimit_server.*.response_time, name: took_$1, \
                scale: 1000, histogram_options: {buckets: [7, 1]}}]";
    std::fs::write(&file, rule).unwrap();
    let core = core_with(&[("PROMETHEUS_MAPPER_YAML", file.to_str().unwrap())]);
    drop(core.front.service.metrics.time_health_check());
    let text = page(&core);
    check_page(&text);
    for line in ["took_Check_bucket{le=\"1\"}", "took_Check_bucket{le=\"7\"}", "took_Check_count 1"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("response_time_seconds"));
}

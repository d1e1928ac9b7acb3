//! The page of real servers and what is declared of it: the same, in every format.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use prost::Message as _;
use tidegate::telemetry::own::{self, Own};
use tidegate::tls::ClientTls;
use tidegate::wire::pb::io::prometheus::client::{Histogram, MetricFamily, MetricType};
use tidegate::wire::pb::ratelimit::config::ratelimit::v3::RateLimitConfig;

use crate::support::certs::Authority;
use crate::support::clients::{Client, get, post};
use crate::support::memcached::MemcachedServer;
use crate::support::process::Tidegate;
use crate::support::redis::RedisServer;
use crate::support::xds::Management;

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
- key: leased
  rate_limit: {unit: year, requests_per_unit: 100, count_refused: false, accuracy: leased}
";

/// The rules that the others of its kind have.
const EXACT: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
";

const ACCEPT: &str = "application/vnd.google.protobuf;\
    proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.8,text/plain;q=0.5";

fn declared() -> impl Iterator<Item = &'static Own> {
    own::ALL.iter().flat_map(|group| group.families).copied()
}

/// A family of the text format: its kind, what it says, and the labels of each series.
#[derive(Debug, Default)]
struct Shown {
    kind: String,
    help: String,
    labels: BTreeSet<Vec<String>>,
}

/// The families of a page, of whose well-formedness others take care.
fn shown(text: &str) -> BTreeMap<String, Shown> {
    let mut families: BTreeMap<String, Shown> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            current = name.to_owned();
            families.entry(current.clone()).or_default().help = help.to_owned();
        } else if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            families.get_mut(&current).unwrap().kind = kind.to_owned();
        } else {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let labels = series.split_once('{').map_or("", |(_, labels)| labels);
            let names =
                labels.split("=\"").map(|part| part.rsplit([',', '{', '"']).next().unwrap());
            let mut names: Vec<String> = names.map(str::to_owned).collect();
            names.pop();
            names.retain(|name| name != "le");
            families.get_mut(&current).unwrap().labels.insert(names);
        }
    }
    families
}

fn is_own(name: &str) -> bool {
    name.starts_with("tidegate_") || name.starts_with("process_")
}

/// Everything own on the page is declared, and as it is declared.
fn check_declared(families: &BTreeMap<String, Shown>) {
    for (name, Shown { kind, help, labels }) in families.iter().filter(|(name, _)| is_own(name)) {
        let own = declared().find(|own| own.name == name);
        let own = own.unwrap_or_else(|| panic!("{name} is not declared"));
        assert_eq!((own.kind.name(), own.help), (&**kind, &**help), "{name}");
        let expected: Vec<String> = own.labels.iter().map(|label| (*label).to_owned()).collect();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [&expected], "{name}");
    }
    for name in families.keys().filter(|name| !is_own(name)) {
        let known = ["ratelimit_", "runtime_", "certs_"];
        assert!(known.iter().any(|known| name.starts_with(known)), "{name}");
    }
}

async fn load(client: &Client) {
    for _ in 0..4 {
        for (key, value) in [("user", "alice"), ("leased", "bob"), ("nothing", "")] {
            client.hit(key, value).await.expect("a decision");
        }
    }
}

/// With Redis, over TLS; whoever asks goes on to see it.
async fn redis() -> (Tidegate, RedisServer) {
    let (authority, redis) = (Authority::new(), RedisServer::start_tcp());
    let identity = authority.issue("server", &["127.0.0.1"]);
    let tidegate = Tidegate::with_rules(RULES)
        .redis(&redis)
        .env("GRPC_SERVER_USE_TLS", "true")
        .env("GRPC_SERVER_TLS_CERT", identity.certificate.display())
        .env("GRPC_SERVER_TLS_KEY", identity.key.display())
        .env("LOCAL_CACHE_SIZE_IN_BYTES", 1_000_000)
        .env("TIDEGATE_STORE_TIMEOUT", "5s")
        .start();
    let tls = ClientTls { ca: Some(authority.ca()), ..ClientTls::default() };
    load(&Client::connect_tls(tidegate.grpc(), &tls).await.unwrap()).await;
    (tidegate, redis)
}

async fn memcached() -> (Tidegate, MemcachedServer) {
    let server = MemcachedServer::start_tcp();
    let tidegate = Tidegate::with_rules(EXACT)
        .env("BACKEND_TYPE", "memcache")
        .env("MEMCACHE_HOST_PORT", server.address())
        .env("TIDEGATE_STORE_TIMEOUT", "5s")
        .start();
    load(&Client::connect(tidegate.grpc()).await).await;
    (tidegate, server)
}

/// In memory, with rules over xDS.
async fn memory() -> (Tidegate, Management) {
    let mut server = Management::start().await;
    let tidegate = Tidegate::with_rules("domain: none")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .env("CONFIG_TYPE", "GRPC_XDS_SOTW")
        .env("CONFIG_GRPC_XDS_SERVER_URL", server.address())
        .start_unready();
    let mut stream = server.stream().await;
    stream.request().await;
    let domain = "shop".to_owned();
    let rules = RateLimitConfig { name: domain.clone(), domain, ..RateLimitConfig::default() };
    stream.send("1", "a", &[rules]).await;
    stream.request().await;
    tidegate.wait_ready();
    load(&Client::connect(tidegate.grpc()).await).await;
    (tidegate, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_series_is_declared_and_every_declaration_has_a_series() {
    let (redis, _server) = redis().await;
    let (memcached, _memcached) = memcached().await;
    let (memory, _management) = memory().await;
    let mut all = BTreeSet::new();
    for tidegate in [&redis, &memcached, &memory] {
        let families = shown(&tidegate.get("/metrics").text());
        check_declared(&families);
        all.extend(families.into_keys().filter(|name| is_own(name)));
    }
    let declared: BTreeSet<String> = declared().map(|own| own.name.to_owned()).collect();
    assert_eq!(all, declared);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_series_of_redis_tell_what_was_sent() {
    let (tidegate, _server) = redis().await;
    let page = tidegate.get("/metrics").text();
    let sum = |prefix: &str| -> f64 {
        let lines = page.lines().filter(|line| line.starts_with(prefix));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    };
    let (trips, calls) =
        (sum("tidegate_redis_call_duration_seconds_count"), sum("tidegate_redis_group_size_count"));
    // Leases are taken beside the requests; `user` asks until its refusal is remembered.
    assert!(trips >= 3.0 && calls >= trips, "{page}");
    assert!(sum("tidegate_redis_commands_total") >= calls, "{page}");
    assert!(sum("tidegate_redis_operations_total") >= calls, "{page}");
    let waited = sum("tidegate_store_duration_seconds_count");
    assert!((3.0..=8.0).contains(&waited), "{page}");
    assert!(sum("tidegate_counts_total{source=\"refusal_cache\"}") > 0.0, "{page}");
    assert_eq!(sum("tidegate_counts_total"), 8.0, "{page}");
    assert_eq!(sum("tidegate_decision_duration_seconds_count"), 12.0);
    assert_eq!(sum("tidegate_requests_total"), 12.0);
    assert_eq!(sum("tidegate_store_errors_total"), 0.0);
    assert_eq!(sum("tidegate_redis_waiting"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_silent_is_told_by_kind() {
    let redis = RedisServer::start_tcp();
    let tidegate = Tidegate::with_rules(EXACT).redis(&redis).env("TIDEGATE_STORE_TIMEOUT", "300ms");
    // Replicas that count each other would send calls of their own.
    let tidegate = tidegate.env("TIDEGATE_REPLICAS", 1).start();
    let client = Client::connect(tidegate.grpc()).await;
    client.hit("user", "alice").await.expect("a decision");
    redis.pause();
    client.hit("user", "alice").await.expect_err("no decision");
    redis.resume();
    let server = format!("{{server=\"{}\"}}", redis.url());
    let metric = |name: &str| tidegate.metric(name);
    assert_eq!(metric("tidegate_store_errors_total{kind=\"timeout\"}"), 1.0);
    assert_eq!(metric("tidegate_requests_total{outcome=\"timeout\"}"), 1.0);
    assert_eq!(metric("tidegate_counts_total{source=\"nobody\"}"), 1.0);
    assert_eq!(metric(&format!("tidegate_circuits_opened_total{server}")), 1.0);
    // What was given up took its time, too.
    assert_eq!(metric(&format!("tidegate_redis_call_duration_seconds_count{server}")), 2.0);
    assert!(metric(&format!("tidegate_redis_call_duration_seconds_sum{server}")) >= 0.3);
    assert!(metric("tidegate_store_duration_seconds_sum") >= 0.3);
}

/// Counts of native buckets, by index.
fn native(histogram: &Histogram) -> BTreeMap<i32, i64> {
    let (mut index, mut count) = (0, 0);
    let mut buckets = BTreeMap::new();
    let mut deltas = histogram.positive_delta.iter();
    for span in &histogram.positive_span {
        index += span.offset;
        for _ in 0..span.length {
            count += deltas.next().expect("a delta for each bucket");
            buckets.insert(index, count);
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None);
    buckets
}

fn check_histogram(name: &str, histogram: &Histogram) {
    let buckets = native(histogram);
    assert!(buckets.values().all(|count| *count > 0), "{name}: {buckets:?}");
    let total = buckets.values().sum::<i64>() as u64 + histogram.zero_count;
    assert_eq!(total, histogram.sample_count, "{name}");
    assert_eq!(histogram.schema, 3);
    assert!(histogram.zero_threshold > 0.0);
    let classic: Vec<u64> = histogram.bucket.iter().map(|bucket| bucket.cumulative_count).collect();
    assert!(classic.is_sorted() && classic.last() <= Some(&histogram.sample_count), "{name}");
    // Neither form may say more or less than the other, as far as their bounds tell.
    for bucket in &histogram.bucket {
        let inside = |(index, _): &(&i32, &i64)| 2_f64.powf(f64::from(**index) / 8.0);
        let below: i64 = buckets
            .iter()
            .filter(|at| inside(at) <= bucket.upper_bound * (1.0 + 1e-9))
            .map(|(_, count)| count)
            .sum();
        let below = below as u64 + histogram.zero_count;
        assert!(below <= bucket.cumulative_count, "{name}: {bucket:?} {buckets:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_protobuf_page_holds_the_same_and_native_histograms() {
    let (tidegate, _server) = redis().await;
    let answer = get(tidegate.http(), "/metrics", &[("accept", ACCEPT)]).unwrap();
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("application/vnd.google.protobuf; proto=io.prometheus"), "{kind}");
    let mut families = Vec::new();
    let mut rest = &*answer.body;
    while !rest.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
    }
    let text = shown(&tidegate.get("/metrics").text());
    let names: Vec<&str> = families.iter().map(|family| &*family.name).collect();
    assert_eq!(names, text.keys().collect::<Vec<_>>());
    let mut observed = BTreeMap::new();
    for family in &families {
        let shown = &text[&family.name];
        assert_eq!(family.help, shown.help);
        assert_eq!(family.r#type().as_str_name().to_ascii_lowercase(), shown.kind);
        for metric in &family.metric {
            let has = (&metric.counter.is_some(), &metric.gauge.is_some());
            match family.r#type() {
                MetricType::Counter => assert_eq!(has, (&true, &false)),
                MetricType::Gauge => assert_eq!(has, (&false, &true)),
                _ => {
                    let histogram = metric.histogram.as_ref().expect("a histogram");
                    check_histogram(&family.name, histogram);
                    *observed.entry(&*family.name).or_insert(0) += histogram.sample_count;
                }
            }
        }
    }
    assert_eq!(observed["tidegate_decision_duration_seconds"], 12);
    assert_eq!(observed["ratelimit_service_response_time_seconds"], 12);
    assert!(observed["tidegate_redis_call_duration_seconds"] >= 3);
    assert_eq!(observed.len(), 5, "{observed:?}");
}

/// What `promtool check metrics` says to a page.
fn promtool(page: &str) -> (Option<i32>, String) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool of Debian's package prometheus");
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_has_nothing_to_say_about_families_of_our_own() {
    let (tidegate, _server) = redis().await;
    let bad = post(tidegate.http(), "/json", b"{").unwrap();
    assert_eq!(bad.status, 400);
    let page = tidegate.get("/metrics").text();
    // Names that envoyproxy/ratelimit chose are as they are: 3 is bad style, 1 is no page.
    let (code, said) = promtool(&page);
    assert_eq!(code, Some(3), "{said}");
    let own: Vec<&str> = said.lines().filter(|line| is_own(line)).collect();
    assert_eq!(own, Vec::<&str>::new());
    assert_eq!(promtool("tidegate_x{ 1\n").0, Some(1), "or the test could not fail");
}

const BEGIN: &str = "<!-- made from src/telemetry/own by tests/it/metrics/page.rs -->\n";
const END: &str = "<!-- the end of what is made -->\n";

/// The tables of own families, as their declarations make them.
fn tables() -> String {
    let mut text = String::new();
    for group in own::ALL {
        write!(
            text,
            "\n### {}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n",
            group.title
        )
        .unwrap();
        for Own { name, kind, labels, help } in group.families {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
            writeln!(text, "| `{name}` | {} | {labels} | {help} |", kind.name()).unwrap();
        }
    }
    text + "\n"
}

/// Run with `WRITE_DOCS=1` to write the tables anew.
#[test]
fn the_page_of_documentation_is_what_the_declarations_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("where the tables begin");
    let (tables_there, after) = rest.split_once(END).expect("where the tables end");
    if env::var_os("WRITE_DOCS").is_some() {
        fs::write(&path, [before, BEGIN, &tables(), END, after].concat()).unwrap();
    } else {
        assert_eq!(tables_there, tables(), "write them anew with WRITE_DOCS=1");
    }
}

#[test]
fn every_declaration_is_good() {
    let names: BTreeSet<&str> = declared().map(|own| own.name).collect();
    assert_eq!(names.len(), declared().count());
    for Own { name, kind, help, labels } in declared() {
        assert!(help.ends_with('.') && !help.contains(['|', '\\', '\n']), "{name}: {help}");
        assert_eq!(name.ends_with("_total"), kind.name() == "counter", "{name}");
        assert!(!labels.contains(&"le"), "{name}");
    }
}

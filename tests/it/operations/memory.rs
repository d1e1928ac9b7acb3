//! What a counter takes in Redis is what docs/operations.md says.
//!
//! `COUNTERS=100000 cargo test --test it -- --nocapture bytes_per_counter` prints the figures of
//! its table.

use std::sync::Arc;

use serde_json::json;
use tidegate::app::Core;
use tidegate::clock::Clock;
use tidegate::rules::SourceFile;
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::wire::json::Json;

use crate::support::redis::RedisServer;
use crate::support::stores;

/// Format, algorithm, and what the page says of one counter of `user=user-00000000` in domain
/// `shop`, in bytes.
const TABLE: [(&str, &str, u64); 6] = [
    ("tidegate", "fixed_window", 148),
    ("tidegate", "sliding_window", 180),
    ("tidegate", "token_bucket", 180),
    ("envoyproxy", "fixed_window", 132),
    ("envoyproxy", "sliding_window", 180),
    ("envoyproxy", "token_bucket", 180),
];

/// What the page allows itself to be wrong by: tables of keys double now and then.
const TOLERANCE: f64 = 0.15;

fn used(redis: &RedisServer) -> u64 {
    let info: String = redis.command(&["INFO", "memory"]);
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().trim().parse().unwrap()
}

/// Bytes per counter of so many, and the key of one.
async fn measured(format: &str, algorithm: &str, counters: u64) -> (u64, String) {
    let redis = RedisServer::start();
    let format = format.to_owned();
    let settings =
        Settings::from_lookup(&|name| (name == "TIDEGATE_KEY_FORMAT").then(|| format.clone()), &[]);
    let store = Arc::new(stores::redis(&redis).await);
    let core = Arc::new(Core::new(&settings.unwrap(), store, Clock::System));
    let rules = format!(
        "domain: shop\ndescriptors:\n- key: user\n  rate_limit: {{unit: day, \
         requests_per_unit: 1000000, algorithm: {algorithm}}}\n"
    );
    let file = SourceFile { name: "rules.yaml".to_owned(), bytes: rules.into_bytes() };
    core.reloader.apply(Ok(FileSet { files: vec![file], warnings: Vec::new() }));
    let json = Json::new().unwrap();
    let mut before = 0;
    // The first call brings the script and the connection's buffers.
    for (from, to) in [(0, 1), (1, counters + 1)] {
        before = used(&redis);
        let users: Vec<u64> = (from..to).collect();
        for some in users.chunks(500) {
            let entry = |user| json!({"key": "user", "value": format!("user-{user:08}")});
            let descriptors = some.iter().map(|user| json!({"entries": [entry(user)]}));
            let descriptors: Vec<_> = descriptors.collect();
            let message = json!({"domain": "shop", "descriptors": descriptors});
            let message = json.request(message.to_string().as_bytes()).unwrap();
            core.front.answer(&message).await.unwrap();
        }
    }
    let used = used(&redis) - before;
    let size: u64 = redis.command(&["DBSIZE"]);
    assert_eq!(size, counters + 1);
    let key: String = redis.command(&["RANDOMKEY"]);
    (used / counters, key)
}

#[allow(clippy::print_stderr)]
#[tokio::test]
async fn bytes_per_counter_are_what_the_page_says() {
    let counters = std::env::var("COUNTERS").map_or(20_000, |text| text.parse().unwrap());
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut all = Vec::new();
    for (format, algorithm, said) in TABLE {
        let (bytes, key) = measured(format, algorithm, counters).await;
        eprintln!("{format} {algorithm}: {bytes} bytes, {} of them the key {key}", key.len());
        all.push((format, algorithm, said, bytes));
    }
    for (format, algorithm, said, bytes) in all {
        let row = format!("| `{format}` | `{algorithm}` | {said} |");
        assert!(page.contains(&row), "{row}");
        let off = (bytes as f64 - said as f64).abs() / said as f64;
        assert!(off <= TOLERANCE, "{format} {algorithm}: {bytes} bytes, the page says {said}");
    }
}

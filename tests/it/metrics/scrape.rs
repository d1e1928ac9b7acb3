//! A real Prometheus scrapes the page, and has the native histograms.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::clients::{get, post};
use crate::support::process::{Tidegate, eventually};

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
";

const REQUEST: &str =
    r#"{"domain": "shop", "descriptors": [{"entries": [{"key": "user", "value": "a"}]}]}"#;

/// A Prometheus that scrapes one target four times a second; it ends with this value.
struct Prometheus {
    child: Child,
    address: String,
    _directory: TempDir,
}

impl Prometheus {
    fn scrape(target: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 250ms}}\n\
             scrape_configs: [{{job_name: it, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        fs::write(&config, text).unwrap();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--enable-feature=native-histograms"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus of Debian's package of that name");
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = log.find_map(|line| {
            let line = line.ok()?;
            let (_, address) = line.split_once("msg=\"Listening on\" address=")?;
            Some(address.to_owned())
        });
        // Who writes to nobody waits for ever once the pipe is full.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, address: listening.expect("an address"), _directory: directory }
    }

    /// The value of the only series that a query gives.
    fn query(&self, query: &str) -> Option<f64> {
        let answer = get(&self.address, &format!("/api/v1/query?query={query}"), &[]).ok()?;
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn prometheus_takes_native_histograms() {
    let tidegate = Tidegate::with_rules(RULES).start();
    for _ in 0..7 {
        post(tidegate.http(), "/json", REQUEST.as_bytes()).unwrap();
    }
    let prometheus = Prometheus::scrape(tidegate.http());
    eventually("the page is scraped", || prometheus.query("up").filter(|up| *up == 1.0));
    let histogram = "tidegate_decision_duration_seconds";
    let count = || prometheus.query(&format!("histogram_count({histogram})"));
    assert_eq!(eventually("the histogram is there", count), 7.0);
    let sum = prometheus.query(&format!("histogram_sum({histogram})")).unwrap();
    let shown = tidegate.metric(&format!("{histogram}_sum"));
    assert!((sum - shown).abs() < 1e-9, "{sum} {shown}");
    // No decision takes a minute, and none nothing.
    let median = prometheus.query(&format!("histogram_quantile(0.5,{histogram})")).unwrap();
    assert!(median > 0.0 && median <= sum, "{median} {sum}");
    // Labels and values of all others come as in the text.
    let refused = r#"tidegate_decisions_total{rule="shop.user",outcome="over_limit"}"#;
    let encoded = refused.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    assert_eq!(prometheus.query(&encoded), Some(5.0));
}

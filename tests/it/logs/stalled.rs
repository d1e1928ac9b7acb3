//! A log that nobody reads costs lines, and nothing else.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::Value;

use crate::support::clients::{Client, get};
use crate::support::process::{eventually, program};

use super::RULES;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_go_on_while_nobody_reads_the_log() {
    let rules = tempfile::tempdir().unwrap();
    std::fs::create_dir(rules.path().join("config")).unwrap();
    std::fs::write(rules.path().join("config/rules.yaml"), RULES).unwrap();
    let mut child = program()
        .env("RUNTIME_ROOT", rules.path())
        .env("RUNTIME_WATCH_ROOT", "false")
        .envs(["HOST", "GRPC_HOST", "DEBUG_HOST"].map(|name| (name, "127.0.0.1")))
        .envs(["PORT", "GRPC_PORT", "DEBUG_PORT"].map(|name| (name, "0")))
        .envs([("LOG_FORMAT", "json"), ("TIDEGATE_DECISION_LOG", "all")])
        .env("TIDEGATE_DECISION_LOG_MAX_PER_SECOND", "1000000")
        .env("TIDEGATE_LOG_VALUES", "clear")
        .env("TIDEGATE_DRAIN_DELAY", "0s")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start tidegate");
    let mut log = BufReader::with_capacity(1, child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"listening\"") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
    }
    let listening: Value = serde_json::from_str(&line).unwrap();
    let address = |name: &str| listening[name].as_str().unwrap().to_owned();
    let (grpc, http) = (address("grpc"), address("http"));

    // From here on nobody reads. A line has more than half a kilobyte, a pipe 64.
    let client = Client::connect(&grpc).await;
    let long = "v".repeat(120);
    let entries = [("nothing", &*long); 4];
    let dropped = || {
        let page = get(&http, "/metrics", &[]).expect("an answer").text();
        let value = page.lines().find_map(|l| l.strip_prefix("tidegate_log_lines_dropped_total "));
        value.expect("the series").parse::<f64>().unwrap()
    };
    let mut asked = 0;
    while dropped() == 0.0 {
        for _ in 0..500 {
            client.hit_with(&entries, &[]).await.expect("a decision");
        }
        asked += 500;
        assert!(asked < 100_000, "the log takes everything");
    }
    for _ in 0..100 {
        client.hit_with(&entries, &[]).await.expect("a decision while lines are lost");
    }

    // It ends too, though its last lines have nobody to go to.
    let pid = child.id().to_string();
    let kill = std::process::Command::new("kill").args(["-s", "TERM", &pid]).status();
    assert!(kill.expect("run kill").success());
    let status = eventually("the end of tidegate", || child.try_wait().expect("ask for tidegate"));
    assert!(status.success(), "{status}");
    let mut rest = Vec::new();
    log.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 4 << 20, "what waited was bounded: {}", rest.len());
}

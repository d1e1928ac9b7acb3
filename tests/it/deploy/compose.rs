//! The services of compose.yaml fit together, and its Redis and Tidegate run as they are set.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tidegate::settings::Settings;

use super::files::{is_setting, repository, run, text, yaml};
use crate::support::envoy;
use crate::support::process::{Tidegate, eventually};

const RULES: &str = include_str!("../../../deploy/rules/example.yaml");

fn compose() -> Value {
    yaml("deploy/compose/compose.yaml").remove(0)
}

/// The variables of .env.example.
fn example() -> BTreeMap<String, String> {
    let text = text("deploy/compose/.env.example");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &str| line.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
    lines.map(|line| pair(line).expect(line)).collect()
}

/// The variables that compose.yaml asks for, with the defaults it has for them.
fn asked() -> BTreeMap<String, Option<String>> {
    let text = text("deploy/compose/compose.yaml");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let lines: Vec<&str> = lines.collect();
    let text = lines.join("\n");
    let asked = text.split("${").skip(1).map(|rest| {
        let inside = rest.split('}').next().unwrap();
        match inside.split_once(':') {
            Some((name, rest)) => (name.to_owned(), rest.strip_prefix('-').map(str::to_owned)),
            None => (inside.to_owned(), None),
        }
    });
    asked.collect()
}

/// The environment of a service, with the variables of .env.example put in.
fn environment(service: &str) -> Vec<(String, String)> {
    let compose = compose();
    let environment = compose["services"][service]["environment"].as_object().unwrap();
    let filled = environment.iter().map(|(name, value)| {
        let value = value.as_str().unwrap_or_else(|| panic!("{name} must be text")).to_owned();
        let Some(inside) = value.strip_prefix("${").and_then(|v| v.strip_suffix('}')) else {
            return (name.clone(), value);
        };
        let variable = inside.split(':').next().unwrap();
        (name.clone(), example()[variable].clone())
    });
    filled.collect()
}

#[test]
fn every_variable_is_in_the_example_with_the_value_that_holds_without_it() {
    let (example, asked) = (example(), asked());
    assert!(asked.len() > 30, "{asked:?}");
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(example.keys().collect()), names(asked.keys().collect()));
    for (name, default) in asked {
        match default {
            Some(default) => assert_eq!(default, example[&name], "{name}"),
            None => assert!(example[&name].starts_with("change-me-"), "{name}"),
        }
    }
    for (name, _) in environment("tidegate") {
        assert!(is_setting(&name), "{name}");
    }
    // What looks like a setting of ours is one.
    for name in example.keys().filter(|name| name.starts_with("TIDEGATE_")) {
        assert!(is_setting(name) || name == "TIDEGATE_IMAGE", "{name}");
    }
}

#[test]
fn what_services_name_is_there() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    let names = |value: &Value| -> Vec<String> {
        match value {
            Value::Null => vec![],
            Value::Array(list) => list.iter().map(|n| n.as_str().unwrap().to_owned()).collect(),
            Value::Object(map) => map.keys().cloned().collect(),
            other => panic!("{other}"),
        }
    };
    for (service, options) in services {
        for other in names(&options["depends_on"]) {
            assert!(services.contains_key(&other), "{service} depends on {other}");
        }
        for network in names(&options["networks"]) {
            assert!(compose["networks"].get(&network).is_some(), "{service}: {network}");
        }
        for volume in names(&options["volumes"]) {
            let volume = volume.replace("${RULES_DIRECTORY:-../rules}", "../rules");
            let source = volume.split(':').next().unwrap();
            let is_there = match source.starts_with('.') {
                true => repository("deploy/compose").join(source).exists(),
                false => compose["volumes"].get(source).is_some(),
            };
            assert!(is_there, "{service}: {source}");
        }
        assert!(options["restart"] == "unless-stopped", "{service}");
    }
    let build = &services["tidegate"]["build"];
    assert_eq!(build["context"], "../..");
    assert!(repository(build["dockerfile"].as_str().unwrap()).exists());
}

#[test]
fn prometheus_and_grafana_look_where_things_are() {
    let services = compose()["services"].clone();
    let mounted = |service: &str, source: &str| {
        let volumes = services[service]["volumes"].as_array().unwrap();
        let volume = volumes.iter().find_map(|volume| volume.as_str()?.strip_prefix(source));
        volume.unwrap().trim_start_matches(':').trim_end_matches(":ro").to_owned()
    };
    let prometheus = yaml("deploy/compose/prometheus.yml").remove(0);
    let rules = mounted("prometheus", "../prometheus") + "/*.yml";
    assert_eq!(prometheus["rule_files"][0], Value::from(rules));
    let job = &prometheus["scrape_configs"][0];
    assert_eq!(job["dns_sd_configs"][0]["names"][0], "tidegate");
    let defaults = Settings::from_lookup(&|_| None, &[]).unwrap();
    assert_eq!(job["dns_sd_configs"][0]["port"], defaults.http.port);
    let tidegate = Tidegate::with_rules(RULES).start();
    assert_eq!(tidegate.get(job["metrics_path"].as_str().unwrap()).status, 200);

    let provider = &yaml("deploy/compose/grafana/dashboards/tidegate.yaml")[0]["providers"][0];
    let dashboards = mounted("grafana", "../grafana/dashboards");
    assert_eq!(provider["options"]["path"], Value::from(dashboards));
    let source = &yaml("deploy/compose/grafana/datasources/prometheus.yaml")[0]["datasources"][0];
    assert_eq!(source["url"], "http://prometheus:9090");
}

#[test]
fn its_envoy_is_the_example_with_other_hosts() {
    let ours = text("deploy/compose/envoy.yaml");
    let mut example = text("deploy/envoy/envoy.yaml");
    for (host, port) in [("tidegate", 8081), ("upstream", 8000)] {
        let address = |host: &str| format!("{{address: {host}, port_value: {port}}}");
        assert!(example.contains(&address("127.0.0.1")));
        example = example.replace(&address("127.0.0.1"), &address(host));
    }
    assert!(ours.ends_with(&example), "they differ in more than that");
    // envoy/example.rs runs it.
    let path = repository("deploy/compose/envoy.yaml");
    run(envoy::binary(), &["--mode", "validate", "--config-path", path.to_str().unwrap()]);
}

/// Redis as compose.yaml starts it, in a directory and on a unix socket of the test.
fn redis(directory: &Path, environment: &[(String, String)]) -> Child {
    let socket = format!("port 0\nunixsocket {}/redis.sock\n", directory.display());
    let settings = text("deploy/compose/redis.conf")
        .replace("port 6379\n", &socket)
        .replace("dir /data\n", &format!("dir {}\n", directory.display()));
    assert!(settings.contains(&socket) && !settings.contains("/data"), "{settings}");
    let file = directory.join("redis.conf");
    std::fs::write(&file, settings).unwrap();
    let command = compose()["services"]["redis"]["command"].clone();
    let words: Vec<String> = serde_json::from_value(command).unwrap();
    // Compose makes one dollar of two.
    let words = words.iter().map(|word| word.replace("$$", "$"));
    let words: Vec<_> =
        words.map(|word| word.replace("/etc/redis.conf", file.to_str().unwrap())).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).envs(environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

/// Runs redis-cli with the words of a command.
fn cli(directory: &Path, environment: &[(String, String)], words: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    command.arg("-s").arg(directory.join("redis.sock")).args(words);
    let output = command.envs(environment.iter().cloned()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn stop(directory: &Path, environment: &[(String, String)], mut redis: Child) {
    cli(directory, environment, &["SHUTDOWN"]);
    assert!(redis.wait().unwrap().success());
}

#[test]
fn its_redis_keeps_the_counters_of_its_tidegate() {
    let (directory, login) = (tempfile::tempdir().unwrap(), environment("redis"));
    let directory = directory.path();
    let ask = |words: &[&str]| cli(directory, &login, words);
    let is_up = || eventually("redis answers", || (ask(&["PING"]) == "PONG").then_some(()));
    let server = redis(directory, &login);
    is_up();
    for (option, value) in
        [("maxmemory-policy", "noeviction"), ("maxmemory", "268435456"), ("appendonly", "yes")]
    {
        assert_eq!(ask(&["CONFIG", "GET", option]), format!("{option}\n{value}"));
    }
    assert!(!cli(directory, &[], &["PING"]).contains("PONG"), "there is a password");

    let socket = directory.join("redis.sock");
    let own = ["RUNTIME_ROOT", "REDIS_URL"]; // those that name places in containers
    let set = environment("tidegate").into_iter().filter(|(n, _)| !own.contains(&n.as_str()));
    let setup = Tidegate::with_rules(RULES).env("REDIS_URL", socket.display());
    // A busy machine is no reason to fail.
    let slow = ["TIDEGATE_DECISION_TIMEOUT", "TIDEGATE_STORE_TIMEOUT"].map(|name| (name, "20s"));
    let setup = set.fold(setup, |setup, (name, value)| setup.env(&name, value));
    let tidegate = slow.iter().fold(setup, |setup, (name, value)| setup.env(name, value)).start();
    let hit = ["hit", "--domain", "shop", "--server", tidegate.grpc(), "plan=free,user=bob"];
    assert!(run(env!("CARGO_BIN_EXE_tidegate"), &hit).starts_with("OK\n"));
    assert!(!tidegate.log().contains("\"WARN\""), "{}", tidegate.log());
    let keys = ask(&["KEYS", "tg:*"]);
    assert!(!keys.is_empty(), "{}", ask(&["KEYS", "*"]));
    drop(tidegate);

    stop(directory, &login, server);
    let server = redis(directory, &login);
    is_up();
    assert_eq!(ask(&["KEYS", "tg:*"]), keys, "they outlive a restart");
    stop(directory, &login, server);
}

//! The unit is one that systemd takes, and the program says what such a unit waits for.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;

use tempfile::TempDir;
use tidegate::settings::Settings;

use super::files::{run, text};
use crate::support::process::{PATIENCE, Setup, Tidegate};
use crate::support::redis::RedisServer;

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
";

/// What stands in for systemd: a socket that it would listen to.
struct Manager {
    directory: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { directory, socket }
    }

    fn starts(&self, setup: Setup) -> Tidegate {
        let socket = self.directory.path().join("notify");
        setup.env("NOTIFY_SOCKET", socket.display()).start_unready()
    }

    /// The next message.
    fn next(&self) -> String {
        let mut message = [0; 4096];
        loop {
            match self.socket.recv(&mut message) {
                Ok(length) => return String::from_utf8(message[..length].to_vec()).unwrap(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no message in good time: {error}"),
            }
        }
    }

    /// The next message, line by line; signs of life are passed over.
    fn hears(&self) -> Vec<String> {
        loop {
            let text = self.next();
            if text != "WATCHDOG=1\n" {
                return text.lines().map(str::to_owned).collect();
            }
        }
    }

    /// What is said up to the message with that line, which comes last.
    fn hears_until(&self, line: &str) -> Vec<String> {
        let mut said = Vec::new();
        while !said.iter().any(|other: &String| other == line) {
            said.extend(self.hears());
        }
        said
    }
}

#[test]
fn the_manager_is_told_of_every_turn() {
    let manager = Manager::new();
    let mut tidegate = manager.starts(Tidegate::with_rules("domain: ["));
    let first = manager.hears().join("\n");
    assert!(first.starts_with("STATUS=not ready; rules: "), "{first}");
    tidegate.write_rules("rules.yaml", RULES);
    let said = manager.hears_until("READY=1");
    assert!(said.iter().any(|line| line == "STATUS=serving 1 limits of 1 domains"), "{said:?}");
    assert_eq!(tidegate.get("/healthcheck").status, 200);

    // Every reload begins and ends, with new rules, without, and with bad ones.
    let loads = || tidegate.metric("ratelimit_service_config_load_success");
    for text in [RULES, RULES, "domain: ["] {
        let before = loads();
        if text != RULES {
            tidegate.write_rules("rules.yaml", text);
            // They are found without being asked for, too.
            let status = manager.hears().join("\n");
            assert!(status.contains("the last load was refused"), "{status}");
        }
        tidegate.signal("HUP");
        let begins = manager.hears();
        assert_eq!(begins[0], "RELOADING=1", "{begins:?}");
        let since = begins[1].strip_prefix("MONOTONIC_USEC=").expect("the time");
        assert!(since.parse::<u64>().expect("microseconds") > 0);
        assert_eq!(manager.hears(), ["READY=1"]);
        assert!(text != RULES || loads() > before, "the end is told when it has come");
    }

    tidegate.terminate();
    assert_eq!(manager.hears_until("STOPPING=1").last().unwrap(), "STOPPING=1");
    assert_eq!(tidegate.wait().code(), Some(0));
}

#[test]
fn who_is_not_ready_does_not_say_so() {
    let mut redis = RedisServer::start();
    redis.kill();
    let manager = Manager::new();
    let mut tidegate =
        manager.starts(Tidegate::with_rules(RULES).redis(&redis).env("TIDEGATE_DRAIN_DELAY", "0"));
    let first = manager.hears().join("\n");
    assert!(first.starts_with("STATUS=not ready; "), "{first}");
    tidegate.signal("HUP");
    tidegate.wait_for_log(|line| line.contains("cannot") && line.contains("Redis"));
    tidegate.terminate();
    let said = manager.hears_until("STOPPING=1");
    assert!(!said.iter().any(|line| line == "READY=1" || line == "RELOADING=1"), "{said:?}");
    assert_eq!(tidegate.wait().code(), Some(0));
}

#[test]
fn signs_of_life_come_as_often_as_they_are_wanted() {
    let manager = Manager::new();
    let setup = Tidegate::with_rules(RULES).env("WATCHDOG_USEC", 100_000);
    let _tidegate = manager.starts(setup);
    let mut signs = 0;
    while signs < 5 {
        signs += usize::from(manager.next() == "WATCHDOG=1\n");
    }
}

#[test]
fn systemd_takes_the_unit_and_finds_it_safe() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidegate.service");
    // A program that is not there would be a mistake.
    let unit = text("deploy/systemd/tidegate.service");
    let unit = unit.replace("/usr/local/bin/tidegate", env!("CARGO_BIN_EXE_tidegate"));
    fs::write(&path, unit).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(run("systemd-analyze", &["verify", "--man=no", path]), "");
    // 10 is a service that may do everything; the threshold counts in tenths.
    run("systemd-analyze", &["security", "--offline=true", "--threshold=15", "--no-pager", path]);
}

/// The value of an option of the unit, as seconds.
fn seconds(unit: &str, option: &str) -> u64 {
    let value = unit.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='));
    let value = value.unwrap_or_else(|| panic!("no {option}")).strip_suffix('s');
    value.unwrap_or_else(|| panic!("{option} in seconds")).parse().unwrap()
}

#[test]
fn the_unit_and_its_environment_hold_settings_that_work() {
    let unit = text("deploy/systemd/tidegate.service");
    let example = text("deploy/systemd/environment.example");
    let in_unit = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    // Those that are commented out are settings, too: NAME=value without a space.
    let lines = example.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    let pairs: Vec<(String, String)> = lines
        .chain(in_unit)
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(pairs.len() > 10, "{pairs:?}");
    for (name, _) in &pairs {
        assert!(super::files::is_setting(name), "{name}");
    }
    let lookup = |name: &str| Some(pairs.iter().find(|(other, _)| other == name)?.1.clone());
    let names: Vec<String> = pairs.iter().map(|(name, _)| name.clone()).collect();
    let settings = Settings::from_lookup(&lookup, &names).unwrap_or_else(|e| panic!("{e}"));
    let end = settings.shutdown.drain_delay + settings.shutdown.grace;
    assert!(seconds(&unit, "TimeoutStopSec") > end.as_secs(), "there must be time to drain");
}

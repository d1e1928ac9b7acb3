//! The commands: check, hit, help, and a start that cannot be.

use std::fs;
use std::net::TcpListener;
use std::process::Output;

use tidegate::settings::Settings;

use super::RULES;
use crate::support::process::{Tidegate, program};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rules/example.yaml");

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().expect("run tidegate")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn check_accepts_good_files_and_directories() {
    let check = |path: &str| {
        let output = run(&["check", path]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(out(&output).contains("1 file, 1 domain, 6 limits"), "{output:?}");
        assert_eq!(err(&output), "");
    };
    check(EXAMPLE);
    check(EXAMPLE.trim_end_matches("/example.yaml"));
}

#[test]
fn check_tells_every_mistake_with_its_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect(name);
    file("good.yaml", RULES);
    file("unit.yaml", &RULES.replace("shop", "one").replace("year", "eon"));
    file("key.yaml", "domain: two\ndescriptors:\n- key: a\n  rate_limits: {}\n- value: b\n");
    let output = run(&["check", directory.path().to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = err(&output);
    for place in ["unit.yaml:5", "key.yaml:4", "key.yaml:5"] {
        assert!(errors.contains(place), "{place} is missing:\n{errors}");
    }
    assert!(!errors.contains("good.yaml"), "{errors}");
}

#[test]
fn check_says_which_path_it_cannot_read() {
    let output = run(&["check", "/nowhere/rules.yaml"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(err(&output).contains("/nowhere/rules.yaml"), "{output:?}");
}

#[test]
fn hit_prints_the_decision() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let hit = |hits: &str| {
        let server = tidegate.grpc();
        let output =
            run(&["hit", "--domain", "shop", "user=alice", "--hits", hits, "--server", server]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        out(&output)
    };
    for (hits, verdict) in [("0", "2 of 2"), ("2", "0 of 2"), ("1", "0 of 2")] {
        assert!(hit(hits).contains(verdict), "{hits} hits");
    }
    let refused = hit("1");
    assert!(refused.starts_with("OVER LIMIT\n"), "{refused}");
    assert!(refused.contains("user=alice"), "{refused}");
}

#[test]
fn hit_fails_without_a_server_or_a_question() {
    let nobody = run(&["hit", "--domain", "shop", "user=alice", "--server", "127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    assert!(err(&nobody).contains("127.0.0.1:1"), "{nobody:?}");
    assert!(!run(&["hit", "--domain", "shop"]).status.success());
    assert!(!run(&["hit", "--domain", "shop", "no pair"]).status.success());
}

#[test]
fn help_names_every_setting_with_its_default() {
    let help = out(&run(&["--help"]));
    let settings = Settings::reference();
    assert!(settings.len() > 30);
    for setting in settings {
        let line = format!(" {} ", setting.name);
        let line = help.lines().find(|text| format!("{text} ").contains(&line));
        let line = line.unwrap_or_else(|| panic!("{} is missing:\n{help}", setting.name));
        assert!(line.contains(&setting.default), "{line}");
    }
    for command in ["check", "hit", "load"] {
        assert!(help.contains(command));
    }
}

#[test]
fn settings_that_are_wrong_end_the_start_with_all_mistakes() {
    let output = program()
        .env("GRPC_PORT", "many")
        .env("TIDEGATE_DRAIN_DELAY", "3")
        .env("TIDEGATE_DRAIN_DELAI", "3s")
        .output()
        .expect("run tidegate");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for name in ["GRPC_PORT", "TIDEGATE_DRAIN_DELAY", "TIDEGATE_DRAIN_DELAI"] {
        assert!(err(&output).contains(name), "{output:?}");
    }
}

#[test]
fn a_rules_directory_that_is_not_there_ends_the_start() {
    let output = program()
        .env("RUNTIME_ROOT", "/nowhere")
        .env("RUNTIME_SUBDIRECTORY", "ratelimit")
        .envs(["PORT", "GRPC_PORT", "DEBUG_PORT"].map(|name| (name, "0")))
        .output()
        .expect("run tidegate");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(err(&output).contains("/nowhere/ratelimit"), "{output:?}");
}

#[test]
fn a_port_that_is_taken_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let output = program()
        .envs(["HOST", "GRPC_HOST", "DEBUG_HOST"].map(|name| (name, "127.0.0.1")))
        .envs([("PORT", "0"), ("GRPC_PORT", &port), ("DEBUG_PORT", "0")])
        .output()
        .expect("run tidegate");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(err(&output).contains(&port), "{output:?}");
}

//! Whatever lies there can be read by those it is for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate::rules::{Options, SourceFile, load};
use tidegate::settings::Settings;

/// A path in the repository.
pub(super) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file in the repository.
pub(super) fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The documents of a YAML file.
pub(super) fn yaml(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Whether the binary knows that setting.
pub(super) fn is_setting(name: &str) -> bool {
    Settings::reference().iter().any(|declared| declared.name == name)
}

/// Runs a program that must succeed; what it said.
pub(super) fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let name = program.as_ref().to_owned();
    let output = Command::new(program).args(arguments).current_dir(repository("")).output();
    let output = output.unwrap_or_else(|e| panic!("{name:?} (tests/run.sh installs it): {e}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{name:?} {arguments:?}: {}\n{said}", output.status);
    said
}

/// The files below a directory of the repository, by their paths in it.
fn files(directory: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(repository(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// Those below `deploy/` with one of these endings. Templates are no YAML before they are
/// rendered.
fn deployed(endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    files("deploy", &mut found);
    found.retain(|path| {
        let ending = path.rsplit_once('.').map(|(_, ending)| ending);
        ending.is_some_and(|ending| endings.contains(&ending)) && !path.contains("/templates/")
    });
    assert!(!found.is_empty(), "{endings:?}");
    found
}

#[test]
fn every_yaml_and_json_file_is_read() {
    for path in deployed(&["yaml", "yml"]) {
        assert!(!yaml(&path).is_empty(), "{path} is empty");
    }
    let mut all = Vec::new();
    files("deploy", &mut all);
    for path in all.iter().filter(|path| path.ends_with(".json")) {
        serde_json::from_str::<Value>(&text(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
}

#[test]
fn every_rule_file_loads_without_a_warning() {
    let mut count = 0;
    for path in deployed(&["yaml", "yml"]) {
        let is_rules = |document: &Value| document["domain"].is_string();
        if !yaml(&path).iter().any(is_rules) {
            continue;
        }
        count += 1;
        let file = SourceFile { name: path.clone(), bytes: text(&path).into_bytes() };
        let loaded = load(&[file], Options::default()).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(loaded.warnings, [], "{path}");
    }
    assert!(count > 0);
}

#[test]
fn every_script_passes_shellcheck_and_can_be_run() {
    let mut scripts = deployed(&["sh"]);
    scripts.extend([".ci/run", "tests/run.sh", "tests/tools.sh"].map(str::to_owned));
    for path in &scripts {
        let (first, is_run) = (text(path), !path.ends_with("/tools.sh"));
        assert_eq!(first.starts_with("#!"), is_run, "{path}");
        let mode = fs::metadata(repository(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111 == 0o111, is_run, "{path}: mode {mode:o}");
        if !first.starts_with("#!/bin/sh") {
            run("bash", &["-n", path]);
        }
    }
    let arguments = ["--external-sources"].into_iter().chain(scripts.iter().map(String::as_str));
    run("shellcheck", &arguments.collect::<Vec<_>>());
}

//! What is released: the package, the manual, completions, the change log.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tidegate::settings::Settings;

use crate::support::process::program;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().expect("run tidegate")
}

/// What a command that must succeed prints.
fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stderr, b"", "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = printed(&["--help"]);
    let list = help.split("Commands:\n").nth(1).expect("commands").split("\n\n").next().unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<String> =
        names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect();
    for known in ["check", "hit", "load", "schema", "man", "completions"] {
        assert!(names.iter().any(|name| name == known), "{known}: {names:?}");
    }
    names
}

#[test]
fn the_schema_is_printed() {
    let schema: serde_json::Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    assert_eq!(schema, tidegate::rules::schema());
}

#[test]
fn the_manual_names_every_command_and_every_setting() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH tidegate 1"), "{page}");
    for command in commands() {
        assert!(page.contains(&format!("tidegate\\-{command}(1)")), "{command}:\n{page}");
    }
    for setting in Settings::reference() {
        let name = format!("\\fB{}\\fR", setting.name);
        assert_eq!(page.matches(&name).count(), 1, "{name}");
    }
    for section in ["NAME", "SYNOPSIS", "ENVIRONMENT", "SIGNALS", "EXIT STATUS"] {
        assert!(page.contains(section), "{section}");
    }
}

#[test]
fn the_manual_is_written_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    printed(&["man", path]);
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    let found: BTreeSet<String> = entries.map(|name| name.into_string().unwrap()).collect();
    let pages = commands().into_iter().map(|command| format!("tidegate-{command}.1"));
    let expected: BTreeSet<String> = pages.chain(["tidegate.1".to_owned()]).collect();
    assert_eq!(found, expected);
    for name in &found {
        let text = fs::read_to_string(directory.path().join(name)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{name}");
    }
    assert_eq!(fs::read_to_string(directory.path().join("tidegate.1")).unwrap(), printed(&["man"]));
    let nowhere = run(&["man", "/nowhere"]);
    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/nowhere"), "{nowhere:?}");
}

#[test]
fn every_shell_completes_every_command() {
    let commands = commands();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for command in &commands {
            assert!(script.contains(command), "{shell} lacks {command}");
        }
    }
    assert_eq!(run(&["completions", "csh"]).status.code(), Some(2));
    // What bash makes of it, asked as a shell asks.
    let script = printed(&["completions", "bash"]);
    let question = "COMP_WORDS=(tidegate ''); COMP_CWORD=1; _tidegate tidegate '' tidegate; \
                    printf '%s\\n' \"${COMPREPLY[@]}\"";
    let bash =
        Command::new("bash").args(["-c", &format!("{script}\n{question}")]).output().unwrap();
    let offered = String::from_utf8(bash.stdout).unwrap();
    for command in &commands {
        assert!(offered.lines().any(|word| word == command), "{command}: {offered}");
    }
}

/// Sections of the change log, newest first: `## [name]` and what stands below.
#[test]
fn the_change_log_ends_with_this_version() {
    let text = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let sections: Vec<&str> = text.split("\n## ").skip(1).collect();
    let version = format!("[{}]", env!("CARGO_PKG_VERSION"));
    let newest = sections.first().expect("a section");
    assert!(newest.starts_with(&version) || newest.starts_with("[Unreleased]"), "{newest}");
    assert!(sections.iter().any(|section| section.starts_with(&version)), "{version}");
    let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    for heading in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(kinds.contains(&heading), "{heading}");
    }
}

/// Every file that the package holds.
fn packaged() -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["package", "--list", "--allow-dirty", "--offline"]).current_dir(root());
    let output = cargo.stdin(Stdio::null()).output().expect("run cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The files below a directory, as the package names them.
fn below(directory: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => files.push(path.strip_prefix(root()).unwrap().display().to_string()),
            }
        }
    }
    files
}

#[test]
fn the_package_holds_what_it_is_built_from_and_nothing_else() {
    let packaged = packaged();
    for directory in ["src", "proto", "docs", "deploy"] {
        for file in below(directory) {
            assert!(packaged.contains(&file), "{file} is missing");
        }
    }
    let rest: Vec<&str> = packaged
        .iter()
        .map(String::as_str)
        .filter(|file| !["src/", "proto/", "docs/", "deploy/"].iter().any(|d| file.starts_with(d)))
        .filter(|file| *file != ".cargo_vcs_info.json")
        .collect();
    let expected = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "Cargo.toml.orig",
        "LICENSE",
        "README.md",
        "build.rs",
    ];
    assert_eq!(rest, expected);
}

/// The README is the face of the package: what it links to is there.
#[test]
fn the_readme_links_to_what_is_in_the_package() {
    let packaged = packaged();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let links = readme.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap());
    let local: Vec<&str> = links.filter(|link| !link.is_empty() && !link.contains("://")).collect();
    assert!(local.len() > 10, "{local:?}");
    for link in local {
        let link = link.trim_end_matches('/');
        let there = |file: &String| file == link || file.starts_with(&format!("{link}/"));
        assert!(packaged.iter().any(there), "{link}");
    }
}

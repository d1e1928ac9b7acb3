//! What docs/operations.md tells operators to do, done.

mod backup;
mod by_hand;
mod drill;
mod memory;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use tidegate::settings::Settings;

use crate::support::redis::RedisServer;

/// A counter as Redis keeps it: key, value, and when it ends, in milliseconds since the epoch.
type Raw = (String, String, i64);

/// All counters of a server, sorted.
fn counters(redis: &RedisServer) -> Vec<Raw> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let raw = |key: Vec<u8>| {
        let value = redis.command(&[b"GET", key.as_slice()]);
        let end = redis.command(&[b"PEXPIRETIME", key.as_slice()]);
        (text(key), text(value), end)
    };
    // Who shares the limits is no counter.
    let is_counter = |key: &Vec<u8>| !key.ends_with(b"tidegate:replicas");
    redis.keys().into_iter().filter(is_counter).map(raw).collect()
}

/// The directory where a server has its socket and its data.
fn directory(redis: &RedisServer) -> PathBuf {
    Path::new(&redis.url()).parent().expect("a directory").to_owned()
}

/// A directory with one program, which goes before all others of its name.
fn program(name: &str, text: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(name);
    std::fs::write(&path, text).expect("write a program");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("make it run");
    directory
}

/// `PATH` with a directory before it.
fn before_path(directory: &TempDir) -> String {
    let path = std::env::var("PATH").expect("a PATH");
    format!("{}:{path}", directory.path().display())
}

/// `deploy/backup/backup.sh`.
fn backup(arguments: &[&str]) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/backup/backup.sh");
    let mut command = Command::new(script);
    command.args(arguments);
    command
}

/// What a command that must succeed prints.
fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("run a program");
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    out.into_owned()
}

/// What a command that must fail says.
fn fail(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().expect("run a program");
    let err = String::from_utf8_lossy(&stderr);
    assert!(!status.success(), "{command:?}");
    err.into_owned()
}

/// The snapshots of a directory, oldest first.
fn snapshots(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The words of a page that begin so, each once.
fn words(page: &str, start: &str) -> Vec<String> {
    let all = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut found: Vec<String> = all.filter(|w| w.starts_with(start)).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn settings_and_metrics_that_the_page_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect(name);
    let (page, metrics) = (read("docs/operations.md"), read("docs/metrics.md"));
    let reference = Settings::reference();
    let settings = words(&page, "TIDEGATE_");
    assert!(settings.len() > 7, "{settings:?}");
    for setting in settings {
        assert!(reference.iter().any(|known| known.name == setting), "{setting}");
    }
    let named = [words(&page, "tidegate_"), words(&page, "ratelimit_")].concat();
    assert!(named.len() > 12, "{named:?}");
    for name in named {
        assert!(metrics.contains(&format!("`{name}`")), "{name}");
    }
}

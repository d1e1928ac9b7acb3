//! The laws of the house that a reader of the source can check.

use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file and its text.
fn files() -> Vec<(PathBuf, String)> {
    fn walk(directory: &Path, files: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    let mut files = Vec::new();
    walk(&source(), &mut files);
    assert!(files.len() > 50, "{}", files.len());
    files
}

/// The rooms in the order of `lib.rs`, each of which uses only those before it.
fn rooms() -> Vec<String> {
    let text = fs::read_to_string(source().join("lib.rs")).unwrap();
    let rooms = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    rooms.map(str::to_owned).collect()
}

/// The room that a file belongs to, if any.
fn room_of(path: &Path) -> Option<String> {
    let below = path.strip_prefix(source()).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    let room = first.trim_end_matches(".rs").to_owned();
    rooms().contains(&room).then_some(room)
}

/// The rooms that a text names: `crate::room::...` and `crate::{room::..., ...}`.
fn used(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let names = code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest[..end].to_owned()
    });
    names.collect()
}

#[test]
fn a_room_uses_only_the_rooms_before_it() {
    let rooms = rooms();
    assert_eq!(rooms.len(), 14);
    let rank = |room: &str| rooms.iter().position(|other| other == room);
    for (path, text) in files() {
        let Some(room) = room_of(&path) else { continue };
        for other in used(&text) {
            assert!(!other.is_empty(), "{}: write out crate::room", path.display());
            let is_before = rank(&other).is_some_and(|other| Some(other) <= rank(&room));
            assert!(is_before, "{} uses {other}, which stands after {room}", path.display());
        }
    }
}

#[test]
fn the_core_reads_no_clock_and_does_no_io() {
    let banned = ["SystemTime", "Instant", "tokio", "tracing", "std::fs", "std::net", "std::env"];
    for (path, text) in files() {
        let room = room_of(&path);
        if matches!(room.as_deref(), Some("rules" | "limiter")) {
            for word in banned {
                assert!(!text.contains(word), "{} names {word}", path.display());
            }
        }
        if text.contains("SystemTime") {
            assert_eq!(room.as_deref(), Some("clock"), "{} reads the clock", path.display());
        }
    }
}

#[test]
fn generated_types_stay_at_the_edge() {
    for (path, text) in files() {
        let is_edge = matches!(room_of(&path).as_deref(), Some("wire" | "server"))
            || path.starts_with(source().join("cli"))
            || path == source().join("sources/xds/stream.rs");
        assert!(is_edge || !text.contains("wire::pb"), "{} names wire::pb", path.display());
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in files() {
        assert!(text.starts_with("//!"), "{} does not begin with a //! sentence", path.display());
    }
}

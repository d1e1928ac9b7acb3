//! Which files of a directory are rule files.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;
use tidegate::sources::files::{Options, SourceError};

use super::{options, read, shown, write};

/// The tree that the look-up tests share.
fn tree(root: &Path) {
    for name in [
        "sub/config/a.yaml",
        "sub/config/deep/b.yaml",
        "sub/config/.c.yaml",
        "sub/config/.git/d.yaml",
        "sub/config/..data/e.yaml",
        "sub/config/..f.yaml",
        "sub/config.yaml",
        "sub/config.d/g.yaml",
        "sub/configured.yaml",
        "sub/other/h.yaml",
        "i.yaml",
    ] {
        write(root, name, "");
    }
}

fn check(change: impl FnOnce(&mut Options), expected: &[&str]) {
    let root = tempdir().unwrap();
    tree(root.path());
    let mut options = options(root.path());
    change(&mut options);
    let set = read(options).unwrap();
    let names: Vec<&str> = set.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, expected);
}

#[test]
fn the_app_directory_is_walked() {
    let change = |o: &mut Options| {
        o.subdirectory = "sub".to_owned();
        o.app_directory = "config".to_owned();
    };
    check(change, &[".c.yaml", ".git/d.yaml", "a.yaml", "deep/b.yaml"]);
}

#[test]
fn dot_files_are_skipped_on_demand() {
    let change = |o: &mut Options| {
        o.subdirectory = "sub".to_owned();
        o.app_directory = "config".to_owned();
        o.ignore_dot_files = true;
    };
    check(change, &["a.yaml", "deep/b.yaml"]);
}

#[test]
fn with_watch_root_keys_begin_with_the_app_directory() {
    let change = |o: &mut Options| {
        o.subdirectory = "sub".to_owned();
        o.app_directory = "config".to_owned();
        o.watch_root = true;
        o.ignore_dot_files = true;
    };
    // A flat file and a sibling directory count: their keys begin with `config.` too.
    check(change, &["config.d/g.yaml", "config.yaml", "config/a.yaml", "config/deep/b.yaml"]);
}

#[test]
fn with_watch_root_the_subdirectory_may_be_empty() {
    let change = |o: &mut Options| {
        o.app_directory = "sub".to_owned();
        o.watch_root = true;
        o.ignore_dot_files = true;
    };
    let expected = [
        "sub/config.d/g.yaml",
        "sub/config.yaml",
        "sub/config/a.yaml",
        "sub/config/deep/b.yaml",
        "sub/configured.yaml",
        "sub/other/h.yaml",
    ];
    check(change, &expected);
}

#[test]
fn an_app_directory_may_be_a_path() {
    let change = |o: &mut Options| {
        o.app_directory = "sub/other/".to_owned();
        o.watch_root = true;
    };
    check(change, &["sub/other/h.yaml"]);
}

#[test]
fn slashes_around_the_parts_do_not_matter() {
    let change = |o: &mut Options| {
        o.subdirectory = "/sub/".to_owned();
        o.app_directory = "/other/".to_owned();
    };
    check(change, &["h.yaml"]);
}

#[test]
fn links_to_files_are_read_and_links_to_directories_are_not_entered() {
    let root = tempdir().unwrap();
    let elsewhere = tempdir().unwrap();
    write(elsewhere.path(), "real.yaml", "linked");
    symlink(elsewhere.path(), root.path().join("directory")).unwrap();
    symlink(elsewhere.path().join("real.yaml"), root.path().join("file.yaml")).unwrap();
    let set = read(options(root.path())).unwrap();
    assert_eq!(shown(&set), ["file.yaml=linked"]);
    assert_eq!(set.warnings, ["directory is a link to a directory: it is skipped"]);
}

#[test]
fn the_walked_directory_and_those_above_may_be_links() {
    let real = tempdir().unwrap();
    let links = tempdir().unwrap();
    write(real.path(), "v1/config/a.yaml", "a");
    symlink(real.path().join("v1"), links.path().join("current")).unwrap();
    symlink("config", real.path().join("v1/rules")).unwrap();
    let mut options = options(&links.path().join("current"));
    options.app_directory = "rules".to_owned();
    assert_eq!(shown(&read(options).unwrap()), ["a.yaml=a"]);
}

#[test]
fn what_is_no_file_is_skipped_without_blocking() {
    let root = tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    write(root.path(), "a.yaml", "a");
    assert!(Command::new("mkfifo").arg(at("fifo.yaml")).status().unwrap().success());
    let _socket = UnixListener::bind(at("socket.yaml")).unwrap();
    symlink("/dev/zero", at("device.yaml")).unwrap();
    symlink("missing", at("dangling.yaml")).unwrap();
    symlink("circle.yaml", at("circle.yaml")).unwrap();
    symlink("a.yaml/below", at("through.yaml")).unwrap();
    let set = read(options(root.path())).unwrap();
    assert_eq!(shown(&set), ["a.yaml=a"]);
    let skipped = [
        "circle.yaml is a link that leads nowhere: it is skipped",
        "dangling.yaml is a link that leads nowhere: it is skipped",
        "device.yaml is not a regular file: it is skipped",
        "fifo.yaml is not a regular file: it is skipped",
        "socket.yaml is not a regular file: it is skipped",
        "through.yaml is a link that leads nowhere: it is skipped",
    ];
    assert_eq!(set.warnings, skipped);
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let root = tempdir().unwrap();
    let file = fs::File::create(root.path().join("big.yaml")).unwrap();
    file.set_len(20 * 1024 * 1024).unwrap();
    let mut options = options(root.path());
    options.max_file_bytes = 16 * 1024 * 1024;
    let error = read(options.clone()).unwrap_err();
    assert_eq!(error.to_string(), "big.yaml has 20971520 bytes; the maximum is 16777216");
    file.set_len(16 * 1024 * 1024).unwrap();
    assert_eq!(read(options).unwrap().files[0].bytes.len(), 16 * 1024 * 1024);
}

#[test]
fn too_many_files_are_refused() {
    let root = tempdir().unwrap();
    for i in 0..11 {
        write(root.path(), &format!("{i}.yaml"), "");
    }
    let mut options = options(root.path());
    options.max_files = 11;
    assert_eq!(read(options.clone()).unwrap().files.len(), 11);
    options.max_files = 10;
    let directory = root.path().to_owned();
    let expected = SourceError::TooMany { what: "rule files", directory, max: 10 };
    assert_eq!(read(options).unwrap_err(), expected);
}

#[test]
fn an_empty_directory_is_a_set_with_a_warning() {
    let root = tempdir().unwrap();
    let set = read(options(root.path())).unwrap();
    assert!(set.files.is_empty());
    let place = root.path().display();
    assert_eq!(set.warnings, [format!("there are no rule files in {place}")]);
    let mut options = options(root.path());
    options.watch_root = true;
    options.app_directory = "config".to_owned();
    let expected = format!("there are no rule files in {place} that begin with config.");
    assert_eq!(read(options).unwrap().warnings, [expected]);
}

#[test]
fn a_missing_directory_is_an_error() {
    let root = tempdir().unwrap();
    let missing = root.path().join("missing");
    assert_eq!(read(options(&missing)).unwrap_err(), SourceError::Missing(missing));
}

#[test]
fn a_file_in_place_of_the_directory_is_an_error() {
    let root = tempdir().unwrap();
    write(root.path(), "rules", "");
    let error = read(options(&root.path().join("rules"))).unwrap_err();
    assert!(error.to_string().contains("Not a directory"), "{error}");
}

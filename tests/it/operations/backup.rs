//! `deploy/backup/backup.sh`: what it keeps, and what it does not take for a snapshot.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{backup, before_path, directory, fail, program, snapshots, succeed};
use crate::support::redis::RedisServer;

/// A server with so many keys.
fn server(keys: usize) -> RedisServer {
    let redis = RedisServer::start();
    for index in 0..keys {
        let _: () = redis.command(&["SET", &format!("key{index}"), "1", "EX", "100000"]);
    }
    redis
}

fn place() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().to_str().unwrap().to_owned();
    (directory, text)
}

/// A file that looks like a snapshot of so many days ago.
fn old(directory: &Path, name: &str, days: u32) {
    let path = directory.join(name);
    fs::write(&path, "REDIS").unwrap();
    succeed(Command::new("touch").arg("-d").arg(format!("{days} days ago")).arg(path));
}

#[test]
fn the_newest_are_kept_and_what_is_not_ours_stays() {
    let (redis, (directory, path)) = (server(10), place());
    for (name, days) in [
        ("tidegate-20260101T000000Z.rdb", 300),
        ("tidegate-20260201T000000Z.rdb", 200),
        ("tidegate-20260301T000000Z.rdb", 100),
        ("mine.rdb", 400),
    ] {
        old(directory.path(), name, days);
    }
    let socket = redis.url();
    // One that fails removes nothing.
    let error = fail(&mut backup(&["take", "--keep", "1", &path, "-s", "/nowhere"]));
    assert!(error.contains("Redis does not answer"), "{error}");
    assert_eq!(snapshots(directory.path()).len(), 4);

    succeed(&mut backup(&["take", "--keep", "3", &path, "-s", &socket]));
    let kept = snapshots(directory.path());
    assert_eq!(kept[..2], ["mine.rdb", "tidegate-20260201T000000Z.rdb"]);
    assert_eq!(kept.len(), 4, "{kept:?}");

    // By age, in a directory of its own, as a second has one snapshot.
    let (directory, path) = place();
    old(directory.path(), "tidegate-20260201T000000Z.rdb", 200);
    old(directory.path(), "tidegate-20260301T000000Z.rdb", 100);
    let said = succeed(&mut backup(&["take", "--days", "150", &path, "-s", &socket]));
    assert!(said.contains("removed ") && said.contains("20260201"), "{said}");
    assert_eq!(snapshots(directory.path()).len(), 2);
}

/// Runs `take` with a `redis-cli` that does `instead` when a snapshot is asked for.
fn refused(redis: &RedisServer, instead: &str) -> String {
    let real = succeed(Command::new("sh").args(["-c", "command -v redis-cli"]));
    let real = real.trim();
    let fake = program(
        "redis-cli",
        &format!("#!/bin/sh\ncase \"$*\" in *--rdb*) {instead};; *) exec {real} \"$@\";; esac\n")
            .replace("REAL", real),
    );
    let (directory, path) = place();
    let mut take = backup(&["take", &path, "-s", &redis.url()]);
    let error = fail(take.env("PATH", before_path(&fake)));
    assert_eq!(snapshots(directory.path()), [""; 0], "{error}");
    error
}

#[test]
fn what_does_not_load_or_lacks_keys_is_no_snapshot() {
    let (redis, empty) = (server(100), server(0));
    let error = refused(&redis, "REAL \"$@\" && truncate -s -30 \"$4\"");
    assert!(error.contains("this snapshot cannot be loaded"), "{error}");
    let error = refused(&redis, "printf text >\"$4\"");
    assert!(error.contains("this snapshot cannot be loaded"), "{error}");
    let error = refused(&redis, ":");
    assert!(error.contains("it is absent or empty"), "{error}");
    let error = refused(&redis, &format!("exec REAL -s {} --rdb \"$4\"", empty.url()));
    assert!(error.contains("holds 0 keys, but Redis 100"), "{error}");
    let error = refused(&redis, "echo 'no more disk' >&2; exit 1");
    assert!(error.contains("no more disk"), "{error}");
}

#[test]
fn the_password_comes_from_the_environment_alone() {
    let (redis, (directory, path)) = (server(3), place());
    let _: () = redis.command(&["CONFIG", "SET", "requirepass", "geheim"]);
    let socket = redis.url();
    let take = |password: &str| {
        let mut command = backup(&["take", &path, "-s", &socket]);
        command.env("REDISCLI_AUTH", password);
        command
    };
    assert!(fail(&mut take("falsch")).contains("Redis does not answer"));
    assert!(succeed(&mut take("geheim")).ends_with("3 keys\n"));
    assert_eq!(snapshots(directory.path()).len(), 1);
    for option in [&["-a", "geheim"][..], &["--pass", "geheim"], &["-u", "redis://:geheim@host"]] {
        let error = fail(backup(&["take", &path, "-s", &socket]).args(option));
        assert!(error.contains("set REDISCLI_AUTH") && !error.contains("geheim"), "{error}");
    }
}

#[test]
fn a_restore_keeps_what_was_there_and_refuses_what_redis_would_not_read() {
    let (redis, (directory_of, path)) = (server(7), place());
    let socket = redis.url();
    succeed(&mut backup(&["take", &path, "-s", &socket]));
    let snapshot = format!("{path}/{}", snapshots(directory_of.path())[0]);
    assert!(succeed(&mut backup(&["verify", &snapshot])).contains("good: 7 keys"));

    let data = directory(&redis);
    let to = data.to_str().unwrap();
    fs::write(data.join("dump.rdb"), "the old one").unwrap();
    succeed(&mut backup(&["restore", &snapshot, to]));
    let kept = snapshots(&data).into_iter().find(|name| name.starts_with("dump.rdb.before-"));
    assert_eq!(fs::read_to_string(data.join(kept.unwrap())).unwrap(), "the old one");
    assert_eq!(fs::read(data.join("dump.rdb")).unwrap(), fs::read(&snapshot).unwrap());

    fs::write(&snapshot, "broken").unwrap();
    assert!(fail(&mut backup(&["restore", &snapshot, to])).contains("cannot be loaded"));
    fs::create_dir(data.join("appendonlydir")).unwrap();
    assert!(fail(&mut backup(&["restore", &snapshot, to])).contains("appendonlydir"));
}

#[test]
fn wrong_uses_are_refused_with_a_hint() {
    let (_directory, path) = place();
    for (arguments, words) in [
        (&["take", "--keep", "0", &path][..], "the newest is always kept"),
        (&["take", "--keep", "many", &path], "a whole number is allowed"),
        (&["take", "--kepp", "1", &path], "--kepp is unknown"),
        (&["take", "/nowhere"], "/nowhere is no directory"),
        (&["take"], "the directory is missing"),
        (&["verify", "/nowhere"], "no snapshot"),
        (&["tkae"], "backup.sh take"),
    ] {
        let error = fail(&mut backup(arguments));
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}

#[test]
fn a_missing_redis_server_is_said_at_once() {
    let tools = tempfile::tempdir().unwrap();
    for name in ["bash", "redis-cli"] {
        let path = succeed(Command::new("sh").args(["-c", &format!("command -v {name}")]));
        std::os::unix::fs::symlink(path.trim(), tools.path().join(name)).unwrap();
    }
    let error = fail(backup(&["verify", "/nowhere"]).env("PATH", tools.path()));
    assert!(error.contains("redis-server is not installed"), "{error}");
}

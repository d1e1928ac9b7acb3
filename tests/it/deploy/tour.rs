//! The tour ends well, and leaves nothing behind however it ends.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::files::repository;
use crate::support::envoy;

fn tour(directory: &Path) -> Command {
    let mut tour = Command::new(repository("deploy/try.sh"));
    tour.arg(env!("CARGO_BIN_EXE_tidegate"));
    tour.env("TMPDIR", directory).env("ENVOY_BIN", envoy::binary());
    tour
}

/// The processes that have to do with a directory, and the files in it.
fn left(directory: &Path) -> Vec<String> {
    let name = directory.to_str().unwrap();
    let mut left: Vec<String> = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let process = entry.unwrap().path();
        // What ends meanwhile has nothing to say.
        let said = ["cmdline", "environ"].map(|file| fs::read(process.join(file)));
        let said: Vec<u8> = said.into_iter().flatten().flatten().collect();
        let said = String::from_utf8_lossy(&said);
        if said.contains(name) {
            left.push(said.into_owned());
        }
    }
    left.extend(fs::read_dir(directory).unwrap().map(|e| e.unwrap().path().display().to_string()));
    left
}

#[test]
fn the_tour_shows_a_refusal_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let output = tour(directory.path()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    let statuses: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("           "))
        .map(|line| &line[..3])
        .collect();
    assert_eq!(statuses, ["200", "200", "429", "200", "200"], "{said}");
    assert!(said.contains("x-envoy-ratelimited: true"), "{said}");
    assert_eq!(left(directory.path()), [""; 0], "{said}");
}

#[test]
fn a_tour_that_is_broken_off_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut tour = tour(directory.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let tour = tour.as_mut().unwrap();
    let lines = BufReader::new(tour.stdout.take().unwrap()).lines().map_while(Result::ok);
    // Redis, Tidegate and the upstream run by then.
    let mut lines = lines.skip_while(|line| !line.starts_with("upstream"));
    assert!(lines.next().is_some());
    assert!(left(directory.path()).len() > 3);
    let pid = tour.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    lines.for_each(drop);
    assert_eq!(tour.wait().unwrap().code(), Some(143));
    assert_eq!(left(directory.path()), [""; 0]);
}

//! Hostile and random bytes, fed to everything that reads what strangers say.
//!
//! Each test feeds one target. The inputs are numbered, and a number is always the same
//! input: a run is the same everywhere, a failing input replays alone. `docs/testing.md` has
//! the commands; `fuzz/` feeds the same targets by libFuzzer.

#![expect(clippy::print_stdout, reason = "what a run has seen is worth a line")]

mod corpus;
mod input;
mod memory;
mod runner;
mod targets;

use runner::{Target, check};

const MIB: u64 = 1 << 20;

/// What is fed. The most memory is for inputs of 64 KiB; `memory` has larger ones.
const TARGETS: [Target; 9] = [
    Target {
        name: "message",
        run: targets::message::run,
        corpus: corpus::messages,
        percent: 20,
        memory: 32 * MIB,
    },
    Target {
        name: "json",
        run: targets::json::run,
        corpus: corpus::json,
        percent: 15,
        memory: 64 * MIB,
    },
    Target {
        name: "rules",
        run: targets::rules::run,
        corpus: corpus::rules,
        percent: 20,
        memory: 128 * MIB,
    },
    Target {
        name: "environment",
        run: targets::environment::run,
        corpus: corpus::environments,
        percent: 10,
        memory: 64 * MIB,
    },
    Target {
        name: "redis_reply",
        run: targets::redis_reply::run,
        corpus: corpus::replies,
        percent: 15,
        memory: 64 * MIB,
    },
    Target {
        name: "memcached",
        run: targets::memcached::run,
        corpus: corpus::lines,
        percent: 5,
        memory: MIB,
    },
    Target {
        name: "mapping",
        run: targets::mapping::run,
        corpus: corpus::mappings,
        percent: 5,
        memory: 128 * MIB,
    },
    Target {
        name: "address",
        run: targets::address::run,
        corpus: corpus::addresses,
        percent: 5,
        memory: 8 * MIB,
    },
    Target {
        name: "discovery",
        run: targets::discovery::run,
        corpus: corpus::discoveries,
        percent: 5,
        memory: 64 * MIB,
    },
];

/// Feeds the target of that name.
fn feed(name: &str) {
    check(*TARGETS.iter().find(|target| target.name == name).unwrap());
}

#[test]
fn all_inputs_are_somebodys() {
    assert_eq!(TARGETS.iter().map(|target| target.percent).sum::<u64>(), 100);
}

#[test]
fn message() {
    feed("message");
}

#[test]
fn json() {
    feed("json");
}

#[test]
fn rules() {
    feed("rules");
}

#[test]
fn environment() {
    feed("environment");
}

#[test]
fn redis_reply() {
    feed("redis_reply");
}

#[test]
fn memcached() {
    feed("memcached");
}

#[test]
fn mapping() {
    feed("mapping");
}

#[test]
fn address() {
    feed("address");
}

#[test]
fn discovery() {
    feed("discovery");
}

/// Writes the real inputs to `FUZZ_SEEDS`, a directory for each target: what
/// libFuzzer begins with.
#[test]
fn seeds() {
    let elsewhere = tempfile::tempdir().unwrap();
    let directory = std::env::var_os("FUZZ_SEEDS");
    let directory = directory.map_or_else(|| elsewhere.path().to_owned(), Into::into);
    for target in TARGETS {
        let inputs = (target.corpus)();
        assert!(inputs.len() > 3, "{}", target.name);
        let directory = directory.join(target.name);
        std::fs::create_dir_all(&directory).unwrap();
        for (number, input) in inputs.iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{number}")), input).unwrap();
        }
    }
}

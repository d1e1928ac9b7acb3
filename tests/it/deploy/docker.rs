//! The image can be built from its context, and its root holds all that the program needs.
//!
//! No daemon is asked: the Dockerfile is read, its linter run, and the script that makes the
//! root of the image makes one here, where the program then runs as it would there.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::files::{repository, run, text};
use crate::support::process::eventually;

/// An instruction of the Dockerfile and what follows it, on one line.
fn instructions() -> Vec<(String, String)> {
    let text = text("deploy/docker/Dockerfile");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let text = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let split = |line: &str| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.trim().to_owned()));
    lines.map(|line| split(line).expect(line)).collect()
}

fn all(keyword: &str) -> Vec<String> {
    let all = instructions().into_iter().filter(|(other, _)| other == keyword);
    all.map(|(_, rest)| rest).collect()
}

/// What the build stage copies from the context.
fn copied() -> Vec<String> {
    let copies = all("COPY").into_iter().filter(|rest| !rest.starts_with("--"));
    let sources = copies.flat_map(|rest| {
        let mut words: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
        words.pop();
        words
    });
    sources.collect()
}

#[test]
fn all_that_is_copied_is_in_the_build_context() {
    let ignore = text(".dockerignore");
    let lines: Vec<&str> = ignore.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines[0], "*", "what is not named is left out");
    let kept: Vec<&str> = lines[1..].iter().map(|line| line.strip_prefix('!').unwrap()).collect();
    let copied = copied();
    assert!(copied.len() > 5, "{copied:?}");
    for source in &copied {
        assert!(repository(source).exists(), "{source}");
        assert!(kept.iter().any(|kept| Path::new(source).starts_with(kept)), "{source}");
    }
    for kept in kept {
        assert!(copied.iter().any(|source| source == kept), "{kept} is sent for nothing");
    }
}

#[test]
fn all_that_the_source_includes_is_copied() {
    fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, files),
                false => files.push(path),
            }
        }
    }
    let (mut files, mut count) = (Vec::new(), 0);
    walk(&repository("src"), &mut files);
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        for rest in source.split("include_str!(\"").skip(1) {
            let path = file.parent().unwrap().join(rest.split('"').next().unwrap());
            let path = path.canonicalize().unwrap();
            let is_copied = copied().iter().any(|copied| path.starts_with(repository(copied)));
            assert!(is_copied, "{} includes {}", file.display(), path.display());
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn the_dependencies_are_built_from_a_package_of_mere_names() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(repository(file), directory.path().join(file)).unwrap();
    }
    let first = all("RUN").remove(0);
    let (names, build) = first.rsplit_once("&&").unwrap();
    assert_eq!(build.trim(), "cargo build --release --locked --bin tidegate");
    let shell = |script: &str| {
        let mut shell = Command::new("sh");
        let output = shell.args(["-euc", script]).current_dir(directory.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    shell(names);
    shell(&format!("{} metadata --no-deps --offline --locked --format-version 1", env!("CARGO")));
}

#[test]
fn the_image_has_no_root_no_shell_and_tells_of_itself() {
    let stages = all("FROM");
    assert_eq!(stages, ["${RUST_IMAGE} AS build", "scratch"]);
    let from =
        all("COPY").into_iter().filter_map(|rest| Some(rest.strip_prefix("--from=")?.to_owned()));
    assert_eq!(from.collect::<Vec<_>>(), ["build /root-of-image/ /"]);
    assert_eq!(all("USER"), ["65534:65534"]);
    assert_eq!(all("CMD"), [r#"["/bin/tidegate"]"#]);
    assert_eq!(all("ENTRYPOINT"), [""; 0], "a command of a deployment is the whole command");
    let labels = all("LABEL").remove(0);
    for label in ["title", "description", "licenses", "version", "revision"] {
        assert!(labels.contains(&format!("org.opencontainers.image.{label}=\"")), "{label}");
    }
    let hadolint = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("hadolint");
    let hadolint = if hadolint.exists() { hadolint } else { "hadolint".into() };
    run(hadolint, &["deploy/docker/Dockerfile"]);
}

/// Whether this process may become anybody.
fn is_root() -> bool {
    run("id", &["-u"]).trim() == "0"
}

/// A command in the root of an image, read-only, as its user; without a user of our own to
/// become, as the only one there is.
fn inside(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    let user = match is_root() {
        true => "65534:65534",
        false => {
            command.arg("--map-root-user");
            "0:0"
        }
    };
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" \
                  && user=$2 root=$1 && shift 2 \
                  && exec chroot --userspec=$user --groups= \"$root\" \"$@\"";
    command.args(["--mount", "--pid", "--fork", "sh", "-c", script, "sh"]);
    command.arg(root).arg(user).args(words).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

/// A server inside; it ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Who changes its user loses the signal that the end of its parent sends.
        if let Some(process) = self.process() {
            let _ = Command::new("kill").args(["-s", "KILL", &process]).status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// The number of the process that runs inside.
    fn process(&self) -> Option<String> {
        let id = self.0.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        Some(children.trim().to_owned()).filter(|children| !children.is_empty())
    }

    /// A file of it.
    fn proc(&self, file: &str) -> String {
        let process = self.process().expect("it runs");
        fs::read_to_string(format!("/proc/{process}/{file}")).unwrap()
    }
}

#[test]
fn the_root_of_the_image_is_enough_to_serve() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let path = root.to_str().unwrap();
    run(repository("deploy/docker/root.sh"), &[env!("CARGO_BIN_EXE_tidegate"), path]);
    assert!(root.join("etc/ssl/certs/ca-certificates.crt").exists());
    for package in ["libc6", "libgcc-s1", "ca-certificates"] {
        let record = fs::read_to_string(root.join("var/lib/dpkg/status.d").join(package)).unwrap();
        assert!(record.contains("\nVersion: "), "{record}");
    }

    let mut server = inside(&root, &["/bin/ratelimit"]);
    server.envs([("LOG_FORMAT", "json"), ("LOG_LEVEL", "info"), ("USE_STATSD", "false")]);
    server.envs(["HOST", "GRPC_HOST"].map(|name| (name, "127.0.0.1")));
    server.envs(["PORT", "GRPC_PORT", "DEBUG_PORT"].map(|name| (name, "0")));
    let mut server = Running(server.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let log = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut log = log.map(|line| serde_json::from_str::<Value>(&line).expect(&line));
    let listening = log.find(|event| event["message"] == "listening").expect("it listens");
    let (_, port) = listening["grpc"].as_str().unwrap().rsplit_once(':').unwrap();
    if is_root() {
        let status = server.proc("status");
        assert!(status.contains("\nUid:\t65534\t65534\t65534\t65534\n"), "{status}");
        assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
    }
    let mounts = server.proc("mountinfo");
    let is_read_only = |line: &str| line.split(' ').nth(5).is_some_and(|o| o.starts_with("ro"));
    let of_root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    assert!(of_root.is_some_and(is_read_only), "{mounts}");

    // The health check, word by word.
    let check = all("HEALTHCHECK").remove(0);
    let words: Vec<String> = serde_json::from_str(check.split_once("CMD").unwrap().1).unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ask =
        |port: &str| -> Output { inside(&root, &words).env("GRPC_PORT", port).output().unwrap() };
    eventually("the image finds itself healthy", || {
        let output = ask(port);
        (output.stdout == b"SERVING\n" && output.status.success()).then_some(())
    });
    assert_eq!(ask("1").status.code(), Some(1));
    for name in ["ratelimit_config_check", "ratelimit_client"] {
        let output = inside(&root, &[&format!("/bin/{name}"), "--version"]).output().unwrap();
        assert!(output.stdout.starts_with(name.as_bytes()), "{output:?}");
    }
}

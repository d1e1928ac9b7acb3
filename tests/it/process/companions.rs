//! The program under the names of envoyproxy/ratelimit's, through links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::RULES;
use crate::support::certs::Authority;
use crate::support::process::Tidegate;

/// A directory with a link of that name to the program, and the environment of a shell.
struct Link(TempDir, &'static str);

impl Link {
    fn named(name: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_tidegate"), directory.path().join(name)).unwrap();
        Self(directory, name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.0.path().join(self.1));
        command.env_clear().args(arguments).output().expect("run the link")
    }
}

/// The exit code, and what was written to both streams.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn ratelimit_serves_and_takes_no_unknown_arguments() {
    let ratelimit = Link::named("ratelimit");
    for argument in ["serve", "-config_dir", "--port=1"] {
        let (code, _, err) = said(&ratelimit.run(&[argument]));
        assert_eq!(code, Some(2), "{argument}: {err}");
        assert!(err.contains("unexpected argument") || err.contains("unrecognized"), "{err}");
    }
    let rules = tempfile::tempdir().unwrap();
    // Without arguments it reads the environment and comes as far as the rules.
    let mut command = Command::new(ratelimit.0.path().join("ratelimit"));
    command.env_clear().env("RUNTIME_ROOT", rules.path().join("none"));
    command.envs(["PORT", "GRPC_PORT", "DEBUG_PORT"].map(|name| (name, "0")));
    let (code, _, err) = said(&command.output().unwrap());
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("RUNTIME_ROOT"), "{err}");
}

#[test]
fn config_check_reads_every_file_of_a_directory() {
    let rules = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(rules.path().join(name), text).unwrap();
    write("a.yaml", RULES);
    write(".hidden", &RULES.replace("shop", "hidden"));
    for name in ["ratelimit_config_check", "config_check"] {
        let link = Link::named(name);
        for flags in
            [vec!["-config_dir", text(rules.path())], vec!["--config_dir", text(rules.path())]]
        {
            let (code, out, err) = said(&link.run(&flags));
            assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
            assert!(out.contains("a.yaml") && out.contains(".hidden"), "{out}");
            assert!(out.ends_with("all rules are ok\n"), "{out}");
        }
    }
}

#[test]
fn config_check_tells_everything_that_is_wrong() {
    let rules = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(rules.path().join(name), text).unwrap();
    let link = Link::named("config_check");
    let flag = format!("-config_dir={}", text(rules.path()));
    write("a.yaml", RULES);
    write("b.yaml", RULES);
    let (code, _, err) = said(&link.run(&[&flag]));
    assert_eq!(code, Some(1));
    assert!(err.contains("shop"), "one domain in two files: {err}");
    for merged in ["-merge_domain_configs", "-merge_domain_configs=true"] {
        let (code, _, err) = said(&link.run(&[merged, &flag]));
        // The same descriptor stands in both, which is an error of its own.
        assert_eq!(code, Some(1), "{err}");
        assert!(!err.contains("is also in"), "{err}");
    }
    write("b.yaml", &RULES.replace("key: user", "key: other"));
    assert_eq!(said(&link.run(&["-merge_domain_configs", &flag])).0, Some(0));

    write("b.yaml", "domain: [");
    write("c.yaml", "domain: c\ndescriptors:\n- key: a\n  rate_limits: {}\n");
    fs::write(rules.path().join("d.yaml"), [0xff, 0xfe]).unwrap();
    fs::create_dir(rules.path().join("more")).unwrap();
    let (code, out, err) = said(&link.run(&[&flag]));
    assert_eq!(code, Some(1), "{out}");
    for place in ["b.yaml:1", "c.yaml:4", "d.yaml", "/more: Is a directory"] {
        assert!(err.contains(place), "{place} is missing:\n{err}");
    }
    assert!(!out.contains("ok") && !err.contains("panicked"), "{out}{err}");
    fs::remove_dir(rules.path().join("more")).unwrap();

    let (code, _, err) = said(&link.run(&["-config_dir", "/nowhere"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("/nowhere"), "{err}");
    let (code, _, err) = said(&link.run(&[]));
    assert_eq!(code, Some(2));
    assert!(err.contains("config_dir"), "{err}");
}

#[test]
fn the_client_prints_a_decision() {
    let tidegate = Tidegate::with_rules(RULES).start();
    for name in ["ratelimit_client", "client"] {
        let link = Link::named(name);
        let user = format!("user={name}");
        let hit = |more: &[&str]| {
            let flags = ["-dial_string", tidegate.grpc(), "-domain", "shop", "-descriptors", &user];
            said(&link.run(&[&flags[..], more].concat()))
        };
        for left in ["1 of 2", "0 of 2"] {
            let (code, out, err) = hit(&["--descriptors=other=1,more=2"]);
            assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
            assert!(out.starts_with("OK\n") && out.contains(left), "{out}");
            assert!(out.contains("other=1, more=2: no rule"), "{out}");
        }
        assert!(hit(&[]).1.starts_with("OVER LIMIT\n"));
        let nobody = ["-dial_string", "127.0.0.1:1", "-domain", "shop", "-descriptors", "a=b"];
        let (code, _, err) = said(&link.run(&nobody));
        assert_eq!(code, Some(1));
        assert!(err.contains("127.0.0.1:1"), "{err}");
        let no_question = ["-dial_string", tidegate.grpc(), "-domain", "shop"];
        assert_eq!(said(&link.run(&no_question)).0, Some(1), "no descriptors");
    }
}

#[test]
fn the_client_and_hit_speak_tls() {
    let authority = Authority::new();
    let server = authority.issue("server", &["localhost", "rls.test"]);
    let own = authority.issue("client", &["a.test"]);
    let tidegate = Tidegate::with_rules(RULES)
        .env("GRPC_SERVER_USE_TLS", true)
        .env("GRPC_SERVER_TLS_CERT", server.certificate.display())
        .env("GRPC_SERVER_TLS_KEY", server.key.display())
        .env("GRPC_CLIENT_TLS_CACERT", authority.ca().display())
        .start();
    let ca = authority.ca();
    let (ca, cert, key) = (text(&ca), text(&own.certificate), text(&own.key));
    let (port, address) = (tidegate.grpc_port(), tidegate.grpc());
    let named = format!("localhost:{port}");
    let link = Link::named("client");
    let client = |more: &[&str]| {
        let flags = ["-dial_string", &named, "-domain", "shop", "-descriptors", "user=a"];
        said(&link.run(&[&flags[..], more].concat()))
    };
    let files = ["-grpc-server-ca-file", ca, "-grpc-cert-file", cert, "-grpc-key-file", key];
    assert_eq!(client(&[&["-grpc-use-tls"], &files[..]].concat()).0, Some(0));
    assert_eq!(client(&files).0, Some(1), "it was not told to");
    assert_eq!(client(&["-grpc-use-tls=true"]).0, Some(1), "an unknown authority");
    assert_eq!(client(&["-grpc-use-tls", "-grpc-server-ca-file", ca]).0, Some(1), "no certificate");

    let link = Link::named("tidegate");
    let hit = |server: &str, more: &[&str]| {
        let flags = ["hit", "--domain", "shop", "user=b", "--server", server];
        said(&link.run(&[&flags[..], more].concat()))
    };
    let files = ["--ca", ca, "--cert", cert, "--key", key];
    assert_eq!(hit(&named, &files).0, Some(0));
    assert_eq!(hit(&format!("https://{named}"), &files).0, Some(0));
    let (code, _, err) = hit(address, &files);
    assert_eq!(code, Some(1));
    assert!(err.contains("not valid for name"), "another name: {err}");
    assert_eq!(hit(address, &[&files[..], &["--server-name", "rls.test"]].concat()).0, Some(0));
    let (code, _, err) = hit(&named, &["--tls", "--ca", "/no/ca.crt"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("/no/ca.crt"), "{err}");
}

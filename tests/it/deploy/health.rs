//! `tidegate health` tells by word and exit code whether a server serves.

use std::net::TcpListener;
use std::process::Output;

use tidegate::tls::Identity;

use crate::support::certs::Authority;
use crate::support::process::{Tidegate, program};

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
";

/// Asks in that environment; the exit code, and what was said.
fn ask(environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut health = program();
    health.arg("health").args(arguments).envs(environment.iter().copied());
    let Output { status, stdout, stderr } = health.output().expect("run tidegate");
    (status.code(), String::from_utf8([stdout, stderr].concat()).expect("text"))
}

fn serving() -> (Option<i32>, String) {
    (Some(0), "SERVING\n".to_owned())
}

#[test]
fn the_environment_of_the_server_tells_where_to_ask() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let port = tidegate.grpc_port().to_string();
    for host in ["0.0.0.0", "127.0.0.1", "localhost"] {
        assert_eq!(ask(&[("GRPC_HOST", host), ("GRPC_PORT", &port)], &[]), serving(), "{host}");
    }
    assert_eq!(ask(&[], &["--server", tidegate.grpc()]), serving());
    let named = ["--server", tidegate.grpc(), "--service", "ratelimit"];
    assert_eq!(ask(&[], &named), serving());

    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("grpc.sock").display().to_string();
    let _tidegate = Tidegate::with_rules(RULES).env("GRPC_UDS", &socket).start();
    assert_eq!(ask(&[("GRPC_UDS", &socket)], &[]), serving());
}

#[test]
fn who_does_not_serve_or_answer_is_a_failure() {
    let check = |environment: &[(&str, &str)], arguments: &[&str], expected: &str| {
        let (code, said) = ask(environment, arguments);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    let unready = Tidegate::with_rules("domain: [").start_unready();
    check(&[], &["--server", unready.grpc()], "NOT_SERVING\n");
    check(&[], &["--server", unready.grpc(), "--service", "other"], "unknown service");
    // Nobody there; somebody who says nothing.
    check(&[("GRPC_PORT", "1")], &[], "127.0.0.1:1");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    check(&[], &["--server", &address, "--timeout", "1"], &address);
    check(&[("GRPC_PORT", "0")], &[], "--server");
    check(&[("GRPC_PORT", "many")], &[], "GRPC_PORT");
}

#[test]
fn a_listener_with_tls_is_asked_by_tls() {
    let authority = Authority::new();
    let (own, ca) = (authority.issue("server", &["gate.test"]), authority.ca());
    let text = |path: &std::path::Path| path.display().to_string();
    let Identity { certificate, key } = &own;
    let mut tls = vec![
        ("GRPC_SERVER_USE_TLS", "true".to_owned()),
        ("GRPC_SERVER_TLS_CERT", text(certificate)),
        ("GRPC_SERVER_TLS_KEY", text(key)),
    ];
    for clients in [false, true] {
        if clients {
            tls.push(("GRPC_CLIENT_TLS_CACERT", text(&ca)));
        }
        let setup = tls.iter().fold(Tidegate::with_rules(RULES), |s, (n, v)| s.env(n, v));
        let tidegate = setup.start();
        let port = tidegate.grpc_port().to_string();
        let mut environment: Vec<_> = tls.iter().map(|(n, v)| (*n, v.as_str())).collect();
        environment.push(("GRPC_PORT", &port));
        // Its own process is not asked who it is, unless somebody says how.
        assert_eq!(ask(&environment, &[]), serving(), "clients show a certificate: {clients}");
        let ca = text(&ca);
        let verified = ["--ca", &ca, "--server-name", "gate.test"];
        assert_eq!(ask(&environment, &verified), serving());
        let (code, said) = ask(&environment, &["--server-name", "other.test", "--ca", &ca]);
        assert_eq!(code, Some(1), "{said}");
        // From elsewhere it is.
        let (code, said) = ask(&[], &["--server", tidegate.grpc(), "--tls"]);
        assert_eq!(code, Some(1), "{said}");
    }
}

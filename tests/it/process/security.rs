//! Who may look inside, what a browser is told, and that no secret leaves the process.

use std::fs;
use std::process::Stdio;

use super::RULES;
use crate::support::certs::Authority;
use crate::support::clients::{HttpAnswer, get, post};
use crate::support::process::{Setup, Tidegate, program};

const TOKEN: &str = "t0ken-of-the-operators";

fn guarded() -> Setup {
    Tidegate::with_rules(RULES).env("USE_PROMETHEUS", true).env("PROMETHEUS_ADDR", "127.0.0.1:0")
}

/// Every place that can be asked, and whether it asks for the token.
fn places(tidegate: &Tidegate) -> Vec<(String, &'static str, bool)> {
    let metrics = tidegate.wait_for_event("listening")["metrics"].as_str().unwrap().to_owned();
    let (http, debug) = (tidegate.http().to_owned(), tidegate.debug().to_owned());
    vec![
        (http.clone(), "/healthcheck", false),
        (http.clone(), "/health", false),
        (http.clone(), "/nothing", false),
        (http, "/metrics", true),
        (metrics, "/metrics", true),
        (debug.clone(), "/", true),
        (debug.clone(), "/rlconfig", true),
        (debug.clone(), "/stats", true),
        (debug.clone(), "/log", true),
        (debug.clone(), "/top", true),
        (debug.clone(), "/debug/pprof/heap", true),
        (debug, "/nothing", false),
    ]
}

fn with_token(address: &str, path: &str, token: &str) -> HttpAnswer {
    get(address, path, &[("authorization", &format!("Bearer {token}"))]).expect("an answer")
}

fn asks_for_its_token(tidegate: &Tidegate) {
    for (address, path, is_guarded) in places(tidegate) {
        let without = get(&address, path, &[]).expect("an answer");
        assert_eq!(without.status == 401, is_guarded, "{address}{path}: {without:?}");
        let challenge = without.header("www-authenticate");
        assert_eq!(challenge.is_some_and(|c| c.starts_with("Bearer")), is_guarded, "{path}");
        for wrong in ["", "t0ken-of-the-operator", "t0ken-of-the-operators2"] {
            assert_eq!(with_token(&address, path, wrong).status == 401, is_guarded, "{path}");
        }
        assert_ne!(with_token(&address, path, TOKEN).status, 401, "{path}");
    }
    let hit = br#"{"domain":"shop","descriptors":[{"entries":[{"key":"user","value":"a"}]}]}"#;
    assert_eq!(post(tidegate.http(), "/json", hit).unwrap().status, 200, "decisions need none");
}

#[test]
fn the_debug_listener_and_metrics_ask_for_the_token() {
    let tidegate = guarded().env("TIDEGATE_ADMIN_TOKEN", TOKEN).start();
    asks_for_its_token(&tidegate);
    let page = with_token(tidegate.http(), "/metrics", TOKEN).text();
    let refused = page.lines().find(|l| l.contains(r#"reason="unauthorized""#)).expect("a series");
    assert!(!refused.ends_with(" 0"), "{refused}");
}

#[test]
fn the_token_may_stand_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    asks_for_its_token(&guarded().env("TIDEGATE_ADMIN_TOKEN_FILE", file.display()).start());
}

#[test]
fn without_a_token_nobody_is_asked() {
    let tidegate = guarded().start();
    for (address, path, _) in places(&tidegate) {
        assert_ne!(get(&address, path, &[]).unwrap().status, 401, "{address}{path}");
    }
}

#[test]
fn a_token_that_is_none_ends_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "short\n").unwrap();
    let missing = directory.path().join("missing");
    for (name, value) in [
        ("TIDEGATE_ADMIN_TOKEN", ""),
        ("TIDEGATE_ADMIN_TOKEN", "short"),
        ("TIDEGATE_ADMIN_TOKEN", "sixteen letters and spaces"),
        ("TIDEGATE_ADMIN_TOKEN_FILE", ""),
        ("TIDEGATE_ADMIN_TOKEN_FILE", file.to_str().unwrap()),
        ("TIDEGATE_ADMIN_TOKEN_FILE", missing.to_str().unwrap()),
        ("TIDEGATE_ADMIN_TOKEN_FILE", "/dev/zero"),
    ] {
        let output = program()
            .envs([("PORT", "0"), ("GRPC_PORT", "0"), ("DEBUG_PORT", "0"), (name, value)])
            .output()
            .expect("run tidegate");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}={value}: {err}");
        assert!(err.contains("token") || err.contains("TOKEN"), "{name}={value}: {err}");
        assert!(!err.contains("short") && !err.contains("sixteen letters"), "it is shown: {err}");
    }
}

#[test]
fn every_answer_tells_browsers_to_keep_out() {
    let tidegate = guarded().env("TIDEGATE_ADMIN_TOKEN", TOKEN).start();
    let mut answers: Vec<HttpAnswer> = Vec::new();
    for (address, path, _) in places(&tidegate) {
        answers.push(get(&address, path, &[]).unwrap());
        answers.push(with_token(&address, path, TOKEN));
    }
    answers.push(post(tidegate.http(), "/json", b"garbage").unwrap());
    answers.push(post(tidegate.http(), "/health", b"").unwrap());
    for answer in answers {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
            ),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
    }
}

#[test]
fn the_debug_listener_is_for_this_machine_unless_it_is_told_otherwise() {
    let listening = |host: Option<&str>| {
        let rules = tempfile::tempdir().unwrap();
        let mut command = program();
        command.env("RUNTIME_ROOT", rules.path()).env("RUNTIME_WATCH_ROOT", "false");
        command.envs([("PORT", "0"), ("GRPC_PORT", "0"), ("DEBUG_PORT", "0")]);
        fs::create_dir(rules.path().join("config")).unwrap();
        command.envs(host.map(|host| ("DEBUG_HOST", host)));
        command.env("LOG_FORMAT", "json").stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start tidegate");
        let log = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut lines = std::io::BufRead::lines(log).map_while(Result::ok);
        let line = lines.find(|line| line.contains("\"listening\""));
        child.kill().and_then(|()| child.wait()).expect("the end of tidegate");
        let line = line.expect("it listens");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        ["http", "grpc", "debug"].map(|name| event[name].as_str().unwrap().to_owned())
    };
    let [http, grpc, debug] = listening(None);
    assert!(debug.starts_with("127.0.0.1:"), "{debug}");
    assert!(http.starts_with("0.0.0.0:") && grpc.starts_with("0.0.0.0:"), "{http} {grpc}");
    let [_, _, debug] = listening(Some("0.0.0.0"));
    assert!(debug.starts_with("0.0.0.0:"), "{debug}");
}

/// In every secret that a process is started with.
const MARK: &str = "s3cr3t-mark";

/// Whatever the process says, anywhere.
fn everything_said(tidegate: &mut Tidegate) -> String {
    let token = format!("{MARK}-token-0123");
    let mut said = String::new();
    for path in ["/health", "/healthcheck", "/metrics", "/nothing"] {
        said += &with_token(tidegate.http(), path, &token).text();
        said += &get(tidegate.http(), path, &[]).unwrap().text();
    }
    for path in ["/", "/rlconfig", "/stats", "/debug/pprof/", "/log", "/top"] {
        said += &with_token(tidegate.debug(), path, &token).text();
        said += &get(tidegate.debug(), path, &[]).unwrap().text();
    }
    let hit = br#"{"domain":"shop","descriptors":[{"entries":[{"key":"user","value":"a"}]}]}"#;
    said += &post(tidegate.http(), "/json", hit).unwrap().text();
    tidegate.signal("INT");
    tidegate.wait();
    said + &tidegate.log()
}

#[test]
fn no_secret_is_said_anywhere() {
    let authority = Authority::new();
    let identity = authority.issue("server", &["localhost"]);
    let key = fs::read_to_string(&identity.key).unwrap();
    let key: Vec<&str> = key.lines().filter(|line| !line.starts_with('-')).collect();
    let nobody = "127.0.0.1:1";
    let secret = |what: &str| format!("{MARK}-{what}-0123");
    let base = || {
        Tidegate::with_rules(RULES)
            .env("LOG_LEVEL", "trace")
            .env("GRPC_SERVER_USE_TLS", true)
            .env("GRPC_SERVER_TLS_CERT", identity.certificate.display())
            .env("GRPC_SERVER_TLS_KEY", identity.key.display())
            .env("TIDEGATE_ADMIN_TOKEN", secret("token"))
    };
    let setups = [
        base()
            .env("REDIS_URL", format!("redis://app:{}@{nobody}/0", secret("url")))
            .env("REDIS_PERSECOND", true)
            .env("REDIS_PERSECOND_URL", nobody)
            .env("REDIS_PERSECOND_AUTH", secret("persecond")),
        base().env("REDIS_URL", nobody).env("REDIS_AUTH", secret("auth")),
        base()
            .env("REDIS_URL", format!("main,{nobody}"))
            .env("REDIS_TYPE", "sentinel")
            .env("REDIS_AUTH", format!("app:{}", secret("auth")))
            .env("REDIS_SENTINEL_AUTH", secret("sentinel")),
        base().env("CONFIG_TYPE", "GRPC_XDS_SOTW").env("CONFIG_GRPC_XDS_SERVER_URL", nobody).env(
            "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS",
            format!("authorization:{}", secret("xds")),
        ),
    ];
    for setup in setups {
        let mut tidegate = setup.start_unready();
        let said = everything_said(&mut tidegate);
        let line = said.lines().find(|line| line.contains(MARK));
        assert_eq!(line, None);
        let line = said.lines().find(|line| key.iter().any(|part| line.contains(part)));
        assert_eq!(line, None, "the private key");
    }
    // Nor where something is wrong with them, or help is asked for.
    for argument in [&["--help"][..], &[]] {
        let output = program()
            .args(argument)
            .envs([("REDIS_URL", format!("redis://app:{}@host:port/x", secret("url")))])
            .envs(["REDIS_AUTH", "REDIS_SENTINEL_AUTH"].map(|name| (name, secret("auth"))))
            .env("TIDEGATE_ADMIN_TOKEN", format!("{MARK} with spaces"))
            .env("GRPC_PORT", "wrong")
            .output()
            .expect("run tidegate");
        assert_eq!(output.status.success(), !argument.is_empty(), "{output:?}");
        let said = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&said).contains(MARK), "{argument:?}");
    }
}

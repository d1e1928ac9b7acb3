//! How a line looks, and what names a request.

use crate::support::clients::{Client, send};
use crate::support::process::Tidegate;

use super::{RULES, events, told};

#[tokio::test]
async fn lines_about_requests_have_the_callers_name_for_them_or_one_of_ours() {
    let mut tidegate = Tidegate::with_rules(RULES).env("LOG_LEVEL", "debug").start();
    let client = Client::connect(tidegate.grpc()).await;
    let long = "i".repeat(500);
    for headers in [&[("x-request-id", "caller-7")][..], &[("x-request-id", &long)], &[]] {
        client.hit_with(&[], headers).await.expect("no entries, no rule");
        client.ask(crate::support::clients::request("", [])).await.expect_err("no domain");
        let _ = client.hit_with(&[("user", "a")], headers).await;
    }
    for (headers, body) in [(&[("x-request-id", "caller-8")][..], "{}"), (&[], "garbage")] {
        let answer = send(tidegate.http(), "POST /json", headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 400);
    }
    let undecided = told(&mut tidegate, "request not decided");
    assert_eq!(undecided.len(), 4, "{undecided:?}");
    for event in &undecided {
        let id = event["request_id"].as_str().unwrap();
        assert!(id == "caller-8" || (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
        assert!(event["duration_ms"].as_f64().unwrap() > 0.0, "{event}");
    }
    let all = events(&tidegate.log());
    let json = all.iter().filter(|event| event["message"] == "/json request not decided");
    let ids: Vec<_> = json.map(|event| event["request_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((ids.len(), ids[0].as_str(), ids[1].len()), (2, "caller-8", 32));
    for event in &all {
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{event}");
        assert!(event.get("fields").is_none(), "fields are flat: {event}");
    }
}

#[test]
fn the_last_line_is_written_before_the_end() {
    let mut tidegate = Tidegate::with_rules(RULES).start();
    tidegate.signal("INT");
    tidegate.wait();
    let last = tidegate.log().lines().last().unwrap().to_owned();
    assert!(last.contains("\"stopped\""), "the last line is not lost: {last}");
}

#[test]
fn text_is_plain_and_comes_before_what_the_program_says_at_its_end() {
    let output = crate::support::process::program()
        .envs([("PORT", "0"), ("GRPC_PORT", "0"), ("DEBUG_PORT", "0"), ("TIDEGATE_WORKERS", "")])
        .env("TIDEGATE_ADMIN_TOKEN_FILE", "/nowhere/token")
        .output()
        .expect("run tidegate");
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    let [warning, error] = lines[..] else { panic!("{said}") };
    assert!(warning.contains(" WARN ") && warning.contains("TIDEGATE_WORKERS"), "{said}");
    assert!(error.starts_with("tidegate: "), "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
}

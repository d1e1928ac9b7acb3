//! The level, changed while the process runs.

use crate::support::clients::{Client, get, request, send};
use crate::support::process::Tidegate;

use super::{RULES, told};

#[tokio::test]
async fn the_level_is_shown_and_changed_while_the_process_runs() {
    let mut tidegate = Tidegate::with_rules(RULES).start();
    let client = Client::connect(tidegate.grpc()).await;
    let undecided = async || client.ask(request("", [])).await.expect_err("no domain");
    let change = |method: &str, query: &str| {
        let answer = send(tidegate.debug(), &format!("{method} /log?{query}"), &[], b"").unwrap();
        (answer.status, answer.text())
    };
    let shown = "level: info\ndecisions: off\n";
    assert_eq!(get(tidegate.debug(), "/log", &[]).unwrap().text(), shown);
    undecided().await;
    let (status, text) = change("POST", "level=debug");
    assert_eq!((status, &*text), (200, "level: debug\ndecisions: off\n"));
    undecided().await;
    change("PUT", "level=warn,tidegate::telemetry%3Ddebug");
    undecided().await;
    for wrong in ["", "level=loud", "level=", "other=debug", "level=debug&decisions=some"] {
        let (status, text) = change("POST", wrong);
        assert_eq!(status, 400, "{wrong}: {text}");
    }
    change("POST", "level=info");
    undecided().await;
    assert_eq!(told(&mut tidegate, "request not decided").len(), 2);
}

#[test]
fn a_page_of_another_site_cannot_change_it() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let own = format!("http://{}", tidegate.debug());
    let change = |headers: &[(&str, &str)]| {
        send(tidegate.debug(), "POST /log?level=debug", headers, b"").unwrap().status
    };
    assert_eq!(change(&[("origin", "http://evil.example")]), 403);
    assert_eq!(change(&[("sec-fetch-site", "cross-site")]), 403);
    assert!(get(tidegate.debug(), "/log", &[]).unwrap().text().starts_with("level: info"));
    assert_eq!(change(&[("origin", &own), ("sec-fetch-site", "same-origin")]), 200);
}

#[test]
fn the_token_is_asked_for_before_it_is_changed() {
    let token = "t0ken-of-the-operators";
    let tidegate = Tidegate::with_rules(RULES).env("TIDEGATE_ADMIN_TOKEN", token).start();
    let change = |headers: &[(&str, &str)]| {
        send(tidegate.debug(), "PUT /log?level=debug", headers, b"").unwrap().status
    };
    assert_eq!(change(&[]), 401);
    assert_eq!(change(&[("authorization", &format!("Bearer {token}"))]), 200);
}

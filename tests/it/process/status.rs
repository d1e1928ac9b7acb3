//! The status page, as browsers and all others get it.

use crate::support::clients::{get, post};
use crate::support::process::Tidegate;

const RULES: &str = "
domain: <b>shop</b>
descriptors:
- key: user
  rate_limit: {unit: hour, requests_per_unit: 2}
- key: login
  shadow_mode: true
  rate_limit: {unit: minute, unit_multiplier: 15, requests_per_unit: 5, algorithm: sliding_window}
- {key: free, rate_limit: {unlimited: true}}
";

const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[test]
fn browsers_get_a_page_and_all_others_the_list() {
    let tidegate = Tidegate::with_rules(RULES).env("TIDEGATE_ENVIRONMENT", "staging").start();
    let page = get(tidegate.debug(), "/", &[BROWSER]).unwrap();
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert_eq!(policy, "default-src 'none'; style-src 'self'; frame-ancestors 'none'");
    let text = page.text();
    for part in [
        "<title>ready - Tidegate, staging</title>",
        "&lt;b&gt;shop&lt;/b&gt;.user",
        "2 per hour",
        "5 per 15 minutes (shadow)",
        "unlimited",
        "3 limits in 1 domains",
        "Refused most",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("<b>"), "{text}");
    assert!(!text.contains("<script"), "{text}");
    let style = get(tidegate.debug(), "/status.css", &[BROWSER]).unwrap();
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css")));
    assert!(style.text().contains("prefers-color-scheme: dark"));
    for accept in [("Accept", "*/*"), ("Accept", "application/json")] {
        let list = get(tidegate.debug(), "/", &[accept]).unwrap().text();
        assert!(list.contains("/rlconfig: "), "{list}");
    }
}

#[test]
fn the_page_tells_what_is_wrong() {
    let tidegate = Tidegate::with_rules(RULES).start();
    tidegate.write_rules("rules.yaml", "domain: shop\ndescriptors:\n- {key: a, wrong: <i>}\n");
    tidegate.wait_for_event("rules not loaded");
    let text = get(tidegate.debug(), "/", &[BROWSER]).unwrap().text();
    for part in ["<title>degraded - Tidegate</title>", "The last load was refused", "wrong"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("<i>"), "{text}");
}

#[test]
fn values_of_requests_are_not_on_the_page() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let hit =
        r#"{"domain":"<b>shop</b>","descriptors":[{"entries":[{"key":"user","value":"MARKED"}]}]}"#;
    for _ in 0..5 {
        post(tidegate.http(), "/json", hit.as_bytes()).unwrap();
    }
    for (path, accept) in [("/", "text/html"), ("/", "*/*"), ("/stats", "*/*")] {
        let text = get(tidegate.debug(), path, &[("Accept", accept)]).unwrap().text();
        assert!(!text.contains("MARKED"), "{path}: {text}");
    }
}

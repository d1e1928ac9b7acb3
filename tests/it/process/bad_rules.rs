//! Rules that go bad while the process runs: the old ones hold, and everybody is told.

use std::fs;

use super::RULES;
use crate::support::clients::post;
use crate::support::process::{Tidegate, eventually};

/// The limit in force, as an answer shows it.
fn limit(tidegate: &Tidegate) -> Option<u64> {
    // A look: no hit is counted.
    let look = br#"{"domain":"shop","descriptors":[{"entries":[{"key":"user","value":"a"}],"hitsAddend":"0"}]}"#;
    let answer = post(tidegate.http(), "/json", look).ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    answer["statuses"][0]["currentLimit"]["requestsPerUnit"].as_u64()
}

/// Runs with good rules, lets `spoil` loose on them, and puts them right again. The report
/// must say `reason`.
fn check(reason: &str, spoil: impl FnOnce(&Tidegate)) {
    let tidegate = Tidegate::with_rules(RULES).start();
    assert_eq!(limit(&tidegate), Some(2));

    spoil(&tidegate);
    eventually("the load is refused", || {
        (tidegate.metric("ratelimit_service_config_load_error") > 0.0).then_some(())
    });
    assert_eq!(limit(&tidegate), Some(2), "the old rules hold");
    assert_eq!(tidegate.get("/healthcheck").status, 200);
    let health = tidegate.health();
    assert_eq!(health["status"], "degraded");
    let error = health["rules"]["last_error"].as_str().expect("an error");
    assert!(error.contains(reason), "{reason}: {error}");
    assert!(error.len() < 10_000, "an error people can read");
    tidegate.wait_for_log(|line| line.contains("\"ERROR\"") && line.contains("rules"));

    fs::create_dir_all(tidegate.rules_directory()).expect("the directory");
    tidegate
        .write_rules("rules.yaml", &RULES.replace("requests_per_unit: 2", "requests_per_unit: 3"));
    eventually("the new rules are in force", || (limit(&tidegate) == Some(3)).then_some(()));
    eventually("all is well", || (tidegate.health()["status"] == "ready").then_some(()));
    assert!(tidegate.health()["rules"]["last_error"].is_null());
}

fn write(text: impl Into<String>) -> impl FnOnce(&Tidegate) {
    let text = text.into();
    move |tidegate| tidegate.write_rules("rules.yaml", &text)
}

#[test]
fn broken_yaml_leaves_the_old_rules() {
    check("rules.yaml:3:1", write("domain: shop\ndescriptors: [\n"));
}

#[test]
fn an_unknown_key_leaves_the_old_rules() {
    check("rate_limits", write(RULES.replace("rate_limit:", "rate_limits:")));
}

#[test]
fn a_second_file_of_the_same_domain_leaves_the_old_rules() {
    let spoil = |tidegate: &Tidegate| tidegate.write_rules("zz.yaml", RULES);
    let tidegate = Tidegate::with_rules(RULES).start();
    spoil(&tidegate);
    eventually("the load is refused", || {
        (tidegate.metric("ratelimit_service_config_load_error") > 0.0).then_some(())
    });
    fs::remove_file(tidegate.rules_directory().join("zz.yaml")).expect("remove the file");
    eventually("all is well", || (tidegate.health()["status"] == "ready").then_some(()));
}

#[test]
fn a_file_of_20_mb_leaves_the_old_rules() {
    check("rules.yaml", write(format!("{RULES}{}", "# 20 MB\n".repeat(20 << 17))));
}

#[test]
fn an_alias_bomb_leaves_the_old_rules() {
    let mut bomb = RULES.to_owned() + "  metadata:\n    l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n";
    for level in 1..12 {
        let aliases = vec![format!("*l{}", level - 1); 10].join(", ");
        bomb += &format!("    l{level}: &l{level} [{aliases}]\n");
    }
    check("aliases", write(bomb));
}

#[test]
fn deep_nesting_leaves_the_old_rules() {
    let flow = "[".repeat(200_000);
    check("recursion limit", write(format!("domain: shop\ndescriptors: {flow}")));
    let mut block = String::from("domain: shop\n");
    for depth in 0..2000 {
        block += &format!("{}descriptors:\n{}- key: a\n", "  ".repeat(depth), "  ".repeat(depth));
    }
    check("nested too deeply", write(block));
}

#[test]
fn bytes_that_are_no_text_leave_the_old_rules() {
    check("rules.yaml", |tidegate| {
        fs::write(tidegate.rules_directory().join("rules.yaml"), [0xff, 0xfe, 0x00, 0x9f])
            .expect("write the file");
    });
}

#[test]
fn a_removed_directory_leaves_the_old_rules() {
    check("does not exist", |tidegate| {
        fs::remove_dir_all(tidegate.rules_directory()).expect("remove the directory");
    });
}

#[test]
fn an_emptied_directory_leaves_the_old_rules() {
    check("no rule files", |tidegate| {
        fs::remove_file(tidegate.rules_directory().join("rules.yaml")).expect("remove the file");
    });
}

//! The Envoy configuration and the rules that operators are given to start from.

use crate::support::envoy::{Envoy, Upstream};
use crate::support::process::Tidegate;

const BOOTSTRAP: &str = include_str!("../../../deploy/envoy/envoy.yaml");
const RULES: &str = include_str!("../../../deploy/rules/example.yaml");

fn replace_once(text: &str, old: &str, new: &str) -> String {
    assert_eq!(text.matches(old).count(), 1, "{old} stands in the example once");
    text.replace(old, new)
}

#[test]
fn the_example_bootstrap_enforces_the_example_rules() {
    // Years instead of minutes, as the test may run when a minute ends.
    let tidegate = Tidegate::with_rules(&RULES.replace("unit: minute", "unit: year")).start();
    let upstream = Upstream::start();
    let port = |text, old: u16, new: u16| {
        replace_once(text, &format!("port_value: {old}}}"), &format!("port_value: {new}}}"))
    };
    let bootstrap = port(BOOTSTRAP, 9901, 0);
    let bootstrap = port(&bootstrap, 10000, 0);
    let bootstrap = port(&bootstrap, 8081, tidegate.grpc_port());
    let bootstrap = port(&bootstrap, 8000, upstream.port);
    // A busy machine must not let the request pass for want of an answer.
    let bootstrap = replace_once(
        &bootstrap,
        "timeout: 0.25s\n              failure",
        "timeout: 20s\n              failure",
    );
    let envoy = Envoy::with_bootstrap(&bootstrap);
    envoy.wait_healthy(1);

    let status = |user: &str| envoy.get("/checkout", &[("x-user", user)]).status;
    assert_eq!([(); 3].map(|()| status("alice")), [200, 200, 429], "2 checkouts");
    assert_eq!(status("bob"), 200);
}

//! Callers name their traces and decide what is sampled; without them a part is.

use super::collector::Collector;
use super::{RULES, SPAN, TRACE, ask, hex};
use crate::support::clients::{Client, descriptor, request};
use crate::support::process::Tidegate;

/// The traces and parents of the calls that were exported when these headers came, one call
/// after the other, by a process with this environment.
async fn exported(
    environment: &[(&str, &str)],
    calls: &[&[(&'static str, &str)]],
) -> Vec<(String, String)> {
    let collector = Collector::http();
    let setup = Tidegate::with_rules(RULES)
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", collector.url()));
    let setup = environment.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
    let mut tidegate = setup.start();
    let client = Client::connect(tidegate.grpc()).await;
    for headers in calls {
        ask(&client, request("shop", [descriptor(&[("path", "/api")])]), headers).await.unwrap();
    }
    tidegate.terminate();
    assert!(tidegate.wait().success());
    let spans = collector.see(|received| received.spans());
    let servers = spans.iter().filter(|span| span.name.ends_with("/ShouldRateLimit"));
    servers.map(|span| (hex(&span.trace_id), hex(&span.parent_span_id))).collect()
}

#[tokio::test]
async fn a_caller_decides_for_its_traces() {
    let on = format!("00-{TRACE}-{SPAN}-01");
    let off = format!("00-{TRACE}-{SPAN}-00");
    let single = format!("{TRACE}-{SPAN}-1");
    let calls: &[&[(&'static str, &str)]] = &[
        &[("traceparent", &on)],
        &[("traceparent", &off)],
        &[("b3", &single)],
        &[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1")],
        &[("b3", "0")],
        &[],
    ];
    let named = (TRACE.to_owned(), SPAN.to_owned());
    let rate = |rate| [("TRACING_ENABLED", "true"), ("TRACING_SAMPLING_RATE", rate)];
    // Nothing begins here, but what callers sample is sampled: W3C, and both forms of B3.
    assert_eq!(exported(&rate("0"), calls).await, vec![named.clone(); 3]);
    // What nobody decided is sampled as well.
    let all = exported(&rate("1"), calls).await;
    assert_eq!(all[..3], vec![named.clone(); 3]);
    assert_eq!((all.len(), all[3].1.as_str()), (4, ""));
    assert_ne!(all[3].0, TRACE);
    // OpenTelemetry's own variables: B3 is not read unless it is asked for.
    let three = exported(&[("OTEL_PROPAGATORS", "tracecontext,baggage")], calls).await;
    assert_eq!(three.iter().filter(|call| **call == named).count(), 1);
    assert_eq!(three.len(), 5);
    let own = [("OTEL_TRACES_SAMPLER", "always_on"), ("OTEL_PROPAGATORS", "b3")];
    assert_eq!(exported(&own, calls).await.len(), 6);
    let own = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")];
    assert_eq!(exported(&own, calls).await, []);
    let off = [("OTEL_SDK_DISABLED", "true"), ("TRACING_ENABLED", "true")];
    assert_eq!(exported(&off, calls).await, []);
}

//! What goes to a collector, as envoyproxy/ratelimit's variables and OpenTelemetry's say it.

use tidegate::settings::{Collector, Otel};
use tidegate::telemetry::Format;
use tidegate::telemetry::otel::{Compression, Root, Wire};

use super::{errors, read};

fn otel(environment: &[&str]) -> Otel {
    read(environment).unwrap_or_else(|errors| panic!("{environment:?}: {errors}")).otel
}

/// Where traces, metrics and logs go.
fn targets(environment: &[&str]) -> [Option<String>; 3] {
    let Otel { traces, metrics, logs, .. } = otel(environment);
    let collectors = [traces.map(|(to, ..)| to), metrics.map(|(to, _)| to), logs.map(|(to, _)| to)];
    collectors.map(|to| {
        let Collector { wire, endpoint, .. } = to?;
        Some(format!("{wire:?} {endpoint}"))
    })
}

#[test]
fn what_is_not_asked_for_is_not_sent() {
    let check = |environment: &[&str], expected: [&str; 3]| {
        let found = targets(environment).map(Option::unwrap_or_default);
        assert_eq!(found, expected, "{environment:?}");
    };
    const NONE: [&str; 3] = ["", "", ""];
    check(&[], NONE);
    check(&["TRACING_ENABLED=false"], NONE);
    check(&["OTEL_SERVICE_NAME=x", "OTEL_TRACES_SAMPLER=always_on"], NONE);
    check(&["TRACING_ENABLED=true"], ["Http http://localhost:4318/v1/traces", "", ""]);
    let general = "OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4318/";
    check(
        &[general],
        [
            "Http http://otel:4318/v1/traces",
            "Http http://otel:4318/v1/metrics",
            "Http http://otel:4318/v1/logs",
        ],
    );
    // As Envoy Gateway sets it: traces alone.
    check(&["TRACING_ENABLED=true", general], ["Http http://otel:4318/v1/traces", "", ""]);
    check(
        &["TRACING_ENABLED=true", general, "TRACING_EXPORTER_PROTOCOL=grpc"],
        ["Grpc http://otel:4318/", "", ""],
    );
    check(&["TRACING_ENABLED=false", general], NONE);
    check(&["OTEL_SDK_DISABLED=true", "TRACING_ENABLED=true", general], NONE);
    check(
        &[general, "OTEL_TRACES_EXPORTER=none", "OTEL_LOGS_EXPORTER=none"],
        ["", "Http http://otel:4318/v1/metrics", ""],
    );
    check(
        &["OTEL_METRICS_EXPORTER=prometheus,otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"],
        ["", "Grpc http://localhost:4317/", ""],
    );
    check(
        &["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=https://logs/otlp"],
        ["", "", "Http https://logs/otlp"],
    );
    let grpc = ["OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=otel:1"];
    check(&grpc, ["Grpc https://otel:1/", "", ""]);
    let insecure = "OTEL_EXPORTER_OTLP_INSECURE=true";
    check(&[grpc[0], grpc[1], insecure], ["Grpc http://otel:1/", "", ""]);
}

#[test]
fn a_signal_of_its_own_goes_before_all() {
    let general = [
        "OTEL_EXPORTER_OTLP_ENDPOINT=https://otel:4317",
        "OTEL_EXPORTER_OTLP_HEADERS=a=1,b=two%20words",
        "OTEL_EXPORTER_OTLP_TIMEOUT=3000",
        "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
        "OTEL_EXPORTER_OTLP_CERTIFICATE=/ca.crt",
        "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS=c=3",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=none",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=60000",
        "OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY=/key",
        "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE=/crt",
        "OTEL_BSP_EXPORT_TIMEOUT=20000",
    ];
    let otel = otel(&general);
    let (traces, ..) = otel.traces.unwrap();
    let (metrics, _) = otel.metrics.unwrap();
    let (logs, _) = otel.logs.unwrap();
    let headers = |to: &Collector| {
        let shown = to.headers.iter().map(|(name, value)| format!("{name}={}", value.expose()));
        shown.collect::<Vec<_>>().join(",")
    };
    assert_eq!(headers(&traces), "c=3");
    assert_eq!(headers(&metrics), "a=1,b=two words");
    assert_eq!((traces.wire, metrics.wire), (Wire::Http, Wire::Grpc));
    assert_eq!((traces.compression, logs.compression), (Compression::None, Compression::Gzip));
    assert_eq!((traces.timeout.as_secs(), logs.timeout.as_secs()), (20, 3));
    let tls = logs.tls.unwrap();
    assert_eq!(tls.ca.unwrap().to_str(), Some("/ca.crt"));
    assert_eq!(tls.identity.unwrap().key.to_str(), Some("/key"));
    assert!(traces.tls.unwrap().identity.is_none());
}

#[test]
fn who_it_is_and_what_is_sampled() {
    let name = |environment: &[&str]| {
        let pairs = otel(environment).resource;
        pairs.into_iter().find(|(key, _)| key == "service.name").map(|(_, value)| value)
    };
    let check = |environment: &[&str], expected: &str| {
        assert_eq!(name(environment).as_deref().unwrap_or_default(), expected, "{environment:?}");
    };
    check(&[], "");
    check(&["OTEL_RESOURCE_ATTRIBUTES=service.name=a,b=c"], "a");
    check(&["OTEL_RESOURCE_ATTRIBUTES=service.name=a", "OTEL_SERVICE_NAME=b"], "b");
    check(&["TRACING_SERVICE_NAME=c"], "");
    check(&["TRACING_ENABLED=1"], "RateLimit");
    check(&["TRACING_ENABLED=1", "OTEL_SERVICE_NAME=b"], "b");
    check(&["TRACING_ENABLED=1", "OTEL_SERVICE_NAME=b", "TRACING_SERVICE_NAME=c"], "c");
    let sampled = |environment: &[&str]| {
        let environment: Vec<&str> =
            environment.iter().copied().chain(["OTEL_TRACES_EXPORTER=otlp"]).collect();
        let (_, _, sampler) = otel(&environment).traces.unwrap();
        (sampler.root, sampler.follows_caller)
    };
    assert_eq!(sampled(&[]), (Root::All, true));
    assert_eq!(sampled(&["OTEL_TRACES_SAMPLER=always_off"]), (Root::None, false));
    let ratio = ["OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.25"];
    assert_eq!(sampled(&ratio), (Root::Part(0.25), true));
    assert_eq!(sampled(&["TRACING_SAMPLING_RATE=0.5"]), (Root::All, true));
    let reference = ["TRACING_ENABLED=true", "TRACING_SAMPLING_RATE=0.5", ratio[0], ratio[1]];
    assert_eq!(sampled(&reference), (Root::Part(0.5), true));
    let formats = |environment: &[&str]| otel(environment).formats.0.to_vec();
    assert_eq!(formats(&[]), [Format::W3c]);
    assert_eq!(formats(&["TRACING_ENABLED=true"]), [Format::W3c, Format::B3]);
    assert_eq!(formats(&["OTEL_PROPAGATORS=b3multi,tracecontext,b3"]), [Format::B3, Format::W3c]);
    assert_eq!(formats(&["OTEL_PROPAGATORS=none"]), []);
}

#[test]
fn what_cannot_be_used_is_named_and_no_secret_shown() {
    let check = |environment: &[&str], expected: &str| {
        let errors = errors(environment);
        assert_eq!(errors.len(), 1, "{environment:?}: {errors:?}");
        assert!(errors[0].starts_with(expected), "{environment:?}: {errors:?}");
        assert!(!errors[0].contains("hunter2"), "{errors:?}");
    };
    check(&["TRACING_EXPORTER_PROTOCOL=udp"], "TRACING_EXPORTER_PROTOCOL: found \"udp\"");
    check(&["TRACING_SAMPLING_RATE=1.5"], "TRACING_SAMPLING_RATE: found \"1.5\"");
    check(&["OTEL_EXPORTER_OTLP_PROTOCOL=http/json"], "OTEL_EXPORTER_OTLP_PROTOCOL: found");
    check(&["OTEL_TRACES_SAMPLER=jaeger_remote"], "OTEL_TRACES_SAMPLER: found");
    check(&["OTEL_EXPORTER_OTLP_HEADERS=hunter2"], "OTEL_EXPORTER_OTLP_HEADERS: found something");
    let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    check(&[&format!("{own}=http://me:hunter2@otel")], &format!("{own}: found a URL with a login"));
    check(&[&format!("{own}=otel:4318")], &format!("{own}: found \"otel:4318\""));
    check(
        &[&format!("{own}=https://otel"), "OTEL_EXPORTER_OTLP_CLIENT_KEY=/key"],
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE: found nothing",
    );
    let shown =
        format!("{:?}", otel(&["OTEL_EXPORTER_OTLP_HEADERS=a=hunter2", "TRACING_ENABLED=1"]));
    assert!(!shown.contains("hunter2"), "{shown}");
}

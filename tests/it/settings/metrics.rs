//! Who gets metrics, and under which names.

use std::time::Duration;

use tidegate::settings::Metrics;
use tidegate::telemetry::{Dialect, Millisecond, Target};

use super::{errors, read};

fn metrics(environment: &[&str]) -> Metrics {
    read(environment).unwrap_or_else(|errors| panic!("{environment:?}:\n{errors}")).metrics
}

/// The sinks in short: `statsd tcp://localhost:8125`.
fn sinks(environment: &[&str]) -> Vec<String> {
    let dialect = |dialect: &Dialect| match dialect {
        Dialect::Statsd => "statsd",
        Dialect::DogStatsd(_) => "dogstatsd",
    };
    let sinks = metrics(environment).sinks;
    sinks.iter().map(|sink| format!("{} {}", dialect(&sink.dialect), sink.target)).collect()
}

#[test]
fn the_sinks_that_are_chosen() {
    let check = |environment: &[&str], expected: &[&str]| {
        assert_eq!(sinks(environment), expected, "{environment:?}");
    };
    let tcp = "statsd tcp://localhost:8125";
    let dog = "dogstatsd udp://localhost:8125";
    check(&[], &[tcp]);
    check(&["USE_STATSD=true"], &[tcp]);
    check(&["USE_STATSD=false"], &[]);
    check(&["USE_STATSD="], &[tcp]);
    check(&["USE_PROMETHEUS=true"], &[]);
    check(&["USE_PROMETHEUS=true", "USE_STATSD=true"], &[tcp]);
    check(&["USE_DOG_STATSD=true"], &[dog]);
    check(&["USE_DOG_STATSD=true", "USE_STATSD=true"], &[tcp, dog]);
    check(&["DISABLE_STATS=true"], &[]);
    check(&["DISABLE_STATS=true", "USE_STATSD=true", "USE_DOG_STATSD=true"], &[]);
    check(&["STATSD_PROTOCOL=udp", "STATSD_HOST=a"], &["statsd udp://a:8125"]);
    check(&["STATSD_HOST=::1", "STATSD_PORT=9"], &["statsd tcp://::1:9"]);
    check(&["STATSD_HOST=[::1]"], &["statsd tcp://::1:8125"]);
    check(&["STATSD_HOST="], &[tcp]);
    check(&["STATSD_HOST=unix:///run/dsd.socket"], &["statsd unix:///run/dsd.socket"]);
    check(
        &["STATSD_HOST=unix:///run/dsd.socket", "USE_DOG_STATSD=true"],
        &["dogstatsd unix:///run/dsd.socket"],
    );
    let target = &metrics(&["STATSD_HOST=unix:///a"]).sinks[0].target;
    assert_eq!(*target, Target::Unix("/a".into()));
}

#[test]
fn no_metrics_listener_with_disable_stats() {
    let prometheus = |words: &[&str]| read(words).unwrap().prometheus.is_some();
    assert!(prometheus(&["USE_PROMETHEUS=true"]));
    assert!(!prometheus(&["USE_PROMETHEUS=true", "DISABLE_STATS=true"]));
}

#[test]
fn names_and_times() {
    let settings = metrics(&[
        "STATS_FLUSH_INTERVAL=1s",
        "PROMETHEUS_MAPPER_YAML=/etc/statsd-exporter/conf.yaml",
        "PROMETHEUS_RESPONSE_TIME_AS_MILLISECONDS=true",
        "EXTRA_TAGS=zone:eu,app:edge",
    ]);
    assert_eq!(settings.flush_interval, Duration::from_secs(1));
    assert_eq!(settings.mapping, Some("/etc/statsd-exporter/conf.yaml".into()));
    assert_eq!(settings.millisecond, Millisecond::One);
    assert_eq!(settings.sinks[0].tags, settings.tags);
    let default = metrics(&["EXTRA_TAGS=", "PROMETHEUS_MAPPER_YAML="]);
    assert_eq!(default.flush_interval, Duration::from_secs(10));
    assert_eq!((default.mapping, default.millisecond), (None, Millisecond::Thousandth));
}

#[test]
fn wrong_ones_are_refused() {
    for word in [
        "STATSD_PROTOCOL=TCP",
        "STATSD_PORT=0",
        "EXTRA_TAGS=a",
        "EXTRA_TAGS=a:b:c",
        "EXTRA_TAGS=a:b,",
        "STATS_FLUSH_INTERVAL=0",
        "USE_STATSD=yes",
    ] {
        assert_eq!(errors(&[word]).len(), 1, "{word}");
    }
}

#[test]
fn mogrifiers_are_read_from_variables_of_their_name() {
    let list = "USE_DOG_STATSD_MOGRIFIERS=TAG,plain";
    let pattern = |text: &str| format!("DOG_STATSD_MOGRIFIER_TAG_PATTERN={text}");
    let rest = [
        "USE_DOG_STATSD=true",
        list,
        "DOG_STATSD_MOGRIFIER_TAG_NAME=ratelimit.$1",
        "DOG_STATSD_MOGRIFIER_TAG_TAGS=domain:$2,all:$0",
        "DOG_STATSD_MOGRIFIER_plain_PATTERN=x",
        "DOG_STATSD_MOGRIFIER_plain_NAME=y",
    ];
    let with = |pattern: &str| -> Vec<String> {
        errors(&rest.into_iter().chain([pattern]).collect::<Vec<_>>())
    };
    assert_eq!(with(&pattern("^a(.*)b(.*)$")), [""; 0]);
    let refused = |found: &str| {
        [format!("DOG_STATSD_MOGRIFIER_TAG_PATTERN: found {found}; allowed: a regular expression")]
    };
    assert_eq!(with(&pattern("(")), refused("\"(\""));
    assert_eq!(with(&pattern("")), refused("nothing"));
    assert_eq!(with("A=b"), refused("nothing"));
    let nothing = errors(&["USE_DOG_STATSD_MOGRIFIERS=A", "DOG_STATSD_MOGRIFIER_A_TAGS=k:"]);
    assert_eq!(nothing.len(), 3, "{nothing:?}");
    assert!(nothing[1].starts_with("DOG_STATSD_MOGRIFIER_A_NAME: found nothing"), "{nothing:?}");
    assert!(nothing[2].starts_with("DOG_STATSD_MOGRIFIER_A_TAGS: found \"k:\""), "{nothing:?}");
}

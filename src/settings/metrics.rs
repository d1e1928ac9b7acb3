//! How metrics are named, and who gets them.

use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use super::Prometheus;
use super::reader::{Reader, quoted};
use super::value::Value;
use crate::telemetry::{Dialect, Millisecond, Mogrifier, SinkConfig, Tags, Target};

/// How metrics are named, and who gets them.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// The statsd servers that get them.
    pub sinks: Vec<SinkConfig>,
    /// How often they get them.
    pub flush_interval: Duration,
    /// Tags, or labels, of everything that envoyproxy/ratelimit has too.
    pub tags: Tags,
    /// A mapping file that names the series of the page.
    pub mapping: Option<PathBuf>,
    /// What a millisecond of response time counts on the page.
    pub millisecond: Millisecond,
}

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Reads them. `prometheus` is the listener that was asked for; what is returned with them
/// is the one there will be.
pub(super) fn read(
    r: &mut Reader<'_>,
    prometheus: Option<Prometheus>,
) -> (Metrics, Option<Prometheus>) {
    let (mapping, millisecond) = page(r);
    let tags = Tags::new(
        r.read(
            "EXTRA_TAGS",
            Pairs(Vec::new()),
            "Tags of every statsd metric, and labels of every series on the page that \
             envoyproxy/ratelimit has too.",
        )
        .0,
    );
    r.group("Statsd");
    let disabled = r.read(
        "DISABLE_STATS",
        false,
        "Send nothing to statsd and open no metrics listener, whatever else is set. `/metrics` \
         of the HTTP listener stays.",
    );
    let statsd = r.optional::<bool>(
        "USE_STATSD",
        "Send metrics to statsd. Unset it means true, unless USE_DOG_STATSD, USE_PROMETHEUS or \
         DISABLE_STATS is true.",
    );
    let dogstatsd = r.read("USE_DOG_STATSD", false, "Send metrics to DogStatsD.");
    let (udp, statsd_target) = targets(r);
    let mogrifiers = mogrifiers(r);
    let flush_interval = r.within(
        "STATS_FLUSH_INTERVAL",
        10_000 * MS,
        10 * MS..=HOUR,
        "How often metrics are sent.",
    );
    let sink = |target, dialect| SinkConfig { target, dialect, tags: tags.clone() };
    let mut sinks = Vec::new();
    if statsd.unwrap_or(!dogstatsd && prometheus.is_none()) {
        sinks.push(sink(statsd_target, Dialect::Statsd));
    }
    if dogstatsd {
        sinks.push(sink(udp, Dialect::DogStatsd(mogrifiers)));
    }
    if disabled {
        sinks.clear();
    }
    let metrics = Metrics { sinks, flush_interval, tags, mapping, millisecond };
    (metrics, prometheus.filter(|_| !disabled))
}

/// What names the series of the page.
fn page(r: &mut Reader<'_>) -> (Option<PathBuf>, Millisecond) {
    r.group("Metrics");
    let mapping = r.read(
        "PROMETHEUS_MAPPER_YAML",
        String::new(),
        "A mapping file of statsd_exporter that names the series of the page. One that cannot be \
         used is an error in the log, and the names built in hold.",
    );
    let raw = r.read(
        "PROMETHEUS_RESPONSE_TIME_AS_MILLISECONDS",
        false,
        "Response times on the page are milliseconds, though their name ends in `_seconds`.",
    );
    let millisecond = if raw { Millisecond::One } else { Millisecond::Thousandth };
    (Some(mapping).filter(|path| !path.is_empty()).map(PathBuf::from), millisecond)
}

/// Where DogStatsD and statsd listen.
fn targets(r: &mut Reader<'_>) -> (Target, Target) {
    let host = r.read(
        "STATSD_HOST",
        "localhost".to_owned(),
        "Where it listens: a host, or `unix:///path` of a datagram socket.",
    );
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.to_owned(),
        None if host.is_empty() => "localhost".to_owned(),
        None => host,
    };
    let port = r.within("STATSD_PORT", 8125, 1..=u16::MAX, "Its port.");
    let protocol = r.read(
        "STATSD_PROTOCOL",
        Protocol::Tcp,
        "How statsd is spoken; DogStatsD goes by UDP in any case.",
    );
    if let Some(path) = host.strip_prefix("unix://") {
        let target = Target::Unix(path.into());
        return (target.clone(), target);
    }
    let udp = Target::Udp(host.clone(), port);
    let statsd = match protocol {
        Protocol::Tcp => Target::Tcp(host, port),
        Protocol::Udp => udp.clone(),
    };
    (udp, statsd)
}

fn mogrifiers(r: &mut Reader<'_>) -> Vec<Mogrifier> {
    let names = r.read(
        "USE_DOG_STATSD_MOGRIFIERS",
        Names(Vec::new()),
        "Names of expressions that rename DogStatsD metrics; the first that matches counts.",
    );
    r.named_by_value(
        "DOG_STATSD_MOGRIFIER_<NAME>_PATTERN",
        REGEX,
        "The expression of the mogrifier of that name.",
    );
    r.named_by_value(
        "DOG_STATSD_MOGRIFIER_<NAME>_NAME",
        TEXT,
        "What the metric is called then; `$1` is what the first group captured.",
    );
    r.named_by_value(
        "DOG_STATSD_MOGRIFIER_<NAME>_TAGS",
        Pairs::ALLOWED,
        "Tags that it gets; their values may have `$1`, too.",
    );
    names.0.iter().filter_map(|name| mogrifier(r, name)).collect()
}

const REGEX: &str = "a regular expression";
const TEXT: &str = "text that is not empty";

fn mogrifier(r: &mut Reader<'_>, name: &str) -> Option<Mogrifier> {
    let variable = |part: &str| format!("DOG_STATSD_MOGRIFIER_{name}_{part}");
    let mut get = |part: &str, allowed: &str| {
        let text = r.raw(&variable(part)).filter(|text| !text.is_empty());
        if text.is_none() {
            r.refuse(&variable(part), "nothing", allowed);
        }
        text
    };
    let (pattern, to) = (get("PATTERN", REGEX), get("NAME", TEXT));
    let pattern = pattern.and_then(|pattern| {
        let regex = Regex::new(&pattern).ok();
        if regex.is_none() {
            r.refuse(&variable("PATTERN"), &quoted(&pattern), REGEX);
        }
        regex
    });
    let text = r.raw(&variable("TAGS")).unwrap_or_default();
    let is_pair = |(key, value): &(String, String)| !key.is_empty() && !value.is_empty();
    let is_full = |pairs: &Pairs| pairs.0.iter().all(is_pair);
    let tags = Pairs::parse(&text).filter(is_full);
    if tags.is_none() {
        r.refuse(&variable("TAGS"), &quoted(&text), Pairs::ALLOWED);
    }
    Some(Mogrifier::new(pattern?, &to?, &tags?.0))
}

/// How statsd is spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
}

impl Value for Protocol {
    const ALLOWED: &'static str = "tcp or udp";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Tcp => "tcp".to_owned(),
            Self::Udp => "udp".to_owned(),
        }
    }
}

/// Names, separated by commas.
#[derive(Clone)]
struct Names(Vec<String>);

impl Value for Names {
    const ALLOWED: &'static str = "names, separated by commas";
    const MAY_BE_EMPTY: bool = true;

    fn parse(text: &str) -> Option<Self> {
        let names = text.split(',').filter(|_| !text.is_empty());
        Some(Self(names.map(str::to_owned).collect()))
    }

    fn show(&self) -> String {
        self.0.join(",")
    }
}

/// Keys and values, separated by commas.
#[derive(Clone)]
struct Pairs(Vec<(String, String)>);

impl Value for Pairs {
    const ALLOWED: &'static str = "pairs key:value, separated by commas";
    const MAY_BE_EMPTY: bool = true;

    fn parse(text: &str) -> Option<Self> {
        let pair = |pair: &str| {
            let (key, value) = pair.split_once(':')?;
            (!value.contains(':')).then(|| (key.to_owned(), value.to_owned()))
        };
        let pairs = text.split(',').filter(|_| !text.is_empty());
        pairs.map(pair).collect::<Option<Vec<_>>>().map(Self)
    }

    fn show(&self) -> String {
        self.0.iter().map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>().join(",")
    }
}

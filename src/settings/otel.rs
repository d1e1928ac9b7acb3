//! The part of the table that says what goes to an OpenTelemetry collector.
//!
//! All of it is read here; nothing underneath looks at the environment. The variables are
//! OpenTelemetry's own, and those of envoyproxy/ratelimit that say the same for traces: with
//! `TRACING_ENABLED=true` these go before the others. What is not asked for is not sent.

mod collector;
mod portions;
mod unused;
mod value;

use std::time::Duration;

use super::reader::Reader;
use super::value::Ratio;
use crate::telemetry::otel::{Batching, Limits, Root, Sampler, Wire};
use crate::telemetry::{Format, Formats};

pub use collector::Collector;

use collector::{Reading, Signal};
use value::{Exporters, Pairs, Propagators, SamplerName};

/// What goes to collectors. By default nothing does.
#[derive(Clone, Debug, PartialEq)]
pub struct Otel {
    /// What callers' own traces are read from.
    pub formats: Formats,
    /// What is said of this process beside what it knows itself.
    pub resource: Vec<(String, String)>,
    /// Traces.
    pub traces: Option<(Collector, Batching, Sampler)>,
    /// Metrics, and how often.
    pub metrics: Option<(Collector, Duration)>,
    /// Lines of the log.
    pub logs: Option<(Collector, Batching)>,
    /// How much attributes may hold: of spans, of lines.
    pub limits: (Limits, Limits),
}

/// The variables of envoyproxy/ratelimit.
struct Reference {
    /// Whether it was said at all, and what.
    enabled: Option<bool>,
    name: Option<String>,
    namespace: String,
    instance: String,
    wire: Option<Wire>,
    rate: Option<f32>,
}

impl Reference {
    fn is_on(&self) -> bool {
        self.enabled == Some(true)
    }
}

/// Reads the groups.
pub(super) fn read(r: &mut Reader<'_>) -> Otel {
    let reference = reference(r);
    r.group("OpenTelemetry");
    let disabled =
        r.read("OTEL_SDK_DISABLED", false, "Send nothing to a collector, whatever else is set.");
    let wanted = exporters(r);
    let formats = formats(r, &reference);
    let sampler = sampler(r, &reference);
    let resource = resource(r, &reference);
    let (general, endpoints) = collector::declare(r);
    let [spans, lines] = portions::batching(r);
    let (interval, patience) = portions::metrics(r);
    let limits = portions::limits(r);
    unused::note_all(r);
    let mut reading = Reading { r, general: &general, wire: None };
    let is_wanted = |signal: Signal| {
        let [traces, metrics, logs] = &endpoints;
        let (exporters, own) = match signal {
            Signal::Traces => (&wanted[0], traces),
            Signal::Metrics => (&wanted[1], metrics),
            Signal::Logs => (&wanted[2], logs),
        };
        let is_asked_for = match signal {
            Signal::Traces if reference.is_on() => true,
            // Who speaks of tracing as envoyproxy/ratelimit does means no more than that.
            _ => own.is_set || general.is_set && reference.enabled.is_none(),
        };
        !disabled && exporters.as_ref().map_or(is_asked_for, |wanted| wanted.0)
    };
    let [traces, metrics, logs] = &endpoints;
    let metrics = is_wanted(Signal::Metrics)
        .then(|| reading.collector(Signal::Metrics, metrics, patience))
        .flatten();
    let logs =
        is_wanted(Signal::Logs).then(|| reading.collector(Signal::Logs, logs, lines.1)).flatten();
    reading.wire = reference.wire.filter(|_| reference.is_on());
    let traces = is_wanted(Signal::Traces)
        .then(|| reading.collector(Signal::Traces, traces, spans.1))
        .flatten();
    Otel {
        formats,
        resource,
        traces: traces.map(|collector| (collector, spans.0, sampler)),
        metrics: metrics.map(|collector| (collector, interval)),
        logs: logs.map(|collector| (collector, lines.0)),
        limits,
    }
}

fn reference(r: &mut Reader<'_>) -> Reference {
    r.group("Traces, as envoyproxy/ratelimit has them");
    let enabled = r.optional(
        "TRACING_ENABLED",
        "Send traces to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names. If it is set, that \
         variable speaks of traces only; unset it stands for whatever the OpenTelemetry \
         variables say.",
    );
    let name: String = r.read(
        "TRACING_SERVICE_NAME",
        "RateLimit".to_owned(),
        "What the process is called in traces, if TRACING_ENABLED is true. Goes before \
         OTEL_SERVICE_NAME if it is set, after it if it is not.",
    );
    let namespace = r.read(
        "TRACING_SERVICE_NAMESPACE",
        String::new(),
        "What it belongs to, if TRACING_ENABLED is true.",
    );
    let instance = r.read(
        "TRACING_SERVICE_INSTANCE_ID",
        String::new(),
        "What tells it from others of its kind, if TRACING_ENABLED is true. Empty: a random UUID.",
    );
    let wire = r.raw("TRACING_EXPORTER_PROTOCOL").filter(|text| !text.is_empty());
    let read = r.read(
        "TRACING_EXPORTER_PROTOCOL",
        value::ShortWire(Wire::Http),
        "How the collector is spoken to, if TRACING_ENABLED is true.",
    );
    let rate = r.raw("TRACING_SAMPLING_RATE").filter(|text| !text.is_empty());
    let Ratio(part) = r.within(
        "TRACING_SAMPLING_RATE",
        Ratio(1.0),
        Ratio(0.0)..=Ratio(1.0),
        "The part of the traces that begin here that is sent, if TRACING_ENABLED is true; a \
         caller's own decision goes before it.",
    );
    Reference {
        enabled,
        name: r.raw("TRACING_SERVICE_NAME").map(|_| name),
        namespace,
        instance,
        wire: wire.map(|_| read.0),
        rate: rate.map(|_| part),
    }
}

/// What each signal is said to go to, if that is said: whether it is a collector.
fn exporters(r: &mut Reader<'_>) -> [Option<Exporters>; 3] {
    [
        ("OTEL_TRACES_EXPORTER", "Where traces go. Unset: to a collector, if anything names one."),
        ("OTEL_METRICS_EXPORTER", "The same for metrics; the pages for Prometheus stay."),
        ("OTEL_LOGS_EXPORTER", "The same for the log, which goes to standard error as well."),
    ]
    .map(|(name, help)| {
        let exporters: Option<Exporters> = r.optional(name, help);
        if exporters.as_ref().is_some_and(|exporters| exporters.1) {
            r.warn(format!("{name} names what is not known here: `otlp` and `none` are"));
        }
        exporters
    })
}

fn formats(r: &mut Reader<'_>, reference: &Reference) -> Formats {
    let given: Option<Propagators> = r.optional(
        "OTEL_PROPAGATORS",
        "How callers name their traces, the last that says something counts: `tracecontext`, \
         `b3` and `b3multi` (which are read alike); `baggage` is not needed. Unset: \
         `tracecontext`, and with TRACING_ENABLED=true `b3` after it.",
    );
    match given {
        Some(Propagators(formats, unknown)) => {
            if unknown {
                r.warn("OTEL_PROPAGATORS names formats that are not known here: they are not read");
            }
            formats
        }
        None if reference.is_on() => Formats([Format::W3c, Format::B3].into_iter().collect()),
        None => Formats([Format::W3c].into_iter().collect()),
    }
}

fn sampler(r: &mut Reader<'_>, reference: &Reference) -> Sampler {
    let given: Option<SamplerName> = r.optional(
        "OTEL_TRACES_SAMPLER",
        "Which calls are traced. Unset: `parentbased_always_on`, or what TRACING_SAMPLING_RATE \
         says.",
    );
    let Ratio(part) = r.within(
        "OTEL_TRACES_SAMPLER_ARG",
        Ratio(1.0),
        Ratio(0.0)..=Ratio(1.0),
        "The part of traces that the samplers with `traceidratio` take.",
    );
    let of_reference = reference.rate.filter(|_| reference.is_on());
    match (of_reference, given) {
        (Some(rate), _) => Sampler { root: Root::Part(rate.into()), follows_caller: true },
        (None, Some(SamplerName(sampler))) => match sampler.root {
            Root::Part(_) => Sampler { root: Root::Part(part.into()), ..sampler },
            _ => sampler,
        },
        (None, None) => Sampler { root: Root::All, follows_caller: true },
    }
}

fn resource(r: &mut Reader<'_>, reference: &Reference) -> Vec<(String, String)> {
    let name =
        r.read("OTEL_SERVICE_NAME", String::new(), "What the process is called; `tidegate`.");
    let Pairs(mut pairs) = r.read(
        "OTEL_RESOURCE_ATTRIBUTES",
        Pairs(Vec::new()),
        "What else is said of the process. It knows its version, instance, host and number by \
         itself, and TIDEGATE_ENVIRONMENT.",
    );
    let mut set = |key: &str, value: &str| {
        if !value.is_empty() {
            pairs.retain(|(other, _)| other != key);
            pairs.push((key.to_owned(), value.to_owned()));
        }
    };
    set("service.name", &name);
    if reference.is_on() {
        match &reference.name {
            Some(name) => set("service.name", name),
            None if name.is_empty() => set("service.name", "RateLimit"),
            None => {}
        }
        set("service.namespace", &reference.namespace);
        set("service.instance.id", &reference.instance);
    }
    pairs
}

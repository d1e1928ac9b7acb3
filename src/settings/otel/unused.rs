//! OpenTelemetry's variables that have no effect here, each with a line at the start that
//! says why.

use crate::settings::reader::{Declared, Reader};
use crate::settings::value::same;

const EVENTS: &str = "Spans have no events, and links no attributes.";
const CUMULATIVE: &str = "Metrics are cumulative.";
const BUCKETS: &str = "Histograms have the buckets of the metrics page.";
const EXEMPLARS: &str = "Metrics have no exemplars.";
const OWN_LOG: &str = "LOG_LEVEL says what is logged.";
const FILES: &str = "Environment variables configure the process.";
const OTLP: &str = "Telemetry is sent over OTLP; the pages for Prometheus are on listeners of \
                    their own.";

/// Name, the value that asks for nothing, and why it has no effect.
const UNUSED: [(&str, &str, &str); 16] = [
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "128", EVENTS),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "128", EVENTS),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "128", EVENTS),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative", CUMULATIVE),
    (
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "explicit_bucket_histogram",
        BUCKETS,
    ),
    ("OTEL_METRICS_EXEMPLAR_FILTER", "always_off", EXEMPLARS),
    ("OTEL_LOG_LEVEL", "info", OWN_LOG),
    ("OTEL_CONFIG_FILE", "", FILES),
    ("OTEL_EXPERIMENTAL_CONFIG_FILE", "", FILES),
    ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "", OTLP),
    ("OTEL_EXPORTER_ZIPKIN_TIMEOUT", "", OTLP),
    ("OTEL_EXPORTER_PROMETHEUS_HOST", "", OTLP),
    ("OTEL_EXPORTER_PROMETHEUS_PORT", "", OTLP),
    ("OTEL_EXPORTER_JAEGER_ENDPOINT", "", OTLP),
    ("OTEL_EXPORTER_JAEGER_AGENT_HOST", "", OTLP),
    ("OTEL_EXPORTER_JAEGER_AGENT_PORT", "", OTLP),
];

/// Declares all of them, with a warning for each that asks for something.
pub(super) fn note_all(r: &mut Reader<'_>) {
    for (name, nothing, help) in UNUSED {
        let (default, allowed) = Default::default();
        let group = "OpenTelemetry: not needed, a warning at start";
        let declared = Declared { name, default, allowed, help, group };
        if r.noted(declared).is_some_and(|text| !same(&text, nothing)) {
            let why = help.trim_end_matches('.');
            r.warn(format!("{name} is set but has no effect: {why}"));
        }
    }
}

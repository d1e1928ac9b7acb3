//! How much is kept and sent at a time, and how much attributes may hold.

use std::time::Duration;

use crate::settings::reader::Reader;
use crate::telemetry::otel::{Batching, Limits};

/// The most milliseconds that any of them may say: a day.
const MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// The most items that may wait.
const MAX_ITEMS: usize = 1_000_000;

/// Names and defaults of one signal's portions.
struct Names {
    delay: (&'static str, u64),
    queue: &'static str,
    batch: &'static str,
    timeout: &'static str,
}

const SPANS: Names = Names {
    delay: ("OTEL_BSP_SCHEDULE_DELAY", 5000),
    queue: "OTEL_BSP_MAX_QUEUE_SIZE",
    batch: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    timeout: "OTEL_BSP_EXPORT_TIMEOUT",
};

const LINES: Names = Names {
    delay: ("OTEL_BLRP_SCHEDULE_DELAY", 1000),
    queue: "OTEL_BLRP_MAX_QUEUE_SIZE",
    batch: "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
    timeout: "OTEL_BLRP_EXPORT_TIMEOUT",
};

/// The portions of spans and of lines, and how long a message of either may take at most.
pub(super) fn batching(r: &mut Reader<'_>) -> [(Batching, Duration); 2] {
    r.group("OpenTelemetry: how much at a time");
    [SPANS, LINES].map(|names| {
        let delay = r.within(
            names.delay.0,
            names.delay.1,
            1..=MAX_MS,
            "How many milliseconds a span, or a line, waits for others at most.",
        );
        let max_queue = r.within(
            names.queue,
            2048,
            1..=MAX_ITEMS,
            "How many wait at most; what comes then is dropped, and counted. A call has about \
             five spans, and counts as five.",
        );
        let max_batch = r.within(
            names.batch,
            512,
            1..=MAX_ITEMS,
            "How many go in one message; so many waiting are sent at once.",
        );
        let timeout = r.within(
            names.timeout,
            30_000,
            1..=MAX_MS,
            "How many milliseconds a message may take, if the collector's time-out is longer.",
        );
        let max_batch = max_batch.min(max_queue);
        let delay = Duration::from_millis(delay);
        (Batching { max_queue, max_batch, delay }, Duration::from_millis(timeout))
    })
}

/// How often metrics are sent, and how long that may take at most.
pub(super) fn metrics(r: &mut Reader<'_>) -> (Duration, Duration) {
    let interval = r.within(
        "OTEL_METRIC_EXPORT_INTERVAL",
        60_000,
        1..=MAX_MS,
        "How many milliseconds lie between two reports of metrics.",
    );
    let timeout = r.within(
        "OTEL_METRIC_EXPORT_TIMEOUT",
        30_000,
        1..=MAX_MS,
        "How many milliseconds a report may take, if the collector's time-out is longer.",
    );
    (Duration::from_millis(interval), Duration::from_millis(timeout))
}

/// How much attributes may hold: of spans, of lines.
pub(super) fn limits(r: &mut Reader<'_>) -> (Limits, Limits) {
    let defaults = Limits::default();
    let count = r.read(
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        defaults.count,
        "How many attributes a span or a line has.",
    );
    let length: Option<usize> = r.optional(
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "How many characters an attribute has; the rest is cut off. Unset: all.",
    );
    let mut of = |count_name, length_name| {
        let own: Option<usize> = r.optional(count_name, "The same for these alone.");
        let own_length: Option<usize> = r.optional(length_name, "The same for these alone.");
        Limits {
            count: own.unwrap_or(count),
            value_length: own_length.or(length).unwrap_or(defaults.value_length),
            ..defaults
        }
    };
    let spans = of("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT");
    let lines =
        of("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT");
    let links = r.within(
        "OTEL_SPAN_LINK_COUNT_LIMIT",
        defaults.links,
        0..=defaults.links,
        "How many of the calls that a round trip to Redis served are linked from its span.",
    );
    (Limits { links, ..spans }, lines)
}

//! Lines of the log as log records.
//!
//! The crates that sending itself needs are left out, whatever they say: or each line that is
//! sent would make others.

use std::fmt;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::attributes::{Attributes, Limits, any};
use super::queue::Queue;
use crate::clock::Clock;

/// Crates whose lines are not sent.
const LEFT_OUT: [&str; 8] =
    ["h2", "hyper", "hyper_util", "tonic", "tower", "rustls", "tokio_rustls", "mio"];

/// The field that is the line itself.
const MESSAGE: &str = "message";

/// Sends the events that reach it.
#[derive(Debug)]
pub struct LogLayer {
    queue: Arc<Queue<LogRecord>>,
    limits: Limits,
}

impl LogLayer {
    pub(super) fn new(queue: Arc<Queue<LogRecord>>, limits: Limits) -> Self {
        Self { queue, limits }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target();
        if LEFT_OUT.contains(&target.split("::").next().unwrap_or(target)) {
            return;
        }
        let mut fields = Fields { body: None, attributes: Attributes::new(self.limits) };
        event.record(&mut fields);
        let (number, text) = severity(*event.metadata().level());
        let now = Clock::System.now().as_micros().saturating_mul(1000);
        self.queue.push(LogRecord {
            time_unix_nano: now,
            observed_time_unix_nano: now,
            severity_number: number.into(),
            severity_text: text.to_owned(),
            body: fields.body.map(|text| any(Value::StringValue(text))),
            attributes: fields.attributes.list,
            dropped_attributes_count: fields.attributes.dropped,
            ..LogRecord::default()
        });
    }
}

fn severity(level: Level) -> (SeverityNumber, &'static str) {
    match level {
        Level::ERROR => (SeverityNumber::Error, "ERROR"),
        Level::WARN => (SeverityNumber::Warn, "WARN"),
        Level::INFO => (SeverityNumber::Info, "INFO"),
        Level::DEBUG => (SeverityNumber::Debug, "DEBUG"),
        Level::TRACE => (SeverityNumber::Trace, "TRACE"),
    }
}

/// The fields of an event.
struct Fields {
    body: Option<String>,
    attributes: Attributes,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            MESSAGE => self.body = Some(value.to_owned()),
            name => self.attributes.text(name, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attributes.add(field.name(), Value::IntValue(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.attributes
            .add(field.name(), Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attributes.add(field.name(), Value::DoubleValue(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attributes.add(field.name(), Value::BoolValue(value));
    }
}

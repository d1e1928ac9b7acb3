//! The three kinds of telemetry: what their messages are and where they go.

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use opentelemetry_semantic_conventions::SCHEMA_URL;
use prost::Message;

use super::attributes::{Resource, scope};

/// A kind of telemetry.
pub(super) trait Signal: Send + 'static {
    /// What it is called.
    const NAME: &'static str;
    /// The method that takes it over gRPC.
    const METHOD: &'static str;
    /// What it consists of.
    type Item: Send;
    /// What carries items.
    type Request: Message + Clone + Default + 'static;
    /// What answers.
    type Response: Message + Default + 'static;

    /// The message of some items.
    fn request(items: Vec<Self::Item>, resource: &Resource) -> Self::Request;

    /// How many items the collector did not take.
    fn rejected(response: &Self::Response) -> i64;
}

pub(super) enum Traces {}
pub(super) enum Metrics {}
pub(super) enum Logs {}

impl Signal for Traces {
    const NAME: &'static str = "traces";
    const METHOD: &'static str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    type Item = Span;
    type Request = ExportTraceServiceRequest;
    type Response = ExportTraceServiceResponse;

    fn request(spans: Vec<Span>, resource: &Resource) -> Self::Request {
        let schema_url = SCHEMA_URL.to_owned();
        let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() }];
        let resource_spans =
            vec![ResourceSpans { resource: resource.some(), scope_spans, schema_url }];
        ExportTraceServiceRequest { resource_spans }
    }

    fn rejected(response: &Self::Response) -> i64 {
        response.partial_success.as_ref().map_or(0, |partial| partial.rejected_spans)
    }
}

impl Signal for Metrics {
    const NAME: &'static str = "metrics";
    const METHOD: &'static str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    type Item = Metric;
    type Request = ExportMetricsServiceRequest;
    type Response = ExportMetricsServiceResponse;

    fn request(metrics: Vec<Metric>, resource: &Resource) -> Self::Request {
        let schema_url = SCHEMA_URL.to_owned();
        let scope_metrics =
            vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
        let resource_metrics =
            vec![ResourceMetrics { resource: resource.some(), scope_metrics, schema_url }];
        ExportMetricsServiceRequest { resource_metrics }
    }

    fn rejected(response: &Self::Response) -> i64 {
        response.partial_success.as_ref().map_or(0, |partial| partial.rejected_data_points)
    }
}

impl Signal for Logs {
    const NAME: &'static str = "logs";
    const METHOD: &'static str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    type Item = LogRecord;
    type Request = ExportLogsServiceRequest;
    type Response = ExportLogsServiceResponse;

    fn request(log_records: Vec<LogRecord>, resource: &Resource) -> Self::Request {
        let schema_url = SCHEMA_URL.to_owned();
        let scope_logs = vec![ScopeLogs { scope: scope(), log_records, ..ScopeLogs::default() }];
        let resource_logs =
            vec![ResourceLogs { resource: resource.some(), scope_logs, schema_url }];
        ExportLogsServiceRequest { resource_logs }
    }

    fn rejected(response: &Self::Response) -> i64 {
        response.partial_success.as_ref().map_or(0, |partial| partial.rejected_log_records)
    }
}

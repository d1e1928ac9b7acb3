//! Traces as spans, named as the semantic conventions for RPC, HTTP and databases say.
//!
//! A call is a span of kind SERVER with one child for each stage. A round trip to Redis is a
//! span of kind CLIENT: the child of the first call that it served, with links to all of
//! them, as a span has one parent and a merged round trip has many.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{self, Span, SpanFlags};
use opentelemetry_semantic_conventions::attribute as name;
use tonic::Code;

use super::SPANS_PER_CALL;
use super::attributes::{Attributes, Limits};
use super::queue::Queue;
use super::sampler::Sampler;
use crate::clock::Timestamp;
use crate::limiter::Source;
use crate::telemetry::{Caller, Protocol, RoundTrip, Stage, Status, Trace, TraceSink};

/// The method that decides.
const METHOD: &str = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// How many attributes the span of a call has at most.
const ATTRIBUTES_OF_CALL: usize = 10;

/// The flag of sampled spans.
const SAMPLED: u32 = 1;

/// Where the parent of a span is, or what a link leads to.
#[derive(Clone, Copy)]
enum Parent {
    /// In this process, if there is one.
    Here,
    /// With the caller.
    Elsewhere,
}

/// Takes traces for the queue.
#[derive(Debug)]
pub(super) struct SpanSink {
    pub(super) queue: Arc<Queue<Recorded>>,
    pub(super) sampler: Sampler,
}

/// What becomes spans.
pub(super) enum Recorded {
    Call(Arc<Trace>),
    RoundTrip(RoundTrip),
}

impl TraceSink for SpanSink {
    fn wants(&self, caller: Option<&Caller>, trace: u128) -> bool {
        self.sampler.wants(caller, trace)
    }

    fn ended(&self, trace: &Arc<Trace>) {
        self.queue.push(Recorded::Call(Arc::clone(trace)));
    }

    fn asked(&self, trip: RoundTrip) {
        self.queue.push(Recorded::RoundTrip(trip));
    }
}

/// The spans of all of them.
pub(super) fn message(batch: &[Recorded], limits: Limits) -> Vec<Span> {
    let mut spans = Vec::with_capacity(batch.len() * SPANS_PER_CALL);
    for recorded in batch {
        match recorded {
            Recorded::Call(trace) => {
                spans.push(call(trace, limits));
                stages(trace, limits, &mut spans);
            }
            Recorded::RoundTrip(trip) => spans.push(round_trip(trip, limits)),
        }
    }
    spans
}

fn call(trace: &Trace, limits: Limits) -> Span {
    let caller = trace.caller.as_ref().filter(|caller| caller.is_known());
    let mut attributes = Attributes::with_room(limits, ATTRIBUTES_OF_CALL);
    let is_error = match trace.protocol {
        Protocol::Grpc => rpc(trace, &mut attributes),
        Protocol::Http => http(trace, &mut attributes),
    };
    match trace.outcome.get() {
        None => attributes.text("tidegate.outcome", "cancelled"),
        Some(outcome) => {
            attributes.text("tidegate.outcome", outcome.status.name());
            attributes.text("tidegate.domain", &outcome.domain);
            attributes.text("tidegate.request_id", &outcome.request_id);
            if !matches!(outcome.status, Status::Failed { .. }) {
                attributes.number("tidegate.descriptors", outcome.descriptors);
                attributes.texts("tidegate.rules", outcome.rules.iter().map(|rule| &**rule));
            }
        }
    }
    let code = if is_error { StatusCode::Error } else { StatusCode::Unset };
    Span {
        span_id: trace.span.to_be_bytes().into(),
        parent_span_id: caller.map_or_else(Vec::new, |caller| caller.span.to_be_bytes().into()),
        flags: flags(caller.map_or(Parent::Here, |_| Parent::Elsewhere)),
        name: match trace.protocol {
            Protocol::Grpc => METHOD.to_owned(),
            Protocol::Http => "POST /json".to_owned(),
        },
        kind: SpanKind::Server.into(),
        status: Some(v1::Status { code: code.into(), ..v1::Status::default() }),
        ..with(attributes, base(trace, (Duration::ZERO, trace.took)))
    }
}

fn stages(trace: &Trace, limits: Limits, spans: &mut Vec<Span>) {
    for (i, &(stage, begin)) in trace.stages.iter().enumerate() {
        let end = trace.stages.get(i + 1).map_or(trace.took, |(_, begin)| *begin);
        let mut attributes = Attributes::new(limits);
        let id = match stage {
            Stage::Store => {
                attributes.texts("tidegate.sources", trace.sources().map(source));
                trace.store_span
            }
            _ => fastrand::u64(1..),
        };
        spans.push(Span {
            span_id: id.to_be_bytes().into(),
            parent_span_id: trace.span.to_be_bytes().into(),
            flags: flags(Parent::Here),
            name: stage.name().to_owned(),
            kind: SpanKind::Internal.into(),
            ..with(attributes, base(trace, (begin, end)))
        });
    }
}

fn round_trip(trip: &RoundTrip, limits: Limits) -> Span {
    let mut attributes = Attributes::new(limits);
    attributes.text(name::DB_SYSTEM_NAME, "redis");
    let operation = if trip.commands > 1 { "PIPELINE EVALSHA" } else { "EVALSHA" };
    attributes.text(name::DB_OPERATION_NAME, operation);
    if trip.commands > 1 {
        attributes.number(name::DB_OPERATION_BATCH_SIZE, trip.commands);
    }
    let port =
        trip.server.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    attributes.text(name::SERVER_ADDRESS, port.map_or(&*trip.server, |(host, _)| host));
    if let Some((_, port)) = port {
        attributes.number(name::SERVER_PORT, port);
    }
    attributes.number("tidegate.requests", trip.requests);
    attributes.number("tidegate.operations", trip.operations);
    if let Some(error) = trip.error {
        attributes.text(name::ERROR_TYPE, error);
    }
    let code = if trip.error.is_some() { StatusCode::Error } else { StatusCode::Unset };
    let links = trip.calls.iter().take(limits.links).map(|call| Link {
        trace_id: call.trace.to_be_bytes().into(),
        span_id: call.span.to_be_bytes().into(),
        flags: flags(Parent::Here),
        ..Link::default()
    });
    let links: Vec<Link> = links.collect();
    let dropped = trip.calls.len() - links.len() + trip.unnamed;
    let parent = trip.calls.first();
    let nanos = |at: Timestamp| at.as_micros().saturating_mul(1000);
    let span = Span {
        trace_id: parent.map_or_else(Vec::new, |call| call.trace.to_be_bytes().into()),
        span_id: fastrand::u64(1..).to_be_bytes().into(),
        parent_span_id: parent.map_or_else(Vec::new, |call| call.span.to_be_bytes().into()),
        flags: flags(Parent::Here),
        name: operation.to_owned(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: nanos(trip.began),
        end_time_unix_nano: nanos(trip.began).saturating_add(trip.took.as_nanos() as u64),
        links,
        dropped_links_count: u32::try_from(dropped).unwrap_or(u32::MAX),
        status: Some(v1::Status { code: code.into(), ..v1::Status::default() }),
        ..Span::default()
    };
    with(attributes, span)
}

/// What a call by gRPC came to; whether that is the server's fault.
fn rpc(trace: &Trace, attributes: &mut Attributes) -> bool {
    let code = trace.outcome.get().map_or(Code::Cancelled, |outcome| outcome.status.code());
    attributes.text(name::RPC_SYSTEM_NAME, "grpc");
    attributes.text(name::RPC_METHOD, METHOD);
    let text = code_name(code);
    attributes.text(name::RPC_RESPONSE_STATUS_CODE, text);
    let is_error = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if is_error {
        attributes.text(name::ERROR_TYPE, text);
    }
    is_error
}

/// The same for `/json`.
fn http(trace: &Trace, attributes: &mut Attributes) -> bool {
    attributes.text(name::HTTP_REQUEST_METHOD, "POST");
    attributes.text(name::HTTP_ROUTE, "/json");
    attributes.text(name::URL_PATH, "/json");
    attributes.text(name::URL_SCHEME, "http");
    let Some(outcome) = trace.outcome.get() else { return false };
    let status = outcome.status.http();
    attributes.number(name::HTTP_RESPONSE_STATUS_CODE, status.as_u16().into());
    if status.is_server_error() {
        attributes.text(name::ERROR_TYPE, status.as_str());
    }
    status.is_server_error()
}

/// A part of a call, in the caller's trace.
fn base(trace: &Trace, (begin, end): (Duration, Duration)) -> Span {
    let began = trace.began.as_micros().saturating_mul(1000);
    let state = trace.caller.as_ref().and_then(|caller| caller.state.as_ref()?.to_str().ok());
    Span {
        trace_id: trace.id.to_be_bytes().into(),
        trace_state: state.unwrap_or_default().to_owned(),
        start_time_unix_nano: began.saturating_add(begin.as_nanos() as u64),
        end_time_unix_nano: began.saturating_add(end.as_nanos() as u64),
        ..Span::default()
    }
}

fn with(attributes: Attributes, span: Span) -> Span {
    let dropped_attributes_count = attributes.dropped;
    Span { attributes: attributes.list, dropped_attributes_count, ..span }
}

/// Sampled, and where the parent is.
fn flags(parent: Parent) -> u32 {
    let remote = match parent {
        Parent::Here => 0,
        Parent::Elsewhere => SpanFlags::ContextIsRemoteMask as u32,
    };
    SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32 | remote
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Store => "store",
        Source::RefusalCache => "refusal_cache",
        Source::Lease => "lease",
        Source::Fallback => "fallback",
        Source::Nobody => "nobody",
    }
}

/// As gRPC writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

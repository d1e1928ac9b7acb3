//! The gRPC listener.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use super::accept::{Arrivals, Terms, welcome};
use super::direct::Direct;
use super::rate_limit::RateLimit;
use super::session::Session;
use super::{Doors, Front, HealthApi};
use crate::store::Store;
use crate::tls::Acceptor;
use crate::wire::pb;
use crate::wire::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use crate::wire::pb::grpc::health::v1::health_server::HealthServer;
use crate::wire::pb::tidegate::health::v1::health_service_server::HealthServiceServer;

/// How the gRPC listener treats its clients.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// What they may hold and how long they may take.
    pub doors: Arc<Doors>,
    /// Shakes hands with connections; `None`: they are plain.
    pub tls: Option<Arc<Acceptor>>,
    /// A connection is told to go at this age; `None`: never.
    pub max_connection_age: Option<Duration>,
    /// And cut this long after; `None`: never.
    pub max_connection_age_grace: Option<Duration>,
    /// Whether the server describes its services.
    pub reflection: Reflection,
}

/// Whether server reflection is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reflection {
    /// It is.
    On,
    /// It is not.
    #[default]
    Off,
}

/// What every connection of HTTP/2 begins with: `PRI * HTTP/2.0` and so on.
const PREFACE_BYTES: usize = 24;

/// Serves those who arrive until no more can, then tells every connection to go and resolves
/// when the last one has gone.
///
/// # Errors
///
/// The services cannot be described for reflection.
pub async fn serve<S: Store>(
    arrivals: Arrivals,
    (front, health): (Arc<Front<S>>, HealthApi),
    options: GrpcOptions,
) -> anyhow::Result<()> {
    let terms = Terms {
        tls: options.tls.clone(),
        doors: Arc::clone(&options.doors),
        first_words: PREFACE_BYTES,
    };
    let session = Arc::new(Session {
        services: services(front, health, &options)?,
        unreadable: Unreadable::new(options.doors.max_message_bytes),
        doors: Arc::clone(&options.doors),
        max_age: options.max_connection_age.map(jittered),
        grace: options.max_connection_age_grace,
    });
    // They end a little after the stop, when the listener is closed and what waited there has
    // been served; only then are the connections told to go.
    let mut incoming = welcome(arrivals, terms);
    let (sessions, leave) = (TaskTracker::new(), CancellationToken::new());
    while let Some(Ok(connection)) = incoming.next().await {
        sessions.spawn(Arc::clone(&session).host(connection, leave.clone()));
    }
    leave.cancel();
    sessions.close();
    sessions.wait().await;
    Ok(())
}

fn services<S: Store>(
    front: Arc<Front<S>>,
    health: HealthApi,
    options: &GrpcOptions,
) -> anyhow::Result<Direct<S>> {
    let max = options.doors.max_message_bytes;
    let rate_limit = RateLimitServiceServer::new(RateLimit(front))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(max);
    let probes = HealthServer::new(health.clone()).max_decoding_message_size(max);
    let report = HealthServiceServer::new(health).max_decoding_message_size(max);
    let mut others = Routes::new(probes).add_service(report);
    if options.reflection == Reflection::On {
        let describe = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .build_v1()?;
        others = others.add_service(describe);
    }
    Ok(Direct { first: rate_limit, others: others.prepare() })
}

/// Up to a tenth more or less, so that the replicas' connections do not end together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(0.9 + 0.2 * fastrand::f64())
}

/// Says that what cannot be read is an invalid argument, and of a message over the maximum
/// which bound it passed. The transport has other codes for both: INTERNAL and
/// OUT_OF_RANGE, which none of our services says itself, and RESOURCE_EXHAUSTED.
#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    too_large: Option<HeaderValue>,
}

impl Unreadable {
    fn new(max: usize) -> Self {
        let too_large = format!(
            "the message is larger than the maximum of {max} bytes (TIDEGATE_MAX_MESSAGE_BYTES)"
        );
        Self { too_large: HeaderValue::from_str(&too_large.replace(' ', "%20")).ok() }
    }

    /// The same answer in our words.
    pub(super) fn say(&self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        // Answers have their status at the end.
        if !headers.contains_key("grpc-status") {
            return response;
        }
        let is_too_large = is_too_large(headers);
        if is_too_large || says(headers, "grpc-status", "13") {
            headers.insert("grpc-status", HeaderValue::from_static("3"));
        }
        if let Some(reason) = self.too_large.clone().filter(|_| is_too_large) {
            headers.insert("grpc-message", reason);
        }
        response
    }
}

/// RESOURCE_EXHAUSTED is also our word for a full store, so that the text must tell.
fn is_too_large(headers: &HeaderMap) -> bool {
    says(headers, "grpc-status", "11")
        || (says(headers, "grpc-status", "8")
            && says(headers, "grpc-message", "Error%20decompressing"))
}

fn says(headers: &HeaderMap, name: &str, text: &str) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes().starts_with(text.as_bytes()))
}

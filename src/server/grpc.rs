//! The gRPC listener.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response};
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::transport::Server;
use tower::util::MapResponseLayer;

use super::accept::{Arrivals, Terms, welcome};
use super::direct::Direct;
use super::rate_limit::RateLimit;
use super::{Front, HealthApi};
use crate::store::Store;
use crate::tls::Acceptor;
use crate::wire::pb;
use crate::wire::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;
use crate::wire::pb::grpc::health::v1::health_server::HealthServer;
use crate::wire::pb::tidegate::health::v1::health_service_server::HealthServiceServer;

/// How the gRPC listener treats its clients.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// The largest message, before and after decompression.
    pub max_message_bytes: usize,
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

/// Streams that one connection may have open.
const MAX_STREAMS: u32 = 10_000;
/// A silent peer is asked for a sign of life this often, and given up this long after.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The most that the headers of a request may hold.
const MAX_HEADER_BYTES: u32 = 64 * 1024;

/// Serves those who arrive until no more can, then tells every connection to go and resolves
/// when the last one has gone.
///
/// # Errors
///
/// The services cannot be described for reflection, or serving failed.
pub async fn serve<S: Store>(
    arrivals: Arrivals,
    (front, health): (Arc<Front<S>>, HealthApi),
    options: GrpcOptions,
) -> anyhow::Result<()> {
    let max_age = options.max_connection_age.map(jittered);
    let terms = Terms {
        tls: options.tls.clone(),
        // Left to the transport, the grace would stand in for being told to go.
        max_age: max_age.zip(options.max_connection_age_grace).map(|(age, grace)| age + grace),
    };
    // It ends a little after the stop, when the listener is closed and what waited there has
    // been served; only then are the connections told to go.
    let incoming = welcome(arrivals, terms);
    let service = service(front, health, &options)?;
    let mut server = Server::builder();
    if let Some(age) = max_age {
        server = server.max_connection_age(age);
    }
    server
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(MapResponseLayer::new(unreadable_is_invalid(options.max_message_bytes)))
        .serve_with_incoming_shutdown(service, incoming, std::future::pending())
        .await?;
    Ok(())
}

fn service<S: Store>(
    front: Arc<Front<S>>,
    health: HealthApi,
    options: &GrpcOptions,
) -> anyhow::Result<Direct<RateLimitServiceServer<RateLimit<S>>>> {
    let max = options.max_message_bytes;
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

/// A message that cannot be unpacked is an invalid argument, and one over the maximum
/// should name the bound it passed. The transport has other codes for both: INTERNAL and
/// OUT_OF_RANGE, which none of our services says itself, and RESOURCE_EXHAUSTED.
fn unreadable_is_invalid(max: usize) -> impl Fn(Response<Body>) -> Response<Body> + Clone {
    let too_large = format!(
        "the message is larger than the maximum of {max} bytes (TIDEGATE_MAX_MESSAGE_BYTES)"
    );
    let too_large = HeaderValue::from_str(&too_large.replace(' ', "%20")).ok();
    move |mut response| {
        let headers = response.headers_mut();
        // Answers have their status at the end.
        if !headers.contains_key("grpc-status") {
            return response;
        }
        let too_large = too_large.clone().filter(|_| is_too_large(headers));
        if too_large.is_some() || says(headers, "grpc-status", "13") {
            headers.insert("grpc-status", HeaderValue::from_static("3"));
        }
        if let Some(reason) = too_large {
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

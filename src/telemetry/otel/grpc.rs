//! OTLP over gRPC: one connection, opened when it is needed and again when it broke.

use ::http::uri::PathAndQuery;
use ::http::{Extensions, HeaderMap, Uri};
use hyper_util::rt::TokioIo;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::super::cause::explain;
use super::client::Refusal;
use super::signal::Signal;
use super::{Collector, Compression};

/// How a sender names itself.
pub(super) const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// A collector.
pub(super) struct Grpc {
    collector: Collector,
    client: Option<tonic::client::Grpc<Channel>>,
}

impl Grpc {
    pub(super) fn new(collector: Collector) -> Self {
        Self { collector, client: None }
    }

    /// Sends one message.
    pub(super) async fn send<S: Signal>(
        &mut self,
        message: S::Request,
    ) -> Result<S::Response, Refusal> {
        let headers: HeaderMap = self.collector.headers.clone();
        let client = match &mut self.client {
            Some(client) => client,
            // Not before: it needs the runtime.
            none => none.insert(open(&self.collector)?),
        };
        let unreached = |error: tonic::transport::Error| Refusal::Unreached(explain(&error));
        client.ready().await.map_err(unreached)?;
        let metadata = MetadataMap::from_headers(headers);
        let request = tonic::Request::from_parts(metadata, Extensions::new(), message);
        let path = PathAndQuery::from_static(S::METHOD);
        let codec = ProstCodec::<S::Request, S::Response>::default();
        match client.unary(request, path, codec).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(match std::error::Error::source(&status) {
                Some(error) => Refusal::Unreached(explain(error)),
                None => Refusal::Code(status.code()),
            }),
        }
    }
}

fn open(collector: &Collector) -> Result<tonic::client::Grpc<Channel>, Refusal> {
    let dial = std::sync::Arc::clone(&collector.dial);
    let connector = service_fn(move |_: Uri| {
        let dialled = dial();
        async move { dialled.await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from(collector.endpoint.clone())
        .connect_timeout(collector.timeout)
        .user_agent(USER_AGENT)
        .map_err(|error| Refusal::Unreached(explain(&error)))?;
    let client = tonic::client::Grpc::new(endpoint.connect_with_connector_lazy(connector));
    Ok(match collector.compression {
        Compression::None => client,
        Compression::Gzip => client.send_compressed(CompressionEncoding::Gzip),
    }
    .accept_compressed(CompressionEncoding::Gzip))
}

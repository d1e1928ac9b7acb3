//! A management server that does what a test says.
//!
//! It is made of `envoy-types`, generated from Envoy's own files, so every test that uses
//! it also shows that our side of the protocol is what others speak. As servers written in
//! Go do, it sends not even headers before its first answer.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tidegate::tls::Identity;
use tidegate::wire::pb::ratelimit::config::ratelimit::v3::RateLimitConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use super::certs::Authority;
use super::port::{Port, shared};
use super::process::PATIENCE;

/// The type of resource that is asked for.
pub(crate) const TYPE_URL: &str =
    "type.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig";

/// A running management server, in a runtime of its own, so that it can go at once.
pub(crate) struct Management {
    runtime: Option<Runtime>,
    port: Option<Port>,
    address: SocketAddr,
    streams: mpsc::UnboundedReceiver<Stream>,
}

/// A stream that a client has opened.
pub(crate) struct Stream {
    /// The headers it came with.
    pub(crate) headers: MetadataMap,
    /// The certificate that the client has shown.
    pub(crate) peer: Option<CertificateDer<'static>>,
    requests: Streaming<DiscoveryRequest>,
    answers: mpsc::Sender<Result<DiscoveryResponse, Status>>,
}

impl Management {
    /// A server on a free port.
    pub(crate) async fn start() -> Self {
        Self::start_at(Port::free()).await
    }

    /// A server on that port.
    pub(crate) async fn start_at(port: Port) -> Self {
        Self::start_with(port, None).await
    }

    /// A server that wants certificates of `authority`, and shows `identity`.
    pub(crate) async fn start_tls(authority: &Authority, identity: &Identity) -> Self {
        Self::start_with(Port::free(), Some(acceptor(authority, identity))).await
    }

    async fn start_with(port: Port, tls: Option<TlsAcceptor>) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let (streams, opened) = mpsc::unbounded_channel();
        let address = port.address();
        let socket = shared(address);
        socket.listen(128).unwrap();
        let serving = runtime.spawn(async move {
            let listener = TcpListener::from_std(socket.into()).unwrap();
            tokio::spawn(serve(listener, tls, streams));
        });
        serving.await.unwrap();
        Self { runtime: Some(runtime), port: Some(port), address, streams: opened }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next stream that is opened.
    pub(crate) async fn stream(&mut self) -> Stream {
        let stream = timeout(PATIENCE, self.streams.recv()).await;
        stream.expect("no stream was opened").expect("the server has ended")
    }

    /// Ends the server with its listener and all connections; its port stays taken.
    pub(crate) async fn stop(mut self) -> Port {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
        self.port.take().unwrap()
    }
}

impl Drop for Management {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Stream {
    /// What the client says next.
    pub(crate) async fn request(&mut self) -> DiscoveryRequest {
        let request = timeout(PATIENCE, self.requests.message()).await;
        request.expect("the client is silent").unwrap().expect("the client has ended the stream")
    }

    /// Whether the client ends the stream, however it does.
    pub(crate) async fn ended(&mut self) {
        let over = async { while let Ok(Some(_)) = self.requests.message().await {} };
        timeout(PATIENCE, over).await.expect("the client goes on");
    }

    /// Sends a set.
    pub(crate) async fn send(&self, version: &str, nonce: &str, configs: &[RateLimitConfig]) {
        let any = |config: &RateLimitConfig| resource(config.encode_to_vec());
        self.answer(answer(version, nonce, configs.iter().map(any).collect())).await;
    }

    /// Sends an answer.
    pub(crate) async fn answer(&self, answer: DiscoveryResponse) {
        self.answers.send(Ok(answer)).await.expect("the client has ended the stream");
    }

    /// Ends the stream with a status.
    pub(crate) async fn fail(&self, status: Status) {
        self.answers.send(Err(status)).await.expect("the client has ended the stream");
    }
}

/// An answer with these resources.
pub(crate) fn answer(version: &str, nonce: &str, resources: Vec<Any>) -> DiscoveryResponse {
    DiscoveryResponse {
        version_info: version.to_owned(),
        resources,
        type_url: TYPE_URL.to_owned(),
        nonce: nonce.to_owned(),
        ..DiscoveryResponse::default()
    }
}

/// A resource with these bytes.
pub(crate) fn resource(value: Vec<u8>) -> Any {
    Any { type_url: TYPE_URL.to_owned(), value }
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    streams: mpsc::UnboundedSender<Stream>,
) {
    let (connections, accepted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (tls, connections) = (tls.clone(), connections.clone());
            tokio::spawn(async move {
                if let Some(connection) = Connection::accept(socket, tls).await {
                    let _ = connections.send(Ok::<_, std::io::Error>(connection));
                }
            });
        }
    });
    let service = AggregatedDiscoveryServiceServer::new(Service(streams));
    let incoming = UnboundedReceiverStream::new(accepted);
    Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
}

struct Service(mpsc::UnboundedSender<Stream>);

type Answers = Pin<Box<dyn tokio_stream::Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Answers;
    type DeltaAggregatedResourcesStream =
        tokio_stream::Empty<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (answers, mut outgoing) = mpsc::channel(1);
        let peer = request.extensions().get::<Peer>().and_then(|Peer(peer)| peer.clone());
        let headers = request.metadata().clone();
        let stream = Stream { headers, peer, requests: request.into_inner(), answers };
        self.0.send(stream).map_err(|_| Status::unavailable("the test is over"))?;
        let first = outgoing.recv().await.ok_or_else(|| Status::unavailable("nothing to say"))?;
        let rest = ReceiverStream::new(outgoing);
        Ok(Response::new(Box::pin(tokio_stream::once(first).chain(rest))))
    }

    async fn delta_aggregated_resources(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("state of the world only"))
    }
}

fn acceptor(authority: &Authority, identity: &Identity) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.ca()).unwrap()).unwrap();
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let chain = vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(builder.build().unwrap());
    let mut config = config.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A connection and who is at its other end.
struct Connection {
    io: Pin<Box<dyn Io>>,
    peer: Peer,
}

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

#[derive(Clone)]
struct Peer(Option<CertificateDer<'static>>);

impl Connection {
    async fn accept(socket: TcpStream, tls: Option<TlsAcceptor>) -> Option<Self> {
        let Some(tls) = tls else {
            return Some(Self { io: Box::pin(socket), peer: Peer(None) });
        };
        let stream = tls.accept(socket).await.ok()?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = Peer(shown.map(|certificate| certificate.clone().into_owned()));
        Some(Self { io: Box::pin(stream), peer })
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.io.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.io.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}

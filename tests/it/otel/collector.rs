//! A collector of a test's own: OTLP over gRPC with the generated services, over HTTP with
//! plain routes, compressed or not, in secret or not.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use flate2::read::GzDecoder;
use http::{HeaderMap, StatusCode, Uri};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::support::process::eventually;

/// What arrived so far.
#[derive(Default)]
pub(super) struct Received {
    pub(super) traces: Vec<ExportTraceServiceRequest>,
    pub(super) metrics: Vec<ExportMetricsServiceRequest>,
    pub(super) logs: Vec<ExportLogsServiceRequest>,
    /// The headers of each message.
    pub(super) headers: Vec<HeaderMap>,
    /// Answers that are still to be given instead of taking what comes.
    pub(super) refusals: Vec<StatusCode>,
}

/// A running collector.
pub(super) struct Collector {
    runtime: Option<Runtime>,
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

impl Received {
    /// All spans.
    pub(super) fn spans(&self) -> Vec<Span> {
        let resources = self.traces.iter().flat_map(|message| &message.resource_spans);
        resources.flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans).cloned().collect()
    }

    /// The last report of metrics.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let resources = self.metrics.last().into_iter().flat_map(|m| &m.resource_metrics);
        resources.flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics).cloned().collect()
    }

    /// All lines.
    pub(super) fn lines(&self) -> Vec<LogRecord> {
        let resources = self.logs.iter().flat_map(|message| &message.resource_logs);
        resources.flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records).cloned().collect()
    }

    /// Who sent the first traces.
    pub(super) fn resource(&self) -> Vec<KeyValue> {
        let resource = self.traces[0].resource_spans[0].resource.clone();
        resource.unwrap().attributes
    }

    /// Every byte of every message, as text as far as it is text.
    pub(super) fn bytes(&self) -> String {
        let mut bytes = Vec::new();
        self.traces.iter().for_each(|message| bytes.extend(message.encode_to_vec()));
        self.metrics.iter().for_each(|message| bytes.extend(message.encode_to_vec()));
        self.logs.iter().for_each(|message| bytes.extend(message.encode_to_vec()));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Collector {
    /// One that speaks gRPC.
    pub(super) fn grpc() -> Self {
        Self::start(async |listener, service: Service| {
            let gzip = CompressionEncoding::Gzip;
            let traces = TraceServiceServer::new(service.clone()).accept_compressed(gzip);
            let metrics = MetricsServiceServer::new(service.clone()).accept_compressed(gzip);
            let logs = LogsServiceServer::new(service).accept_compressed(gzip);
            let server =
                Server::builder().add_service(traces).add_service(metrics).add_service(logs);
            let _ = server.serve_with_incoming(TcpListenerStream::new(listener)).await;
        })
    }

    /// One that speaks HTTP.
    pub(super) fn http() -> Self {
        Self::start(async |listener, service| serve(listener, None, service).await)
    }

    /// One that speaks HTTP over TLS.
    pub(super) fn https(tls: TlsAcceptor) -> Self {
        Self::start(async move |listener, service| serve(listener, Some(tls), service).await)
    }

    fn start<F>(serve: impl FnOnce(TcpListener, Service) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let received = Arc::new(Mutex::new(Received::default()));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let service = Service(Arc::clone(&received));
        let _in_runtime = runtime.enter();
        let listener = TcpListener::from_std(socket).unwrap();
        runtime.spawn(serve(listener, service));
        drop(_in_runtime);
        Self { runtime: Some(runtime), address, received }
    }

    /// The URL that it is reached at.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Looks at what has arrived.
    pub(super) fn see<T>(&self, look: impl FnOnce(&mut Received) -> T) -> T {
        look(&mut self.received.lock().unwrap())
    }

    /// Waits for what is to arrive.
    pub(super) fn wait<T>(&self, what: &str, mut look: impl FnMut(&Received) -> Option<T>) -> T {
        eventually(what, || look(&self.received.lock().unwrap()))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
struct Service(Arc<Mutex<Received>>);

impl Service {
    fn take<T>(
        &self,
        request: Request<T>,
        put: impl FnOnce(&mut Received, T),
    ) -> Result<(), Status> {
        let (metadata, _, message) = request.into_parts();
        let mut received = self.0.lock().unwrap();
        received.headers.push(metadata.into_headers());
        if received.refusals.pop().is_some() {
            return Err(Status::unavailable("not now"));
        }
        put(&mut received, message);
        Ok(())
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take(request, |received, message| received.traces.push(message))?;
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.take(request, |received, message| received.metrics.push(message))?;
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.take(request, |received, message| received.logs.push(message))?;
        Ok(Response::new(Default::default()))
    }
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, service: Service) {
    let router = Router::new().fallback(post(take)).with_state(service);
    while let Ok((socket, _)) = listener.accept().await {
        let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            let _ = match tls {
                None => http1::Builder::new().serve_connection(TokioIo::new(socket), service).await,
                Some(tls) => {
                    let Ok(stream) = tls.accept(socket).await else { return };
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
                }
            };
        });
    }
}

async fn take(
    State(Service(received)): State<Service>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let mut message = body.to_vec();
    if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(&*message).read_to_end(&mut plain).unwrap();
        message = plain;
    }
    let mut received = received.lock().unwrap();
    received.headers.push(headers);
    if let Some(refusal) = received.refusals.pop() {
        return refusal;
    }
    match uri.path() {
        "/v1/traces" => received.traces.push(Message::decode(&*message).unwrap()),
        "/v1/metrics" => received.metrics.push(Message::decode(&*message).unwrap()),
        "/v1/logs" => received.logs.push(Message::decode(&*message).unwrap()),
        _ => return StatusCode::NOT_FOUND,
    }
    StatusCode::OK
}

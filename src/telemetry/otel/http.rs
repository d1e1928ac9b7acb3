//! OTLP over HTTP/1.1: protobuf in the body of a `POST`, over one connection that is kept for
//! as long as it holds.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Request, Response, header};
use axum::body::{Body, Bytes, to_bytes};
use flate2::write::GzEncoder;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prost::Message;

use super::super::cause::explain;
use super::client::Refusal;
use super::grpc::USER_AGENT;
use super::signal::Signal;
use super::{Collector, Compression};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// A collector.
pub(super) struct Http {
    collector: Collector,
    connection: Option<http1::SendRequest<Body>>,
}

impl Http {
    pub(super) fn new(collector: Collector) -> Self {
        Self { collector, connection: None }
    }

    /// Sends one message.
    pub(super) async fn send<S: Signal>(
        &mut self,
        message: &S::Request,
    ) -> Result<S::Response, Refusal> {
        let request = self.request(message.encode_to_vec())?;
        let response = self.post(request).await?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            return Err(Refusal::Status(head.status, retry_after(&head.headers)));
        }
        let body = to_bytes(Body::new(body), MAX_ANSWER).await.map_err(|error| unread(&error))?;
        // Some collectors answer with no message at all, or with one in JSON.
        Ok(S::Response::decode(body).unwrap_or_default())
    }

    fn request(&self, message: Vec<u8>) -> Result<Request<Body>, Refusal> {
        let Collector { endpoint, headers, compression, .. } = &self.collector;
        let path = endpoint.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::USER_AGENT, USER_AGENT);
        if let Some(host) = endpoint.authority().and_then(|authority| {
            let text = authority.as_str();
            HeaderValue::from_str(text.rsplit_once('@').map_or(text, |(_, host)| host)).ok()
        }) {
            request = request.header(header::HOST, host);
        }
        let message = match compression {
            Compression::None => message,
            Compression::Gzip => {
                request = request.header(header::CONTENT_ENCODING, "gzip");
                gzip(&message).map_err(|error| unread(&error))?
            }
        };
        let mut request =
            request.body(Body::from(Bytes::from(message))).map_err(|error| unread(&error))?;
        request.headers_mut().extend(headers.clone());
        Ok(request)
    }

    async fn post(&mut self, request: Request<Body>) -> Result<Response<Incoming>, Refusal> {
        let mut connection = match self.kept().await {
            Some(kept) => kept,
            None => self.open().await?,
        };
        let response = connection.send_request(request).await.map_err(|error| unread(&error))?;
        self.connection = Some(connection);
        Ok(response)
    }

    /// The connection, if it still holds.
    async fn kept(&mut self) -> Option<http1::SendRequest<Body>> {
        let mut kept = self.connection.take()?;
        kept.ready().await.ok().map(|()| kept)
    }

    async fn open(&self) -> Result<http1::SendRequest<Body>, Refusal> {
        let io = Arc::clone(&self.collector.dial)().await.map_err(|error| unread(&error))?;
        let handshake = http1::handshake(TokioIo::new(io)).await;
        let (connection, driver) = handshake.map_err(|error| unread(&error))?;
        tokio::spawn(driver);
        Ok(connection)
    }
}

fn gzip(message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(message)?;
    encoder.finish()
}

/// In seconds; a date is not understood.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

fn unread(error: &dyn std::error::Error) -> Refusal {
    Refusal::Unreached(explain(error))
}

//! The HTTP listener: `/json`, `/healthcheck`, `/livez`, `/health`, `/metrics`.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::{HeaderMap, StatusCode, header};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tower::ServiceExt as _;
use tower::util::MapResponseLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::accept::{Terms, connections};
use super::question::Question;
use super::security::{guarded, secured};
use super::status::Pulse;
use super::{Answered, Doors, Front, Listener, Places, Token, Turned};
use crate::health::Health;
use crate::store::Store;
use crate::telemetry::logs::LogHandle;
use crate::telemetry::{Call, Page};
use crate::wire::json::Json;
use crate::wire::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use crate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::Code as Overall;
use crate::wire::{DECIDED_BY, Exposition, Failure, report_json};

/// What the handlers need.
pub struct HttpState<S> {
    /// Who answers.
    pub front: Arc<Front<S>>,
    /// Readiness.
    pub health: Arc<Health>,
    /// The JSON form of messages.
    pub json: Json,
    /// Adds the series that are not the front's own to the metrics page.
    pub collect: Arc<dyn Fn(&mut Page) + Send + Sync>,
    /// How much passes now.
    pub pulse: Arc<Pulse>,
    /// Lets one page be made at a time.
    pub pages: Arc<Semaphore>,
    /// What whoever asks for more than a decision or health must show.
    pub token: Token,
    /// What peers may hold and how long they may take.
    pub doors: Arc<Doors>,
    /// The log, whose level may be changed.
    pub log: LogHandle,
}

impl<S: Store> HttpState<S> {
    /// Every series as it is now.
    pub fn page(&self) -> Page {
        let mut page = self.front.service.metrics.page();
        self.front.service.render(&mut page);
        (self.collect)(&mut page);
        page
    }

    /// Makes a page that may have a line for each of many rules: on a thread where that
    /// holds nobody up, and one after the other, so that many who ask take no more memory.
    pub(super) async fn make<P: IntoResponse + Send + 'static>(
        self,
        page: impl FnOnce(&Self) -> P + Send + 'static,
    ) -> Response {
        let Ok(turn) = Arc::clone(&self.pages).acquire_owned().await else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        let made = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            page(&self)
        });
        match made.await {
            Ok(page) => page.into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

impl<S> Clone for HttpState<S> {
    fn clone(&self) -> Self {
        Self {
            front: Arc::clone(&self.front),
            health: Arc::clone(&self.health),
            json: self.json.clone(),
            collect: Arc::clone(&self.collect),
            pulse: Arc::clone(&self.pulse),
            pages: Arc::clone(&self.pages),
            token: self.token.clone(),
            doors: Arc::clone(&self.doors),
            log: self.log.clone(),
        }
    }
}

impl<S> fmt::Debug for HttpState<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpState")
    }
}

/// The least that a buffer for heads may be.
const MIN_BUFFER: usize = 8 * 1024;

/// The routes of the HTTP listener. The token is asked for at `/metrics` alone.
pub fn router<S: Store>(state: HttpState<S>) -> Router {
    let metrics = Router::new().route("/metrics", get(metrics));
    Router::new()
        .route("/json", any(json))
        .route("/healthcheck", any(healthcheck))
        // For probes that restart what fails them: it lives if it answers.
        .route("/livez", any(async || "OK"))
        .route("/health", get(health))
        .layer(RequestBodyLimitLayer::new(state.doors.max_message_bytes))
        .merge(guarded(metrics, &state.token, &state.doors))
        .with_state(state)
}

/// The metrics page alone, at `path`; elsewhere it is said where it is.
pub fn metrics_router<S: Store>(state: HttpState<S>, path: &str) -> Router {
    let elsewhere = (StatusCode::NOT_FOUND, format!("metrics are at {path}\n"));
    let metrics = guarded(Router::new().route(path, get(metrics)), &state.token, &state.doors);
    metrics.fallback(|| async move { elsewhere }).with_state(state)
}

/// Serves `router` until `stop`, then resolves when the last connection has gone.
pub async fn serve(
    listener: Listener,
    router: Router,
    (places, doors): (Places, Arc<Doors>),
    stop: CancellationToken,
) {
    let bounds = doors.transport.clone();
    let patience = bounds.request_timeout;
    let router = router
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, patience))
        .layer(MapResponseLayer::new(secured));
    let terms = Terms { tls: None, doors: Arc::clone(&doors), first_words: 1 };
    let mut incoming = connections(listener, (places, terms), stop);
    let graceful = GracefulShutdown::new();
    while let Some(Ok(connection)) = incoming.next().await {
        let ask = Arc::clone(&doors);
        let service = router.clone().map_request(move |request| Question::ask(request, &ask));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size((bounds.max_header_bytes as usize).max(MIN_BUFFER))
            .serve_connection(TokioIo::new(connection), TowerToHyperService::new(service));
        let connection = graceful.watch(connection);
        let doors = Arc::clone(&doors);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection broke");
                judge(&error, &doors);
            }
        });
    }
    graceful.shutdown().await;
}

/// Counts what the connection itself did not give up.
fn judge(error: &hyper::Error, doors: &Doors) {
    if error.is_timeout() {
        doors.turn(Turned::Silent);
    } else if error.is_parse() {
        doors.turn(Turned::Unruly);
    }
}

async fn json<S: Store>(
    State(state): State<HttpState<S>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return unheard(rejection),
    };
    let mut call = Call::begin(&headers, &state.front.service.observer.tracer).over_http();
    match decide(&state, &body, &mut call).await {
        Ok((body, answered)) => {
            let status = status(&answered.message);
            let kind = [(header::CONTENT_TYPE, "application/json")];
            let mut response = (status, kind, body).into_response();
            if let Some(decided_by) = answered.decided_by {
                response.headers_mut().insert(DECIDED_BY, decided_by);
            }
            response
        }
        Err(failure) => {
            tracing::warn!(
                request_id = call.id(),
                duration_ms = call.milliseconds(),
                reason = %failure,
                "/json request not decided"
            );
            refusal(&failure)
        }
    }
}

async fn decide<S: Store>(
    state: &HttpState<S>,
    body: &[u8],
    call: &mut Call<'_>,
) -> Result<(Vec<u8>, Answered), Failure> {
    let request = state.json.request(body).map_err(Failure::from).inspect_err(|failure| {
        state.front.service.meters.record(failure.outcome(), call.elapsed());
    })?;
    let answered = state.front.answer_call(&request, call).await?;
    Ok((state.json.response(&answered.message)?, answered))
}

fn status(response: &RateLimitResponse) -> StatusCode {
    match response.overall_code() {
        Overall::Ok => StatusCode::OK,
        Overall::OverLimit => StatusCode::TOO_MANY_REQUESTS,
        Overall::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Why a body was not heard to its end: 503, if that is not the caller's fault.
fn unheard(rejection: BytesRejection) -> Response {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&rejection);
    while let Some(error) = cause {
        if let Some(status) = error.downcast_ref::<Status>() {
            let code = match status.code() {
                Code::DeadlineExceeded => StatusCode::REQUEST_TIMEOUT,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            return (code, format!("{}\n", status.message())).into_response();
        }
        cause = error.source();
    }
    rejection.into_response()
}

fn refusal(failure: &Failure) -> Response {
    let status = failure.http_status();
    let reason = status.canonical_reason().unwrap_or_default();
    (
        status,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        format!("{reason}\n{}\n", failure.told()),
    )
        .into_response()
}

async fn healthcheck<S: Store>(State(state): State<HttpState<S>>) -> Response {
    match state.health.facts().overall().is_serving() {
        true => (StatusCode::OK, "OK").into_response(),
        false => (StatusCode::INTERNAL_SERVER_ERROR, Body::empty()).into_response(),
    }
}

async fn health<S: Store>(State(state): State<HttpState<S>>) -> Response {
    let facts = state.health.facts();
    let status = match facts.overall().is_serving() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = format!("{:#}\n", report_json(&facts));
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The page in the format that the caller likes best.
async fn metrics<S: Store>(State(state): State<HttpState<S>>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Exposition::preferred(accept);
    let kind = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")];
    (kind, state.make(move |state| format.write(&state.page())).await).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::server::{Address, Endpoint, Transport};

    async fn answer_to(sent: &str) -> String {
        let anywhere = Endpoint::Tcp(Address { host: "127.0.0.1".to_owned(), port: 0 });
        let listener = Listener::open(&anywhere).await.unwrap();
        let mut stream = TcpStream::connect(listener.address()).await.unwrap();
        let router = Router::new().route("/", any(async |body: Bytes| body));
        let doors = Arc::new(Doors::new(Transport::default(), 1024));
        tokio::spawn(serve(listener, router, (Places::new(1), doors), CancellationToken::new()));
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_request_is_given_up() {
        let check = async |sent, expected| {
            let answer = answer_to(sent).await;
            assert!(answer.starts_with(expected), "{sent:?}: {answer:?}");
        };
        check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf", "HTTP/1.1 408").await;
        check("GET / HTTP/1.1\r\nhost:", "").await;
        check("", "").await;
        check("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 200").await; // and idle after it
    }
}

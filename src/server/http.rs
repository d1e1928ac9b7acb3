//! The HTTP listener: `/json`, `/healthcheck`, `/health`, `/metrics`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::{StatusCode, header};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::accept::connections;
use super::{Front, Listener};
use crate::health::Health;
use crate::store::Store;
use crate::telemetry::Page;
use crate::wire::json::Json;
use crate::wire::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use crate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use crate::wire::{Failure, report_json};

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
}

impl<S> Clone for HttpState<S> {
    fn clone(&self) -> Self {
        Self {
            front: Arc::clone(&self.front),
            health: Arc::clone(&self.health),
            json: self.json.clone(),
            collect: Arc::clone(&self.collect),
        }
    }
}

impl<S> fmt::Debug for HttpState<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpState")
    }
}

/// A client has this long to send its request, headers and body each, and we to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The routes of the HTTP listener.
pub fn router<S: Store>(state: HttpState<S>, max_body_bytes: usize) -> Router {
    Router::new()
        .route("/json", any(json))
        .route("/healthcheck", any(healthcheck))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .layer(RequestBodyLimitLayer::new(max_body_bytes))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, PATIENCE))
        .with_state(state)
}

/// The metrics page alone, at `path`.
pub fn metrics_router<S: Store>(state: HttpState<S>, path: &str) -> Router {
    Router::new().route(path, get(metrics)).with_state(state)
}

/// Serves `router` until `stop`, then resolves when the last connection has gone.
pub async fn serve(
    listener: Listener,
    router: Router,
    max_connections: usize,
    stop: CancellationToken,
) {
    let mut incoming = connections(listener, max_connections, stop);
    let graceful = GracefulShutdown::new();
    while let Some(Ok(connection)) = incoming.next().await {
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(connection), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection broke");
            }
        });
    }
    graceful.shutdown().await;
}

async fn json<S: Store>(State(state): State<HttpState<S>>, body: Bytes) -> Response {
    match decide(&state, &body).await {
        Ok((status, body)) => {
            (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(failure) => {
            tracing::warn!(reason = %failure, "/json request not decided");
            refusal(&failure)
        }
    }
}

async fn decide<S: Store>(
    state: &HttpState<S>,
    body: &[u8],
) -> Result<(StatusCode, Vec<u8>), Failure> {
    let request = state.json.request(body)?;
    let response = state.front.answer(&request).await?;
    Ok((status(&response), state.json.response(&response)?))
}

fn status(response: &RateLimitResponse) -> StatusCode {
    match response.overall_code() {
        Code::Ok => StatusCode::OK,
        Code::OverLimit => StatusCode::TOO_MANY_REQUESTS,
        Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refusal(failure: &Failure) -> Response {
    let status = failure.http_status();
    let reason = status.canonical_reason().unwrap_or_default();
    (
        status,
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        format!("{reason}\n{failure}\n"),
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

async fn metrics<S: Store>(State(state): State<HttpState<S>>) -> Response {
    let metrics = &state.front.service.metrics;
    let mut page = metrics.page();
    metrics.render(&mut page);
    (state.collect)(&mut page);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], page.render()).into_response()
}

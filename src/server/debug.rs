//! The debug listener: how the process is, for people and programs, and what rules are in
//! force.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::security::guarded;
use super::{HttpState, log_level, stats, status, top};
use crate::rules::{Algorithm, Limit, Rule};
use crate::service::Rules;
use crate::store::Store;

/// The routes, each with what it is for, sorted.
const INDEX: &str = "\
/: how it is, for browsers; this list for all others
/debug/pprof/: not built in; says what to use instead
/log: what is written to the log; POST /log?level=debug changes it
/rlconfig: the limits in force, a line each
/stats: the process and its counters, a line each
/top: what is refused most, a line each
";

/// What stands where Go programs have their profiles.
const NO_PPROF: &str = "\
Profiles in the format of Go are not built in. To profile the running process use
`perf record -g -p PID` or `samply record -p PID`, best with a build that has
RUSTFLAGS=\"-C force-frame-pointers=yes\". Counters and durations are at /metrics of the HTTP
listener, the state of the process is at /stats.
";

/// The routes of the debug listener.
pub fn router<S: Store>(state: HttpState<S>) -> Router {
    let no_pprof = || any(|| async { (StatusCode::NOT_FOUND, NO_PPROF) });
    let router = Router::new()
        .route("/", get(index))
        .route("/status.css", get(style))
        .route("/rlconfig", get(rlconfig))
        .merge(log_level::routes())
        .merge(top::routes())
        .route(
            "/stats",
            get(async |State(state): State<HttpState<S>>| state.make(stats::page).await),
        )
        .route("/debug/pprof", no_pprof())
        .route("/debug/pprof/", no_pprof())
        .route("/debug/pprof/{*profile}", no_pprof());
    guarded(router, &state.token, &state.doors).with_state(state)
}

/// The status page for whoever takes HTML, else the list.
async fn index<S: Store>(State(state): State<HttpState<S>>, headers: HeaderMap) -> Response {
    let takes_html = |value: &HeaderValue| value.to_str().is_ok_and(|v| v.contains("text/html"));
    if !headers.get(header::ACCEPT).is_some_and(takes_html) {
        return INDEX.into_response();
    }
    let mut response = state.make(status::page).await;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css")], status::STYLE).into_response()
}

async fn rlconfig<S: Store>(State(state): State<HttpState<S>>) -> Response {
    state.make(|state| limits(&state.front.service.rules)).await
}

/// One line per limit, sorted by path; nothing before rules are loaded.
fn limits(rules: &Rules) -> String {
    let snapshot = rules.load();
    let rules = snapshot.iter().flat_map(|snapshot| snapshot.ruleset.rules());
    let mut lines: Vec<String> = rules.flat_map(lines).collect();
    lines.sort();
    lines.concat()
}

/// The lines of a rule: as envoyproxy/ratelimit writes them, and after that what it lacks.
fn lines(rule: &Rule) -> Vec<String> {
    let line = |unit: &str, number: u32, more: &str| {
        let Rule { path, shadow_mode, quota_mode, .. } = rule;
        format!(
            "{path}: unit={unit} requests_per_unit={number}, shadow_mode: {shadow_mode}, \
             quota_mode: {quota_mode}{more}\n"
        )
    };
    if rule.limits.is_empty() {
        return vec![line("UNKNOWN", rule.requests_per_unit, "")];
    }
    let limits = rule.limits.iter().map(|named| &named.limit);
    limits.map(|l| line(l.unit.name(), l.requests_per_unit, &beyond(l))).collect()
}

/// What a limit has beyond a plain fixed window.
fn beyond(limit: &Limit) -> String {
    let mut text = String::new();
    if limit.multiplier != 1 {
        let _ = write!(text, ", unit_multiplier: {}", limit.multiplier);
    }
    if limit.algorithm != Algorithm::FixedWindow {
        let _ = write!(text, ", algorithm: {}", limit.algorithm.name());
    }
    if let Algorithm::TokenBucket { burst } = limit.algorithm {
        let _ = write!(text, ", burst: {burst}");
    }
    if limit.count_refused != limit.algorithm.counts_refused() {
        let _ = write!(text, ", count_refused: {}", limit.count_refused);
    }
    text
}

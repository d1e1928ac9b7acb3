//! `/top` of the debug listener: what is refused most, for people or as JSON.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;

use super::HttpState;
use crate::store::Store;
use crate::telemetry::{HALVED_EVERY, TopRefused};

/// How many are told of.
const MOST: usize = 100;

/// The route.
pub(super) fn routes<S: Store>() -> Router<HttpState<S>> {
    Router::new().route("/top", get(top::<S>))
}

async fn top<S: Store>(State(state): State<HttpState<S>>, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if !accepted.is_some_and(|kinds| kinds.contains("application/json")) {
        return state.make(|state| text(&state.front.service.observer.refused)).await;
    }
    let mut response = state.make(|state| as_json(&state.front.service.observer.refused)).await;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn text(refused: &TopRefused) -> String {
    if !refused.is_on() {
        return "# not counted: TIDEGATE_TOP_REFUSED is 0\n".to_owned();
    }
    let (seconds, missed) = (HALVED_EVERY.as_secs(), refused.missed());
    let mut page = format!(
        "# refused requests, halved every {seconds} s; {missed} were not counted\n\
         # count, of which so many may be too many, rule, values\n"
    );
    for top in refused.top(MOST) {
        let _ = writeln!(page, "{} {} {} {}", top.count, top.error, top.rule, top.values);
    }
    page
}

fn as_json(refused: &TopRefused) -> String {
    let top = refused.top(MOST).into_iter().map(|top| {
        json!({"count": top.count, "error": top.error, "rule": top.rule, "values": top.values})
    });
    let page = json!({
        "is_on": refused.is_on(),
        "halved_every_seconds": HALVED_EVERY.as_secs(),
        "not_counted": refused.missed(),
        "top": top.collect::<Vec<_>>(),
    });
    format!("{page:#}\n")
}

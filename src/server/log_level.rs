//! `/log` of the debug listener: what is written to the log, and how to change it.
//!
//! The one place that changes the process, so a page of another site must not reach it by
//! somebody's browser.

use std::net::IpAddr;
use std::str::FromStr as _;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, Uri, header};

use super::HttpState;
use crate::store::Store;
use crate::telemetry::Choice;

/// The route.
pub(super) fn routes<S: Store>() -> Router<HttpState<S>> {
    let change = change::<S>;
    Router::new().route("/log", get(show::<S>).post(change).put(change))
}

async fn show<S: Store>(State(state): State<HttpState<S>>) -> String {
    shown(&state)
}

fn shown<S: Store>(state: &HttpState<S>) -> String {
    let decisions = state.front.service.observer.decisions.choice();
    format!("level: {}\ndecisions: {decisions}\n", state.log.filter())
}

async fn change<S: Store>(
    State(state): State<HttpState<S>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if is_foreign(&headers) {
        let reason = "Forbidden\na page of another site asks for it\n";
        return (StatusCode::FORBIDDEN, reason).into_response();
    }
    match apply(&state, uri.query().unwrap_or_default()) {
        Ok(()) => {
            let decisions = state.front.service.observer.decisions.choice();
            tracing::info!(level = state.log.filter(), %decisions, "the log was changed");
            shown(&state).into_response()
        }
        Err(reason) => {
            (StatusCode::BAD_REQUEST, format!("Bad Request\n{reason}\n")).into_response()
        }
    }
}

/// Changes all that the query asks for, or nothing.
fn apply<S: Store>(state: &HttpState<S>, query: &str) -> Result<(), String> {
    let (mut level, mut decisions) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value).ok_or_else(|| format!("{name}: not UTF-8"))?;
        match name {
            "level" => level = Some(value),
            "decisions" => {
                let choice = Choice::from_str(&value);
                decisions = Some(choice.map_err(|error| format!("decisions: {error}"))?);
            }
            _ => return Err(format!("found {name:?}; allowed: level and decisions")),
        }
    }
    if level.is_none() && decisions.is_none() {
        return Err("say what: /log?level=debug, or /log?decisions=refused".to_owned());
    }
    if let Some(level) = level {
        state.log.set_filter(&level).map_err(|error| format!("level: {error}"))?;
    }
    if let Some(decisions) = decisions {
        state.front.service.observer.decisions.choose(&decisions);
    }
    Ok(())
}

/// Whether a browser asks, for a page that is not one of this listener's. Browsers say so;
/// other clients say nothing. A name of this machine may be anybody's, an address is not.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let (site, origin) = (text("sec-fetch-site"), text(header::ORIGIN.as_str()));
    if site.is_none() && origin.is_none() {
        return false;
    }
    let host = text(header::HOST.as_str()).unwrap_or_default();
    let is_own = |origin: &str| origin.split_once("://").is_some_and(|(_, of)| of == host);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    site.is_some_and(|site| !["same-origin", "none"].contains(&site))
        || origin.is_some_and(|origin| !is_own(origin))
        || !(is_address || name == "localhost")
}

/// What a part of a query means: `%2C` is a comma, `+` a space.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let check = |headers: &[(&'static str, &'static str)], expected| {
            let pairs = headers.iter().map(|&(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            assert_eq!(is_foreign(&pairs.collect()), expected, "{headers:?}");
        };
        let own = ("origin", "http://127.0.0.1:6070");
        check(&[], false);
        check(&[("host", "pod.example:6070")], false);
        check(&[("host", "127.0.0.1:6070"), own], false);
        check(&[("host", "127.0.0.1:6070"), own, ("sec-fetch-site", "same-origin")], false);
        check(&[("host", "localhost:6070"), ("sec-fetch-site", "none")], false);
        check(&[("host", "[::1]:6070"), ("origin", "http://[::1]:6070")], false);
        check(&[("host", "127.0.0.1:6070"), ("origin", "http://evil.example")], true);
        check(&[("host", "127.0.0.1:6070"), ("origin", "null")], true);
        check(&[("host", "127.0.0.1:6070"), ("sec-fetch-site", "cross-site")], true);
        check(&[("host", "127.0.0.1:6070"), own, ("sec-fetch-site", "same-site")], true);
        // A name that the other site has pointed here.
        check(&[("host", "evil.example:6070"), ("origin", "http://evil.example:6070")], true);
        check(&[("sec-fetch-site", "same-origin")], true);
    }

    #[test]
    fn queries_are_decoded() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(decoded(text).as_deref(), expected, "{text:?}");
        };
        check("warn,tidegate::store=debug", Some("warn,tidegate::store=debug"));
        check("refused%2Cpassed%3a0.1+", Some("refused,passed:0.1 "));
        check("%", None);
        check("%4", None);
        check("%zz", None);
        check("%ff", None);
        check("", Some(""));
    }
}

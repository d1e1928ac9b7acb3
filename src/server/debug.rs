//! The debug listener: what rules are in force.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::rules::{Algorithm, Limit, Rule};
use crate::service::Rules;

/// The routes, each with what it is for.
const INDEX: &str = "/: this list\n/rlconfig: the limits in force, a line each\n";

/// The routes of the debug listener.
pub fn router(rules: Arc<Rules>) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/rlconfig", get(|| async move { limits(&rules) }))
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

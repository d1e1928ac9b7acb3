//! The debug listener: what rules are in force.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::rules::Rule;
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
    let mut lines: Vec<String> = rules.map(line).collect();
    lines.sort();
    lines.concat()
}

fn line(rule: &Rule) -> String {
    let mut line = format!("{}: ", rule.path);
    let unit = rule.limits.first().map_or("UNKNOWN", |named| named.limit.unit.name());
    let _ = write!(line, "unit={unit} requests_per_unit={}", rule.requests_per_unit);
    let _ = writeln!(line, ", shadow_mode: {}, quota_mode: {}", rule.shadow_mode, rule.quota_mode);
    line
}

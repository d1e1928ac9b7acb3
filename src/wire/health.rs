//! The health report as message and as JSON.

use prost_types::{Duration, Timestamp as PbTimestamp};
use serde_json::{Value, json};

use super::pb::tidegate::health::v1::{
    ComponentReport, ComponentStatus, HealthReport, OverallStatus, RulesReport,
};
use crate::clock::Timestamp;
use crate::health::{Component, Facts, Level, Overall};

/// The report that `facts` make.
pub fn report(facts: &Facts) -> HealthReport {
    let rules = &facts.rules;
    let (last_error, last_error_time) = rules.last_error.clone().unzip();
    HealthReport {
        status: overall(facts.overall()).into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        environment: facts.environment.clone(),
        start_time: Some(timestamp(facts.started_at)),
        rules: Some(RulesReport {
            version: rules.version.clone(),
            load_time: rules.loaded_at.map(timestamp),
            last_error: last_error.unwrap_or_default(),
            last_error_time: last_error_time.map(timestamp),
            domains: u32::try_from(rules.domains).unwrap_or(u32::MAX),
            limits: u32::try_from(rules.limits).unwrap_or(u32::MAX),
        }),
        components: facts.components().into_iter().map(component).collect(),
    }
}

/// The report as JSON: names in snake case, moments in RFC 3339, latencies in
/// milliseconds; what is not known is null.
pub fn report_json(facts: &Facts) -> Value {
    let time = |moment: Option<Timestamp>| moment.map(|m| timestamp(m).to_string());
    let rules = &facts.rules;
    let components = facts.components();
    json!({
        "status": match facts.overall() {
            Overall::Ready => "ready",
            Overall::Degraded => "degraded",
            Overall::NotReady => "not_ready",
            Overall::Draining => "draining",
        },
        "version": env!("CARGO_PKG_VERSION"),
        "environment": facts.environment,
        "start_time": time(Some(facts.started_at)),
        "rules": {
            "version": rules.version,
            "load_time": time(rules.loaded_at),
            "last_error": rules.last_error.as_ref().map(|(error, _)| error),
            "last_error_time": time(rules.last_error.as_ref().map(|(_, at)| *at)),
            "domains": rules.domains,
            "limits": rules.limits,
        },
        "components": components.iter().map(|c| json!({
            "name": c.name,
            "status": match c.level {
                Level::Up => "up",
                Level::Degraded => "degraded",
                Level::Down => "down",
            },
            "latency_ms": c.latency.map(|latency| latency.as_secs_f64() * 1e3),
            "reason": c.reason,
        })).collect::<Vec<_>>(),
    })
}

fn overall(overall: Overall) -> OverallStatus {
    match overall {
        Overall::Ready => OverallStatus::Ready,
        Overall::Degraded => OverallStatus::Degraded,
        Overall::NotReady => OverallStatus::NotReady,
        Overall::Draining => OverallStatus::Draining,
    }
}

fn component(component: Component) -> ComponentReport {
    let status = match component.level {
        Level::Up => ComponentStatus::Up,
        Level::Degraded => ComponentStatus::Degraded,
        Level::Down => ComponentStatus::Down,
    };
    ComponentReport {
        name: component.name.to_owned(),
        status: status.into(),
        latency: component.latency.and_then(|latency| Duration::try_from(latency).ok()),
        reason: component.reason,
    }
}

fn timestamp(moment: Timestamp) -> PbTimestamp {
    let micros = moment.as_micros();
    PbTimestamp {
        seconds: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
        nanos: (micros % 1_000_000) as i32 * 1_000,
    }
}

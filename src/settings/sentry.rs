//! The part of the table that says which errors and calls leave for Sentry.

use super::reader::Reader;
use super::value::Ratio;
use crate::telemetry::{Dsn, ErrorsConfig};

/// Reads the group: nothing without a DSN. `environment` is what the deployment is called
/// elsewhere.
pub(super) fn read(r: &mut Reader<'_>, environment: &str) -> Option<ErrorsConfig> {
    r.group("Sentry");
    let dsn = r.secret(
        "SENTRY_DSN",
        "Where errors and panics are sent, `https://KEY@HOST/PROJECT`. Unset: nowhere.",
    );
    let given: Option<String> = r.optional(
        "SENTRY_ENVIRONMENT",
        "What the deployment is called there. Unset: as TIDEGATE_ENVIRONMENT says, or `production`.",
    );
    let release: Option<String> = r.optional(
        "SENTRY_RELEASE",
        "What the version is called there. Unset: `tidegate@` and the version.",
    );
    let sample_rate = r.within(
        "SENTRY_SAMPLE_RATE",
        Ratio(1.0),
        Ratio(0.0)..=Ratio(1.0),
        "The share of events that is sent.",
    );
    let traces_sample_rate = r.within(
        "SENTRY_TRACES_SAMPLE_RATE",
        Ratio(0.1),
        Ratio(0.0)..=Ratio(1.0),
        "The share of calls whose stages are sent as transactions, with SENTRY_DSN. Those that \
         their caller does not sample are none.",
    );
    let max_traces = r.within(
        "TIDEGATE_SENTRY_MAX_TRACES",
        10,
        0..=1000,
        "How many of these a second at most, as each is a request to Sentry.",
    );
    let text = dsn.as_ref().map(|dsn| dsn.expose()).filter(|text| !text.is_empty())?;
    let Ok(dsn) = text.parse::<Dsn>() else {
        r.refuse("SENTRY_DSN", "a text that is no DSN", "https://KEY@HOST/PROJECT");
        return None;
    };
    let named = |name: Option<String>| name.filter(|name| !name.is_empty());
    let deployment = named(Some(environment.to_owned()));
    Some(ErrorsConfig {
        dsn,
        environment: named(given).or(deployment).unwrap_or_else(|| "production".to_owned()),
        release: named(release)
            .unwrap_or_else(|| format!("tidegate@{}", env!("CARGO_PKG_VERSION"))),
        sample_rate: sample_rate.0,
        traces_sample_rate: traces_sample_rate.0,
        max_traces,
    })
}

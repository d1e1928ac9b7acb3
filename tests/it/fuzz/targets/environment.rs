//! Bytes as an environment: `NAME=value`, one a line.

use std::collections::HashMap;

use tidegate::settings::Settings;

use super::Outcome;

/// A password: wherever it stands as one, it is shown nowhere.
pub(crate) const PASSWORD: &str = "hunter2";

/// What is a secret as a whole.
const SECRETS: [&str; 9] = [
    "REDIS_AUTH",
    "REDIS_PERSECOND_AUTH",
    "REDIS_SENTINEL_AUTH",
    "REDIS_PERSECOND_SENTINEL_AUTH",
    "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
];

/// What may have a secret in it.
const URLS: [&str; 2] = ["REDIS_URL", "REDIS_PERSECOND_URL"];

thread_local! {
    static KNOWN: Vec<&'static str> = Settings::reference().iter().map(|d| d.name).collect();
}

/// Reads settings; what is wrong is named in a line each, and passwords stay hidden.
pub(crate) fn run(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let variables: HashMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once('=')).collect();
    let mut names: Vec<String> = variables.keys().map(|name| (*name).to_owned()).collect();
    names.sort();
    let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let (outcome, shown) = match Settings::from_lookup(&lookup, &names) {
        Ok(settings) => (Outcome::Taken, format!("{settings:?}")),
        Err(errors) => {
            assert!(!errors.0.is_empty());
            for error in &errors.0 {
                let is_known = KNOWN.with(|known| known.contains(&error.name.as_str()))
                    || names.contains(&error.name)
                    || error.name.starts_with("DOG_STATSD_MOGRIFIER_");
                assert!(is_known, "{error}");
                assert_eq!(error.to_string().lines().count(), 1, "{error}");
                assert!(!error.allowed.is_empty() && error.found.len() < 2000, "{error}");
            }
            (Outcome::Refused, errors.to_string())
        }
    };
    if is_only_secret(&variables) {
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
    outcome
}

/// Whether the password stands only where passwords do.
fn is_only_secret(variables: &HashMap<&str, &str>) -> bool {
    variables.iter().all(|(name, value)| {
        if SECRETS.contains(name) {
            // The names of headers are none.
            let is_name = |part: &str| part.split(':').next().is_some_and(|n| n.contains(PASSWORD));
            let is_user = value.split_once(':').is_some_and(|(user, _)| user.contains(PASSWORD));
            // As are the names of those that go to a collector.
            let is_key = |part: &str| part.split('=').next().is_some_and(|n| n.contains(PASSWORD));
            return match *name {
                "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS" => !value.split(',').any(is_name),
                name if name.starts_with("OTEL_") => !value.split(',').any(is_key),
                // A user is no secret.
                _ => !is_user,
            };
        }
        let rest: String = match URLS.contains(name) {
            true => value.split(',').map(without_login).collect(),
            false => (*value).to_owned(),
        };
        !name.contains(PASSWORD) && !rest.contains(PASSWORD)
    })
}

/// A URL of Redis without user and password.
fn without_login(url: &str) -> &str {
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((login, _)) if login.contains(':') && matches!(scheme, "redis" | "rediss") => {
            let (user, password) = login.split_once(':').unwrap_or_default();
            match user.contains(PASSWORD) {
                true => url,
                false => &rest[user.len() + 1 + password.len()..],
            }
        }
        _ => url,
    }
}

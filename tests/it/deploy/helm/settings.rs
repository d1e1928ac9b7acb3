//! The variables that the chart sets, or lets be set, are those of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::{env, fs};

use serde_json::{Map, Value, json};
use tidegate::settings::Settings;

use super::super::kubernetes::environment;
use super::{SETS, chart, files, only, render};

/// Variables that have values of their own in the chart, or are secret.
const OWNED: &str = "
    PORT GRPC_PORT GRPC_UDS RUNTIME_ROOT RUNTIME_SUBDIRECTORY RUNTIME_APPDIRECTORY
    RUNTIME_WATCH_ROOT RUNTIME_IGNOREDOTFILES TIDEGATE_DRAIN_DELAY TIDEGATE_SHUTDOWN_GRACE
    TIDEGATE_REPLICAS USE_PROMETHEUS PROMETHEUS_ADDR PROMETHEUS_PATH DISABLE_STATS REDIS_URL
    REDIS_TYPE REDIS_TLS REDIS_TLS_CACERT REDIS_TLS_CLIENT_CERT REDIS_TLS_CLIENT_KEY REDIS_AUTH
    REDIS_AUTH_FILE REDIS_SENTINEL_AUTH REDIS_SENTINEL_AUTH_FILE REDIS_PERSECOND_AUTH
    REDIS_PERSECOND_AUTH_FILE REDIS_PERSECOND_SENTINEL_AUTH REDIS_PERSECOND_SENTINEL_AUTH_FILE
    GRPC_SERVER_USE_TLS GRPC_SERVER_TLS_CERT GRPC_SERVER_TLS_KEY GRPC_SERVER_TLS_CA_CERT
    GRPC_CLIENT_TLS_CACERT GRPC_CLIENT_TLS_SAN TIDEGATE_ADMIN_TOKEN TIDEGATE_ADMIN_TOKEN_FILE
    CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS TRACING_ENABLED TRACING_SERVICE_NAME
    TRACING_SERVICE_NAMESPACE TRACING_SERVICE_INSTANCE_ID TRACING_EXPORTER_PROTOCOL
    TRACING_SAMPLING_RATE SENTRY_DSN OTEL_EXPORTER_OTLP_ENDPOINT
";

/// The pattern of names that the reference writes with a placeholder.
const MOGRIFIERS: &str = "^DOG_STATSD_MOGRIFIER_[A-Z0-9_]+_(PATTERN|NAME|TAGS)$";

/// The environment that a set of values makes, with stand-ins for secrets.
fn environment_of(set: &str) -> BTreeMap<String, String> {
    let objects = render(set);
    environment(only(&objects, "Deployment")).into_iter().collect()
}

fn is_known(name: &str, reference: &BTreeSet<&str>) -> bool {
    let is_mogrifier = name.starts_with("DOG_STATSD_MOGRIFIER_");
    reference.contains(name) || is_mogrifier
}

#[test]
fn every_variable_of_the_chart_exists_and_every_one_was_rendered() {
    let reference = Settings::reference();
    let reference: BTreeSet<&str> = reference.iter().map(|variable| variable.name).collect();
    let mut rendered = BTreeSet::new();
    for set in SETS {
        for name in environment_of(set).into_keys() {
            assert!(is_known(&name, &reference), "{set}: no variable is called {name}");
            rendered.insert(name);
        }
    }
    let mut written = 0;
    for file in files("deploy/helm/tidegate/templates", "tpl") {
        let text = fs::read_to_string(file).unwrap();
        for part in text.split("(list \"").skip(1) {
            let name = part.split('"').next().unwrap();
            if name.len() > 3 && name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
                assert!(rendered.contains(name), "no set of values makes {name}");
                written += 1;
            }
        }
    }
    assert!(written > 25, "{written}");
    for name in OWNED.split_whitespace() {
        assert!(is_known(name, &reference), "no variable is called {name}");
    }
}

#[test]
fn every_environment_of_the_chart_is_accepted_by_the_program() {
    for set in SETS {
        let environment = environment_of(set);
        let names: Vec<String> = environment.keys().cloned().collect();
        let lookup = |name: &str| match environment.get(name) {
            // A file that is read at once, and an address that a secret holds.
            Some(_) if name == "TIDEGATE_ADMIN_TOKEN_FILE" => None,
            Some(_) if name == "SENTRY_DSN" => Some("https://key@sentry.example/1".to_owned()),
            Some(_) if name == "REDIS_URL" && set == "secrets" => Some("main,a:26379".to_owned()),
            found => found.cloned(),
        };
        let settings = Settings::from_lookup(&lookup, &names);
        let settings = settings.unwrap_or_else(|errors| panic!("{set}: {errors:?}"));
        assert!(settings.warnings.is_empty(), "{set}: {:?}", settings.warnings);
    }
}

/// Run with `WRITE_DOCS=1` to write the names anew.
#[test]
fn the_schema_lets_the_settings_of_the_program_be_set() {
    let owned: BTreeSet<&str> = OWNED.split_whitespace().collect();
    let reference = Settings::reference();
    let names = reference.iter().filter(|variable| !variable.allowed.is_empty());
    let names = names
        .map(|variable| variable.name)
        .filter(|name| !owned.contains(name) && !name.contains('<'));
    let names: BTreeSet<&str> = names.collect();
    let expected: Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!({"$ref": "#/definitions/text"})))
        .collect();

    let path = chart().join("values.schema.json");
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let settings = &mut schema["properties"]["settings"];
    assert_eq!(settings["additionalProperties"], false);
    assert!(settings["patternProperties"][MOGRIFIERS].is_object());
    if env::var_os("WRITE_DOCS").is_some() {
        settings["properties"] = Value::Object(expected.clone());
        let text = serde_json::to_string_pretty(&schema).unwrap();
        fs::write(&path, text + "\n").unwrap();
    }
    let there = &schema["properties"]["settings"]["properties"];
    assert_eq!(there, &Value::Object(expected), "write them anew with WRITE_DOCS=1");
}

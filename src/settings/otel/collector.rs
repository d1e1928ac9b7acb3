//! Where a signal goes: variables for all signals, and the same for each alone, which go
//! before them.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::value::{CompressionName, WireName, headers};
use crate::settings::reader::{Reader, quoted};
use crate::store::secret::Secret;
use crate::telemetry::otel::{Compression, Wire};
use crate::tls::{ClientTls, Identity};

/// The collector of one signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Collector {
    /// How it is spoken to.
    pub wire: Wire,
    /// Where it is; over HTTP with the path of the signal. It holds no password.
    pub endpoint: Uri,
    /// What is sent with each message.
    pub headers: Vec<(HeaderName, Secret)>,
    /// How long a message may take, all attempts together.
    pub timeout: Duration,
    /// How messages are made smaller.
    pub compression: Compression,
    /// How a connection is encrypted, if it is.
    pub tls: Option<ClientTls>,
}

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }
}

/// The names of a set of variables.
struct Names {
    endpoint: &'static str,
    protocol: &'static str,
    headers: &'static str,
    timeout: &'static str,
    compression: &'static str,
    certificate: &'static str,
    client_key: &'static str,
    client_certificate: &'static str,
    insecure: &'static str,
}

macro_rules! names {
    ($part:literal) => {
        Names {
            endpoint: concat!("OTEL_EXPORTER_OTLP_", $part, "ENDPOINT"),
            protocol: concat!("OTEL_EXPORTER_OTLP_", $part, "PROTOCOL"),
            headers: concat!("OTEL_EXPORTER_OTLP_", $part, "HEADERS"),
            timeout: concat!("OTEL_EXPORTER_OTLP_", $part, "TIMEOUT"),
            compression: concat!("OTEL_EXPORTER_OTLP_", $part, "COMPRESSION"),
            certificate: concat!("OTEL_EXPORTER_OTLP_", $part, "CERTIFICATE"),
            client_key: concat!("OTEL_EXPORTER_OTLP_", $part, "CLIENT_KEY"),
            client_certificate: concat!("OTEL_EXPORTER_OTLP_", $part, "CLIENT_CERTIFICATE"),
            insecure: concat!("OTEL_EXPORTER_OTLP_", $part, "INSECURE"),
        }
    };
}

const GENERAL: Names = names!("");
const OWN: [Names; 3] = [names!("TRACES_"), names!("METRICS_"), names!("LOGS_")];

/// What a set of variables says; nothing where it says nothing.
pub(super) struct Given {
    /// Whether it names a collector.
    pub(super) is_set: bool,
    names: &'static Names,
    endpoint: Option<String>,
    wire: Option<Wire>,
    headers: Option<Vec<(HeaderName, Secret)>>,
    timeout: Option<u64>,
    compression: Option<Compression>,
    certificate: Option<String>,
    client_key: Option<String>,
    client_certificate: Option<String>,
    insecure: Option<bool>,
}

/// Declares and reads all sets: the one for all signals, and those for each.
pub(super) fn declare(r: &mut Reader<'_>) -> (Given, [Given; 3]) {
    const HELP: [&str; 9] = [
        "Where the collector is; over HTTP `/v1/traces` and the like are added. Unset: \
         `http://localhost:4318`, over gRPC `http://localhost:4317`. If it is set, traces, \
         metrics and the log are sent.",
        "How it is spoken to. Unset: `http/protobuf`.",
        "What is sent with each message, such as a token.",
        "How many milliseconds a message may take, all attempts together. Unset: 10000.",
        "How messages are made smaller. Unset: `none`.",
        "A file with authorities that its certificate may be from, beside those of the system.",
        "A file with the key that belongs to the client's certificate.",
        "A file with the certificate that is shown to it.",
        "An endpoint for gRPC without a scheme means `http`, not `https`.",
    ];
    const OWN_HELP: [&str; 9] = [
        "The whole URL for this signal alone.",
        "The same for this signal alone.",
        "The same for this signal alone; instead of the others.",
        "The same for this signal alone.",
        "The same for this signal alone.",
        "The same for this signal alone.",
        "The same for this signal alone.",
        "The same for this signal alone.",
        "The same for this signal alone.",
    ];
    r.group("OpenTelemetry: the collector");
    let general = given(r, &GENERAL, HELP);
    (general, [&OWN[0], &OWN[1], &OWN[2]].map(|names| given(r, names, OWN_HELP)))
}

fn given(r: &mut Reader<'_>, names: &'static Names, help: [&'static str; 9]) -> Given {
    let mut text = |name, help| r.optional::<String>(name, help).filter(|text| !text.is_empty());
    let endpoint = text(names.endpoint, help[0]);
    let wire = r.optional(names.protocol, help[1]).map(|WireName(wire)| wire);
    let secret = r.secret(names.headers, help[2]);
    let headers = secret.filter(|secret| !secret.expose().is_empty()).and_then(|secret| {
        let headers = headers(&secret);
        if headers.is_none() {
            let allowed = "pairs name=value, separated by commas, values percent-encoded";
            r.refuse(names.headers, "something else (it is not shown)", allowed);
        }
        headers
    });
    let timeout = r.optional(names.timeout, help[3]);
    let compression = r.optional(names.compression, help[4]).map(|CompressionName(name)| name);
    let mut text = |name, help| r.optional::<String>(name, help).filter(|text| !text.is_empty());
    Given {
        is_set: endpoint.is_some(),
        names,
        endpoint,
        wire,
        headers,
        timeout,
        compression,
        certificate: text(names.certificate, help[5]),
        client_key: text(names.client_key, help[6]),
        client_certificate: text(names.client_certificate, help[7]),
        insecure: r.optional(names.insecure, help[8]),
    }
}

/// Makes collectors of what was given.
pub(super) struct Reading<'r, 'e> {
    pub(super) r: &'r mut Reader<'e>,
    pub(super) general: &'r Given,
    /// What goes before all that is said of it.
    pub(super) wire: Option<Wire>,
}

impl Reading<'_, '_> {
    /// The collector of a signal, each message of which may take so long at most.
    pub(super) fn collector(
        &mut self,
        signal: Signal,
        own: &Given,
        most: Duration,
    ) -> Option<Collector> {
        let general = self.general;
        let wire = self.wire.or(own.wire).or(general.wire).unwrap_or(Wire::Http);
        let endpoint = self.endpoint(signal, own, wire)?;
        let is_https = endpoint.scheme_str() == Some("https");
        let tls = match is_https {
            true => Some(self.tls(own)?),
            false => None,
        };
        let timeout = own.timeout.or(general.timeout).unwrap_or(10_000);
        Some(Collector {
            wire,
            endpoint,
            headers: own.headers.clone().or_else(|| general.headers.clone()).unwrap_or_default(),
            timeout: Duration::from_millis(timeout).min(most),
            compression: own.compression.or(general.compression).unwrap_or_default(),
            tls,
        })
    }

    fn endpoint(&mut self, signal: Signal, own: &Given, wire: Wire) -> Option<Uri> {
        let general = self.general;
        let (names, text) = match (&own.endpoint, &general.endpoint, wire) {
            (Some(whole), ..) => (own.names, whole.clone()),
            (None, Some(base), Wire::Grpc) => (general.names, base.clone()),
            (None, Some(base), Wire::Http) => {
                (general.names, format!("{}{}", base.trim_end_matches('/'), signal.path()))
            }
            (None, None, Wire::Grpc) => (general.names, "http://localhost:4317".to_owned()),
            (None, None, Wire::Http) => {
                (general.names, format!("http://localhost:4318{}", signal.path()))
            }
        };
        let text = match wire {
            Wire::Grpc if !text.contains("://") => {
                match own.insecure.or(general.insecure).unwrap_or(false) {
                    true => format!("http://{text}"),
                    false => format!("https://{text}"),
                }
            }
            _ => text,
        };
        let uri = text.parse().ok().filter(is_usable);
        if uri.is_none() {
            // A password in it must not be shown.
            let found =
                if text.contains('@') { "a URL with a login".to_owned() } else { quoted(&text) };
            let allowed = "a URL, http://host:port or https://host:port, without a login";
            self.r.refuse(names.endpoint, &found, allowed);
        }
        uri
    }

    fn tls(&mut self, own: &Given) -> Option<ClientTls> {
        let general = self.general;
        let first =
            |own: &Option<String>, general: &Option<String>| own.clone().or(general.clone());
        let certificate = first(&own.client_certificate, &general.client_certificate);
        let key = first(&own.client_key, &general.client_key);
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some(Identity { certificate: certificate.into(), key: key.into() })
            }
            (certificate, _) => {
                let missing = match certificate {
                    Some(_) => own.names.client_key,
                    None => own.names.client_certificate,
                };
                self.r.refuse(missing, "nothing", "the file that belongs to the other one");
                return None;
            }
        };
        let ca = first(&own.certificate, &general.certificate).map(Into::into);
        Some(ClientTls { ca, identity, ..ClientTls::default() })
    }
}

fn is_usable(uri: &Uri) -> bool {
    let authority = uri.authority().map(|authority| authority.as_str());
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && authority.is_some_and(|authority| !authority.contains('@'))
        && HeaderValue::from_str(authority.unwrap_or_default()).is_ok()
}

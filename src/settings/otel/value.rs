//! How OpenTelemetry's variables are written.

use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::settings::value::Value;
use crate::store::secret::Secret;
use crate::telemetry::otel::{Compression, Root, Sampler, Wire};
use crate::telemetry::{Format, Formats};

/// Whether a collector is among them, and whether one is that is not known.
#[derive(Clone, Copy)]
pub(super) struct Exporters(pub(super) bool, pub(super) bool);

impl Value for Exporters {
    const ALLOWED: &'static str = "otlp or none";

    fn parse(text: &str) -> Option<Self> {
        let mut names = text.split(',').map(str::trim);
        let is_known = |name: &str| matches!(name, "otlp" | "none" | "");
        Some(Self(names.clone().any(|name| name == "otlp"), names.any(|name| !is_known(name))))
    }

    fn show(&self) -> String {
        if self.0 { "otlp" } else { "none" }.to_owned()
    }
}

/// What is read of callers, and whether something is named that is not known.
#[derive(Clone)]
pub(super) struct Propagators(pub(super) Formats, pub(super) bool);

impl Value for Propagators {
    const ALLOWED: &'static str = "names, separated by commas";

    fn parse(text: &str) -> Option<Self> {
        let (mut formats, mut is_unknown) = (SmallVec::new(), false);
        for name in text.split(',').map(str::trim) {
            let format = match name {
                "tracecontext" => Format::W3c,
                "b3" | "b3multi" => Format::B3,
                "baggage" | "none" | "" => continue,
                _ => {
                    is_unknown = true;
                    continue;
                }
            };
            if !formats.contains(&format) {
                formats.push(format);
            }
        }
        Some(Self(Formats(formats), is_unknown))
    }

    fn show(&self) -> String {
        let name = |format: &Format| match format {
            Format::W3c => "tracecontext",
            Format::B3 => "b3",
        };
        self.0.0.iter().map(name).collect::<Vec<_>>().join(",")
    }
}

/// A sampler; of a part, all of it.
#[derive(Clone, Copy)]
pub(super) struct SamplerName(pub(super) Sampler);

impl Value for SamplerName {
    const ALLOWED: &'static str = "always_on, always_off, traceidratio, or one of these with \
                                   `parentbased_` before it";

    fn parse(text: &str) -> Option<Self> {
        let (follows_caller, name) = match text.strip_prefix("parentbased_") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let root = match name {
            "always_on" => Root::All,
            "always_off" => Root::None,
            "traceidratio" => Root::Part(1.0),
            _ => return None,
        };
        Some(Self(Sampler { root, follows_caller }))
    }

    fn show(&self) -> String {
        let name = match self.0.root {
            Root::All => "always_on",
            Root::None => "always_off",
            Root::Part(_) => "traceidratio",
        };
        if self.0.follows_caller { format!("parentbased_{name}") } else { name.to_owned() }
    }
}

/// How OTLP is spoken, as OpenTelemetry names it.
#[derive(Clone, Copy)]
pub(super) struct WireName(pub(super) Wire);

impl Value for WireName {
    const ALLOWED: &'static str = "grpc or http/protobuf";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "grpc" => Some(Self(Wire::Grpc)),
            "http/protobuf" => Some(Self(Wire::Http)),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self.0 {
            Wire::Grpc => "grpc",
            Wire::Http => "http/protobuf",
        }
        .to_owned()
    }
}

/// The same as envoyproxy/ratelimit names it.
#[derive(Clone, Copy)]
pub(super) struct ShortWire(pub(super) Wire);

impl Value for ShortWire {
    const ALLOWED: &'static str = "http or grpc";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "http" => Some(Self(Wire::Http)),
            "grpc" => Some(Self(Wire::Grpc)),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self.0 {
            Wire::Http => "http",
            Wire::Grpc => "grpc",
        }
        .to_owned()
    }
}

/// How messages are made smaller.
#[derive(Clone, Copy)]
pub(super) struct CompressionName(pub(super) Compression);

impl Value for CompressionName {
    const ALLOWED: &'static str = "gzip or none";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self(Compression::None)),
            "gzip" => Some(Self(Compression::Gzip)),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self.0 {
            Compression::None => "none",
            Compression::Gzip => "gzip",
        }
        .to_owned()
    }
}

/// Keys and values.
#[derive(Clone)]
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl Value for Pairs {
    const ALLOWED: &'static str = "pairs key=value, separated by commas, values percent-encoded";
    const MAY_BE_EMPTY: bool = true;

    fn parse(text: &str) -> Option<Self> {
        pairs(text).map(Self)
    }

    fn show(&self) -> String {
        self.0.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    }
}

/// Names of headers and what they say.
pub(super) fn headers(text: &Secret) -> Option<Vec<(HeaderName, Secret)>> {
    let header = |(name, value): (String, String)| {
        HeaderValue::from_str(&value).ok()?;
        Some((HeaderName::try_from(name.to_ascii_lowercase()).ok()?, Secret::new(value)))
    };
    pairs(text.expose())?.into_iter().map(header).collect()
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (key.trim(), value.trim());
        (!key.is_empty()).then_some(())?;
        Some((key.to_owned(), decoded(value)?))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

/// A text whose `%xx` stand for bytes.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

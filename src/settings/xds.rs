//! The part of the table that says which management server rules come from, if any.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::reader::Reader;
use super::value::{Ratio, Value};
use crate::sources::xds::{ALLOWED_TARGETS, Backoff, Options, Scheme, Target};
use crate::store::secret::Secret;
use crate::tls::{ClientTls, Identity, NameCheck};
use crate::wire::discovery::Node;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

const MIB: usize = 1024 * 1024;

/// What gRPC takes where no one says how large a message may be.
const MAX_MESSAGE: usize = 4 * MIB;

/// What has no effect unless rules come from a management server.
const ABOUT_XDS: [&str; 16] = [
    "CONFIG_GRPC_XDS_NODE_ID",
    "CONFIG_GRPC_XDS_NODE_METADATA",
    "CONFIG_GRPC_XDS_SERVER_URL",
    "CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL",
    "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS",
    "CONFIG_GRPC_XDS_SERVER_USE_TLS",
    "CONFIG_GRPC_XDS_CLIENT_TLS_CERT",
    "CONFIG_GRPC_XDS_CLIENT_TLS_KEY",
    "CONFIG_GRPC_XDS_SERVER_TLS_CACERT",
    "CONFIG_GRPC_XDS_SERVER_TLS_SAN",
    "XDS_CLIENT_BACKOFF_INITIAL_INTERVAL",
    "XDS_CLIENT_BACKOFF_MAX_INTERVAL",
    "XDS_CLIENT_BACKOFF_RANDOM_FACTOR",
    "XDS_CLIENT_BACKOFF_JITTER",
    "XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES",
    "TIDEGATE_XDS_KEEPALIVE",
];

/// What has no effect without TLS.
const ABOUT_TLS: [&str; 4] = [
    "CONFIG_GRPC_XDS_CLIENT_TLS_CERT",
    "CONFIG_GRPC_XDS_CLIENT_TLS_KEY",
    "CONFIG_GRPC_XDS_SERVER_TLS_CACERT",
    "CONFIG_GRPC_XDS_SERVER_TLS_SAN",
];

/// What `CONFIG_TYPE` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Files,
    Xds,
}

impl Value for Source {
    const ALLOWED: &'static str = "FILE or GRPC_XDS_SOTW";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "FILE" => Some(Self::Files),
            "GRPC_XDS_SOTW" => Some(Self::Xds),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Files => "FILE".to_owned(),
            Self::Xds => "GRPC_XDS_SOTW".to_owned(),
        }
    }
}

impl Value for Target {
    const ALLOWED: &'static str = ALLOWED_TARGETS;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Reads the management server; `None` where rules come from files.
pub(super) fn read(r: &mut Reader<'_>) -> Option<Options> {
    r.group("Rules over xDS");
    let source = r.read(
        "CONFIG_TYPE",
        Source::Files,
        "Where rules come from: files, or a management server that sends them over xDS. With \
         the latter the variables that say where files are have no effect.",
    );
    let server = Target::Tcp { host: "localhost".to_owned(), port: 18000, scheme: None };
    let target = r.read("CONFIG_GRPC_XDS_SERVER_URL", server, "Where the management server is.");
    let options = Options {
        tls: tls(r, &target),
        target,
        node: node(r),
        headers: headers(r),
        max_message_bytes: max_message_bytes(r),
        keepalive: r.within(
            "TIDEGATE_XDS_KEEPALIVE",
            310 * SECOND,
            100 * MS..=24 * HOUR,
            "How often a silent management server is asked for a sign of life. Servers written \
             in Go hang up on whoever asks more often than every five minutes, unless they say \
             otherwise.",
        ),
        backoff: backoff(r),
    };
    if source == Source::Xds {
        return Some(options);
    }
    let unused = given(r, &ABOUT_XDS);
    if !unused.is_empty() {
        r.warn(format!("set but not used, as CONFIG_TYPE is FILE: {}", unused.join(", ")));
    }
    None
}

/// Which of these variables say something.
fn given(r: &Reader<'_>, names: &[&'static str]) -> Vec<&'static str> {
    let is_given = |name: &str| r.raw(name).is_some_and(|text| !text.is_empty());
    names.iter().copied().filter(|name| is_given(name)).collect()
}

fn node(r: &mut Reader<'_>) -> Node {
    let id = r.read(
        "CONFIG_GRPC_XDS_NODE_ID",
        "default".to_owned(),
        "What the management server knows this service by.",
    );
    let text = r.read(
        "CONFIG_GRPC_XDS_NODE_METADATA",
        String::new(),
        "What it may choose rules by, written `key=value,key2=value2`.",
    );
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    let (pairs, others): (Vec<&str>, Vec<&str>) = pairs.partition(|pair| pair.contains('='));
    if !others.is_empty() {
        let others = others.join(", ");
        r.warn(format!("CONFIG_GRPC_XDS_NODE_METADATA: left out, as there is no `=`: {others}"));
    }
    let pairs = pairs.into_iter().filter_map(|pair| pair.split_once('='));
    let metadata = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Node { id, metadata }
}

fn headers(r: &mut Reader<'_>) -> Vec<(String, Secret)> {
    const NAME: &str = "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS";
    let text = r.secret(
        NAME,
        "Headers sent to the management server, written `name:value,name2:value2`; they are \
         never shown.",
    );
    let Some(text) = text else { return Vec::new() };
    let parts = text.expose().split(',').filter(|part| !part.is_empty());
    let headers: Option<Vec<_>> = parts.map(header).collect();
    if headers.is_none() {
        let found = "something else (not shown: it may hold a password)";
        r.refuse(NAME, found, "name:value,name2:value2, of names that do not end in -bin");
    }
    headers.unwrap_or_default()
}

fn header(text: &str) -> Option<(String, Secret)> {
    let (name, value) = text.split_once(':')?;
    let (name, value) = (HeaderName::try_from(name.trim()).ok()?, value.trim());
    let is_value = HeaderValue::from_str(value).is_ok() && value.is_ascii();
    let is_text = is_value && !name.as_str().ends_with("-bin");
    is_text.then(|| (name.as_str().to_owned(), Secret::new(value)))
}

fn max_message_bytes(r: &mut Reader<'_>) -> usize {
    let bytes = r.within(
        "XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES",
        0,
        0..=1024 * MIB,
        "Bytes of an answer of the management server; 0 for 4 MiB.",
    );
    if bytes == 0 { MAX_MESSAGE } else { bytes }
}

fn tls(r: &mut Reader<'_>, target: &Target) -> Option<ClientTls> {
    let says_tls = matches!(target, Target::Tcp { scheme: Some(Scheme::Https), .. });
    let uses_tls = r.read(
        "CONFIG_GRPC_XDS_SERVER_USE_TLS",
        false,
        "Speak TLS to the management server; an address that begins with https:// says so too.",
    );
    let mut path = |name, help| r.read(name, String::new(), help);
    let certificate = path(
        "CONFIG_GRPC_XDS_CLIENT_TLS_CERT",
        "The certificate to show it, a PEM file; read for each connection.",
    );
    let key = path("CONFIG_GRPC_XDS_CLIENT_TLS_KEY", "The private key to that.");
    let ca = path(
        "CONFIG_GRPC_XDS_SERVER_TLS_CACERT",
        "The authorities to trust beside those of the system, a PEM file.",
    );
    let name = path(
        "CONFIG_GRPC_XDS_SERVER_TLS_SAN",
        "The name that its certificate must be for, if not the host of its address.",
    );
    if !uses_tls && !says_tls {
        let unused = given(r, &ABOUT_TLS);
        if !unused.is_empty() {
            let why = "as CONFIG_GRPC_XDS_SERVER_USE_TLS is false";
            r.warn(format!("set but not used, {why}: {}", unused.join(", ")));
        }
        return None;
    }
    if let Target::Tcp { scheme: Some(Scheme::Http), .. } = target {
        let allowed = "no http:// there, as CONFIG_GRPC_XDS_SERVER_USE_TLS is true";
        r.refuse("CONFIG_GRPC_XDS_SERVER_URL", &format!("\"{target}\""), allowed);
    }
    let missing = match (certificate.is_empty(), key.is_empty()) {
        (false, true) => Some("CONFIG_GRPC_XDS_CLIENT_TLS_KEY"),
        (true, false) => Some("CONFIG_GRPC_XDS_CLIENT_TLS_CERT"),
        _ => None,
    };
    if let Some(missing) = missing {
        r.refuse(missing, "nothing", "a file: certificate and key go together");
    }
    let identity = Identity { certificate: certificate.into(), key: key.into() };
    let is_given = !identity.certificate.as_os_str().is_empty();
    Some(ClientTls {
        ca: (!ca.is_empty()).then(|| ca.into()),
        identity: is_given.then_some(identity),
        server_name: (!name.is_empty()).then_some(name),
        name_check: NameCheck::Verify,
    })
}

fn backoff(r: &mut Reader<'_>) -> Backoff {
    let reach = r.within(
        "CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL",
        3 * SECOND,
        MS..=HOUR,
        "How often it is tried to reach a management server that is not there. The first retry \
         after a stream has ended comes after this time too, but at most a second.",
    );
    let initial = r.within(
        "XDS_CLIENT_BACKOFF_INITIAL_INTERVAL",
        10 * SECOND,
        MS..=24 * HOUR,
        "The wait before a stream is opened that failed twice; it doubles from there. A stream \
         that lasts that long makes all forgotten.",
    );
    let max = r.within(
        "XDS_CLIENT_BACKOFF_MAX_INTERVAL",
        60 * SECOND,
        MS..=24 * HOUR,
        "The longest such wait.",
    );
    let factor = r.read(
        "XDS_CLIENT_BACKOFF_RANDOM_FACTOR",
        Ratio(0.5),
        "The part of a wait, from 0 to 1, that chance takes off or adds; in envoyproxy/ratelimit \
         waits are multiplied by it, so that they never grow.",
    );
    let jitter = r.read("XDS_CLIENT_BACKOFF_JITTER", true, "Whether chance does so.");
    if factor.0 > 1.0 {
        r.warn("XDS_CLIENT_BACKOFF_RANDOM_FACTOR is above 1: it counts as 1");
    }
    let spread = if jitter { f64::from(factor.0).min(1.0) } else { 0.0 };
    Backoff { reach, initial, max: max.max(initial), spread }
}

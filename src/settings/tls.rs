//! The part of the table that secures the gRPC listener.

use super::reader::Reader;
use super::value::Value;
use crate::tls::{ClientAuth, Identity, PeerName, ServerTls};

const CERT: &str = "GRPC_SERVER_TLS_CERT";
const KEY: &str = "GRPC_SERVER_TLS_KEY";
const CLIENT_CA: &str = "GRPC_CLIENT_TLS_CACERT";
const CLIENT_NAME: &str = "GRPC_CLIENT_TLS_SAN";

/// Reads how the gRPC listener speaks TLS, if it does.
pub(super) fn read(r: &mut Reader<'_>) -> Option<ServerTls> {
    r.group("TLS on the gRPC listener");
    let is_used = r.read("GRPC_SERVER_USE_TLS", false, "Whether the gRPC listener speaks TLS.");
    let identity = Identity {
        certificate: path(r, CERT, "PEM file of its certificate chain.").into(),
        key: path(r, KEY, "PEM file of the private key.").into(),
    };
    let ca = path(
        r,
        CLIENT_CA,
        "PEM file of the authorities of clients. If it is set, clients must show a certificate \
         of one of them; envoyproxy/ratelimit also trusts the authorities of the system.",
    );
    let name = r.optional(
        CLIENT_NAME,
        "The name that the certificates of clients must be for; envoyproxy/ratelimit knows DNS \
         names only.",
    );
    path(
        r,
        "GRPC_SERVER_TLS_CA_CERT",
        "Set by Envoy Gateway and without effect, as in envoyproxy/ratelimit: the authorities of \
         clients are those of `GRPC_CLIENT_TLS_CACERT`.",
    );
    if !is_used {
        for name in [CERT, KEY, CLIENT_CA, CLIENT_NAME] {
            warn_if_set(r, name, "GRPC_SERVER_USE_TLS is not true");
        }
        return None;
    }
    for (name, path) in [(CERT, &identity.certificate), (KEY, &identity.key)] {
        if path.as_os_str().is_empty() {
            r.refuse(name, "nothing", "the path of a PEM file, as GRPC_SERVER_USE_TLS is true");
        }
    }
    if ca.is_empty() {
        let why = "clients are asked for a certificate only if GRPC_CLIENT_TLS_CACERT names the \
                   file of their authorities";
        warn_if_set(r, CLIENT_NAME, why);
        warn_if_set(r, "GRPC_SERVER_TLS_CA_CERT", why);
    }
    let clients = (!ca.is_empty()).then(|| ClientAuth { ca: ca.into(), name });
    Some(ServerTls { identity, clients, alpn: "h2" })
}

fn path(r: &mut Reader<'_>, name: &'static str, help: &'static str) -> String {
    r.read(name, String::new(), help)
}

fn warn_if_set(r: &mut Reader<'_>, name: &str, why: &str) {
    if r.raw(name).is_some_and(|text| !text.is_empty()) {
        r.warn(format!("{name} is set without effect: {why}"));
    }
}

impl Value for PeerName {
    const ALLOWED: &'static str =
        "a DNS name, an IP address, or a URI such as spiffe://cluster.local/ns/envoy";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn show(&self) -> String {
        self.text()
    }
}

//! TLS on the gRPC listener: who gets a session, and how certificates are replaced.

mod clients;
mod rotation;
mod server;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::tls::{ClientTls, Identity};
use tokio::net::TcpStream;

use crate::support::certs::Authority;
use crate::support::clients::{Client, within};
use crate::support::process::{Setup, Tidegate};

/// Many requests a year for each user.
const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 4000000000}
";

/// A program that speaks TLS as `identity`.
fn serving(identity: &Identity) -> Setup {
    Tidegate::with_rules(RULES)
        .env("GRPC_SERVER_USE_TLS", true)
        .env("GRPC_SERVER_TLS_CERT", identity.certificate.display())
        .env("GRPC_SERVER_TLS_KEY", identity.key.display())
}

/// A client that trusts `authority` and shows nothing.
fn trusting(authority: &Authority) -> ClientTls {
    ClientTls { ca: Some(authority.ca()), ..ClientTls::default() }
}

/// A client that trusts `authority` and shows `identity`.
fn showing(authority: &Authority, identity: Identity) -> ClientTls {
    ClientTls { identity: Some(identity), ..trusting(authority) }
}

/// A hit over a connection of its own.
async fn hit(tidegate: &Tidegate, tls: &ClientTls) -> Result<Code, String> {
    let client = Client::connect_tls(tidegate.grpc(), tls).await.map_err(|e| format!("{e:?}"))?;
    client.hit("user", "alice").await.map_err(|status| format!("{status:?}"))
}

/// The certificate that a new connection is shown, in DER.
async fn shown(tidegate: &Tidegate, tls: &ClientTls) -> Vec<u8> {
    let connector = tls.connector(&[b"h2"]).await.expect("the client's files");
    let stream = TcpStream::connect(tidegate.grpc()).await.expect("a connection");
    let session = within(connector.connect("127.0.0.1", stream)).await.expect("a session");
    let (_, session) = session.get_ref();
    session.peer_certificates().expect("certificates")[0].to_vec()
}

//! Client certificates: of the right authority, for the right name, good for clients.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};
use tidegate::tls::Identity;

use super::{hit, serving, showing, trusting};
use crate::support::certs::Authority;
use crate::support::process::Tidegate;

struct Guarded {
    servers: Authority,
    clients: Authority,
    tidegate: Tidegate,
}

impl Guarded {
    /// A program that wants certificates of its clients, for `name` if there is one.
    fn start(name: &str) -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let setup = serving(&servers.issue("server", &["127.0.0.1"]))
            .env("GRPC_CLIENT_TLS_CACERT", clients.ca().display())
            // The authorities of the system: the server's own is one of them.
            .env("SSL_CERT_FILE", servers.ca().display());
        let setup = match name {
            "" => setup,
            name => setup.env("GRPC_CLIENT_TLS_SAN", name),
        };
        Self { servers, clients, tidegate: setup.start() }
    }

    async fn lets_in(&self, identity: Identity) -> bool {
        hit(&self.tidegate, &showing(&self.servers, identity)).await == Ok(Code::Ok)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_certificates_of_the_given_authority_are_let_in() {
    let guarded = Guarded::start("");
    let Guarded { servers, clients, tidegate } = &guarded;
    assert!(hit(tidegate, &trusting(servers)).await.is_err(), "no certificate");
    assert!(guarded.lets_in(clients.issue("client", &["any.test"])).await);
    assert!(guarded.lets_in(clients.issue_uri("uri", "spiffe://a/b")).await, "any name");
    assert!(!guarded.lets_in(servers.issue("client", &["any.test"])).await, "of the system");
    let of = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::new(["any.test".to_owned()]).unwrap();
        change(&mut params);
        clients.sign(clients.dir(), "odd", params)
    };
    let servers_only = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert!(!guarded.lets_in(of(&|p| p.extended_key_usages.clone_from(&servers_only))).await);
    assert!(!guarded.lets_in(of(&|p| p.not_after = date_time_ymd(2020, 1, 1))).await, "expired");
    assert!(guarded.lets_in(of(&|_| ())).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_is_a_dns_name() {
    let guarded = Guarded::start("envoy.mesh.test");
    let Guarded { servers, clients, tidegate } = &guarded;
    assert!(hit(tidegate, &trusting(servers)).await.is_err(), "no certificate");
    for (names, expected) in [
        (&["envoy.mesh.test"][..], true),
        (&["other.test", "envoy.mesh.test"], true),
        (&["*.mesh.test"], true),
        (&["ENVOY.mesh.test"], true),
        (&["mesh.test"], false),
        (&["*.test"], false),
        (&["a.envoy.mesh.test"], false),
        (&["127.0.0.1"], false),
    ] {
        assert_eq!(guarded.lets_in(clients.issue("client", names)).await, expected, "{names:?}");
    }
    assert!(!guarded.lets_in(clients.issue_uri("uri", "spiffe://envoy.mesh.test")).await);
    assert!(
        !guarded.lets_in(servers.issue("client", &["envoy.mesh.test"])).await,
        "the name alone"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_is_a_uri() {
    const ENVOY: &str = "spiffe://cluster.local/ns/edge/sa/envoy";
    let guarded = Guarded::start(ENVOY);
    for (uri, expected) in [
        (ENVOY.to_owned(), true),
        (format!("{ENVOY}2"), false),
        (format!("{ENVOY}/"), false),
        (ENVOY.to_uppercase(), false),
        ("spiffe://cluster.local/ns/edge/sa".to_owned(), false),
    ] {
        let identity = guarded.clients.issue_uri("client", &uri);
        assert_eq!(guarded.lets_in(identity).await, expected, "{uri}");
    }
    assert!(!guarded.lets_in(guarded.clients.issue("client", &["cluster.local"])).await);
}

//! Envoy asks by TLS, and shows a certificate of its own.

use serde_json::{Value, json};

use crate::support::certs::Authority;
use crate::support::envoy::{Envoy, by_header, route};
use crate::support::process::{Setup, Tidegate, eventually};

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
";

const ENVOY: &str = "spiffe://cluster.local/ns/edge/sa/envoy";

fn secured(authority: &Authority) -> Setup {
    let server = authority.issue("server", &["ratelimit.test"]);
    Tidegate::with_rules(RULES)
        .env("GRPC_SERVER_USE_TLS", true)
        .env("GRPC_SERVER_TLS_CERT", server.certificate.display())
        .env("GRPC_SERVER_TLS_KEY", server.key.display())
        .env("GRPC_CLIENT_TLS_CACERT", authority.ca().display())
        .env("GRPC_CLIENT_TLS_SAN", ENVOY)
}

/// Envoy's side: it checks the server's name and shows a certificate for `uri`.
fn transport(authority: &Authority, uri: &str) -> Value {
    let file = |path: std::path::PathBuf| json!({"filename": path});
    let own = authority.issue_uri("envoy", uri);
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": "ratelimit.test",
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": file(own.certificate),
                    "private_key": file(own.key),
                }],
                "validation_context": {
                    "trusted_ca": file(authority.ca()),
                    "match_typed_subject_alt_names": [
                        {"san_type": "DNS", "matcher": {"exact": "ratelimit.test"}},
                    ],
                },
            },
        },
    })
}

#[test]
fn envoy_is_let_in_by_its_certificate() {
    let authority = Authority::new();
    let tidegate = secured(&authority).start();
    let routes = route(json!([by_header("x-user", "user")]));
    let envoy = Envoy::start_with(&[tidegate.grpc_port()], routes.clone(), |cluster| {
        cluster["transport_socket"] = transport(&authority, ENVOY);
    });
    let status = |envoy: &Envoy| envoy.get("/", &[("x-user", "alice")]).status;
    assert_eq!([(); 3].map(|()| status(&envoy)), [200, 200, 429]);

    // One with another name cannot ask, so that its failure mode decides.
    let stranger = Envoy::start_with(&[tidegate.grpc_port()], routes, |cluster| {
        cluster["transport_socket"] = transport(&authority, "spiffe://cluster.local/ns/edge/sa/x");
        cluster["health_checks"] = json!([]);
    });
    assert_eq!(status(&stranger), 500);
    eventually("the handshake is counted", || {
        (tidegate.metric("tidegate_tls_handshake_failures_total") > 0.0).then_some(())
    });
}

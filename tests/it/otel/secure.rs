//! A collector that is spoken to in secret, and wants to know by whom.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::collector::Collector;
use super::{RULES, ask};
use crate::support::certs::Authority;
use crate::support::clients::{Client, descriptor, request};
use crate::support::process::Tidegate;

/// Shows a certificate of `authority`'s, and wants one.
fn acceptor(authority: &Authority) -> TlsAcceptor {
    let identity = authority.issue("collector", &["localhost"]);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.ca()).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let chain = vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let config = ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(verifier.build().unwrap());
    TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()))
}

#[tokio::test]
async fn certificates_are_shown_and_looked_at() {
    let authority = Authority::new();
    let collector = Collector::https(acceptor(&authority));
    let client = authority.issue("client", &["tidegate"]);
    let setup = || {
        Tidegate::with_rules(RULES)
            .env("OTEL_TRACES_EXPORTER", "otlp")
            .env("OTEL_METRICS_EXPORTER", "none")
            .env("OTEL_LOGS_EXPORTER", "none")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://localhost:{}", collector.port()))
            .env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", client.certificate.display())
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", client.key.display())
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "5000")
            .env("OTEL_BSP_SCHEDULE_DELAY", "10")
    };
    let decide = async |tidegate: &Tidegate| {
        let client = Client::connect(tidegate.grpc()).await;
        ask(&client, request("shop", [descriptor(&[("path", "/api")])]), &[]).await.unwrap();
    };
    let stranger = setup().start();
    decide(&stranger).await;
    stranger.wait_for_log(|line| line.contains("telemetry is lost"));
    assert!(collector.see(|received| received.traces.is_empty()));
    let known = setup().env("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.ca().display()).start();
    decide(&known).await;
    collector.wait("the spans", |received| (received.spans().len() == 5).then_some(()));
}

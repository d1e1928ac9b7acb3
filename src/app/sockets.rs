//! What can be told of the sockets: who is connected, and until when the certificate holds.

use std::sync::Arc;

use crate::server::Places;
use crate::telemetry::{Kind, Page};
use crate::tls::Acceptor;

/// The places of every listener, and the TLS of the one that may have it.
#[derive(Clone, Debug)]
pub(super) struct Sockets {
    pub(super) grpc: Places,
    pub(super) http: Places,
    pub(super) debug: Places,
    pub(super) metrics: Places,
    pub(super) tls: Option<Arc<Acceptor>>,
}

impl Sockets {
    /// That many places for each listener.
    pub(super) fn new(max_connections: usize, tls: Option<Arc<Acceptor>>) -> Self {
        let places = || Places::new(max_connections);
        Self { grpc: places(), http: places(), debug: places(), metrics: places(), tls }
    }

    /// Adds their series to `page`.
    pub(super) fn collect(&self, page: &mut Page) {
        let Self { grpc, http, debug, metrics, tls } = self;
        for (listener, places) in
            [("grpc", grpc), ("http", http), ("debug", debug), ("metrics", metrics)]
        {
            page.sample(
                ("tidegate_connections", Kind::Gauge, "Connections that are open, by listener."),
                &[("listener", listener)],
                places.taken() as f64,
            );
        }
        let Some(status) = tls.as_ref().map(|tls| tls.status()) else { return };
        page.sample(
            (
                "tidegate_tls_certificate_expiry_timestamp_seconds",
                Kind::Gauge,
                "When the certificate of the gRPC listener ends.",
            ),
            &[],
            status.expires.as_secs() as f64,
        );
        page.sample(
            (
                "tidegate_tls_reload_failures_total",
                Kind::Counter,
                "Changes of the TLS files that could not be used.",
            ),
            &[],
            status.failed_reloads as f64,
        );
        page.sample(
            (
                "tidegate_tls_handshake_failures_total",
                Kind::Counter,
                "TLS handshakes that gave no session.",
            ),
            &[],
            status.failed_handshakes as f64,
        );
    }
}

//! What can be told of the sockets: who is connected, and until when the certificate holds.

use std::sync::Arc;

use crate::server::{Activity, Doors, Places, Turned};
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
    pub(super) doors: Arc<Doors>,
}

impl Sockets {
    /// That many places for each listener.
    pub(super) fn new(
        max_connections: usize,
        tls: Option<Arc<Acceptor>>,
        doors: Arc<Doors>,
    ) -> Self {
        let places = || Places::new(max_connections);
        Self { grpc: places(), http: places(), debug: places(), metrics: places(), tls, doors }
    }

    /// Adds their series to `page`.
    pub(super) fn collect(&self, activity: &Activity, page: &mut Page) {
        self.collect_places(page);
        collect_doors(&self.doors, page);
        page.sample(
            ("tidegate_decisions_under_way", Kind::Gauge, "Requests that are being decided."),
            &[],
            activity.under_way() as f64,
        );
        page.sample(
            (
                "tidegate_decisions_refused_total",
                Kind::Counter,
                "Requests that came while TIDEGATE_MAX_DECISIONS were being decided.",
            ),
            &[],
            activity.refused() as f64,
        );
        self.collect_tls(page);
    }

    fn collect_places(&self, page: &mut Page) {
        let Self { grpc, http, debug, metrics, .. } = self;
        let all = [("grpc", grpc), ("http", http), ("debug", debug), ("metrics", metrics)];
        for (listener, places) in all {
            page.sample(
                ("tidegate_connections", Kind::Gauge, "Connections that are open, by listener."),
                &[("listener", listener)],
                places.taken() as f64,
            );
        }
        for (listener, places) in all {
            page.sample(
                (
                    "tidegate_connections_refused_total",
                    Kind::Counter,
                    "Connections that came while TIDEGATE_MAX_CONNECTIONS were open, by listener.",
                ),
                &[("listener", listener)],
                places.refused() as f64,
            );
        }
    }

    fn collect_tls(&self, page: &mut Page) {
        let tls = &self.tls;
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

fn collect_doors(doors: &Doors, page: &mut Page) {
    for why in Turned::ALL {
        page.sample(
            (
                "tidegate_turned_away_total",
                Kind::Counter,
                "Connections and requests that were given up, by reason.",
            ),
            &[("reason", why.name())],
            doors.turned(why) as f64,
        );
    }
    page.sample(
        (
            "tidegate_unfinished_request_bytes",
            Kind::Gauge,
            "Bytes of requests whose end has not come.",
        ),
        &[],
        doors.unfinished() as f64,
    );
}

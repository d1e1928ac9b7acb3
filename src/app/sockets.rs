//! What can be told of the sockets: who is connected, and until when the certificate holds.

use std::sync::Arc;

use crate::server::{Activity, Doors, Places, Turned};
use crate::telemetry::{Page, own};
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
        page.sample(&own::UNDER_WAY, &[], activity.under_way() as f64);
        page.sample(&own::CROWDED, &[], activity.refused() as f64);
        self.collect_tls(page);
    }

    fn collect_places(&self, page: &mut Page) {
        let Self { grpc, http, debug, metrics, .. } = self;
        let all = [("grpc", grpc), ("http", http), ("debug", debug), ("metrics", metrics)];
        for (listener, places) in all {
            page.sample(&own::CONNECTIONS, &[listener], places.taken() as f64);
            page.sample(&own::CONNECTIONS_REFUSED, &[listener], places.refused() as f64);
        }
    }

    fn collect_tls(&self, page: &mut Page) {
        let tls = &self.tls;
        let Some(status) = tls.as_ref().map(|tls| tls.status()) else { return };
        for (family, value) in [
            (&own::TLS_EXPIRES_AT, status.expires.as_secs()),
            (&own::TLS_RELOAD_FAILURES, status.failed_reloads),
            (&own::TLS_HANDSHAKE_FAILURES, status.failed_handshakes),
        ] {
            page.sample(family, &[], value as f64);
        }
    }
}

fn collect_doors(doors: &Doors, page: &mut Page) {
    for why in Turned::ALL {
        page.sample(&own::TURNED_AWAY, &[why.name()], doors.turned(why) as f64);
    }
    page.sample(&own::UNFINISHED_BYTES, &[], doors.unfinished() as f64);
}

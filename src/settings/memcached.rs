//! The part of the table that says where memcached is.

use std::net::SocketAddr;
use std::time::Duration;

use super::reader::{Reader, quoted};
use super::value::Value;
use crate::store::memcached::{MemcachedConfig, Servers};
use crate::tls::{ClientTls, Identity, NameCheck};

/// The variables about memcached, as they are.
pub(super) struct Given {
    servers: String,
    srv: String,
    refresh: Duration,
    dns: Option<SocketAddr>,
    tls: Option<ClientTls>,
    max_idle: i64,
}

impl Value for SocketAddr {
    const ALLOWED: &'static str = "an IP address and a port, such as 10.0.0.2:53 or [fd00::2]:53";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// The connections that the reference keeps where nothing is said.
const MAX_IDLE: i64 = 2;

impl Given {
    /// Declares and reads them.
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        r.group("Memcached");
        Self {
            servers: r.read(
                "MEMCACHE_HOST_PORT",
                String::new(),
                "Where memcached is: `host:port` or the path of a unix socket; several with \
                 commas between them share the counters, in an order that all replicas agree on.",
            ),
            srv: r.read(
                "MEMCACHE_SRV",
                String::new(),
                "The DNS name of an SRV record, `_service._proto.name`, that tells the servers \
                 instead.",
            ),
            refresh: r.read(
                "MEMCACHE_SRV_REFRESH",
                Duration::ZERO,
                "How often the SRV record is asked for again; 0 is never.",
            ),
            dns: r.optional(
                "TIDEGATE_DNS_SERVER",
                "The name server that is asked for the SRV record; unset: those of the system.",
            ),
            tls: tls(r),
            max_idle: r.read(
                "MEMCACHE_MAX_IDLE_CONNS",
                MAX_IDLE,
                "Has no effect: one connection to each server carries all commands.",
            ),
        }
    }

    /// Notes that a store elsewhere leaves them unused.
    pub(super) fn warn_unused(&self, r: &mut Reader<'_>) {
        for (name, text) in [("MEMCACHE_HOST_PORT", &self.servers), ("MEMCACHE_SRV", &self.srv)] {
            if !text.is_empty() {
                r.warn(format!("{name} is set but not used, as BACKEND_TYPE is not memcache"));
            }
        }
    }

    /// The store that they describe, if they do.
    pub(super) fn config(self, r: &mut Reader<'_>) -> Option<MemcachedConfig> {
        if self.max_idle != MAX_IDLE {
            r.warn(
                "MEMCACHE_MAX_IDLE_CONNS is set but has no effect: one connection to each server \
                 carries all commands",
            );
        }
        let stops = "STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT";
        if let Some(text) = r.raw(stops).filter(|text| bool::parse(text) == Some(true)) {
            let allowed = "false, as memcached counts refused hits in any case";
            r.refuse(stops, &quoted(&text), allowed);
        }
        let (name, text, servers) = match (self.servers.is_empty(), self.srv.is_empty()) {
            (true, true) => {
                let allowed = "servers, or MEMCACHE_SRV, as BACKEND_TYPE is memcache";
                r.refuse("MEMCACHE_HOST_PORT", "nothing", allowed);
                return None;
            }
            (false, false) => {
                let allowed = "nothing, as MEMCACHE_HOST_PORT names the servers";
                r.refuse("MEMCACHE_SRV", &quoted(&self.srv), allowed);
                return None;
            }
            (false, true) => ("MEMCACHE_HOST_PORT", &self.servers, Servers::listed(&self.servers)),
            (true, false) => ("MEMCACHE_SRV", &self.srv, Servers::srv(&self.srv)),
        };
        let mut servers = match servers {
            Ok(servers) => servers,
            Err(error) => {
                r.refuse(name, &quoted(text), &error.to_string());
                return None;
            }
        };
        if let Servers::Srv(query) = &mut servers {
            query.refresh = self.refresh;
            query.dns = self.dns;
        }
        let mut config = MemcachedConfig::new(servers);
        config.tls = self.tls;
        Some(config)
    }
}

fn tls(r: &mut Reader<'_>) -> Option<ClientTls> {
    let none = String::new;
    let on = r.read("MEMCACHE_TLS", false, "Encrypt connections to memcached, sockets aside.");
    let certificate = r.read(
        "MEMCACHE_TLS_CLIENT_CERT",
        none(),
        "The PEM file with the certificate that is shown to memcached.",
    );
    let key = r.read("MEMCACHE_TLS_CLIENT_KEY", none(), "The PEM file with its key.");
    let ca = r.read(
        "MEMCACHE_TLS_CACERT",
        none(),
        "A PEM file with authorities that are trusted beside those of the system.",
    );
    let skip = r.read(
        "MEMCACHE_TLS_SKIP_HOSTNAME_VERIFICATION",
        false,
        "Accept a certificate of memcached whatever name it is for.",
    );
    if on && certificate.is_empty() != key.is_empty() {
        let (name, other) = match certificate.is_empty() {
            true => ("MEMCACHE_TLS_CLIENT_CERT", "MEMCACHE_TLS_CLIENT_KEY"),
            false => ("MEMCACHE_TLS_CLIENT_KEY", "MEMCACHE_TLS_CLIENT_CERT"),
        };
        r.refuse(name, "nothing", &format!("a file, as {other} is set"));
    }
    let identity = Identity { certificate: certificate.clone().into(), key: key.into() };
    on.then(|| ClientTls {
        ca: (!ca.is_empty()).then(|| ca.into()),
        identity: (!certificate.is_empty()).then_some(identity),
        server_name: None,
        name_check: if skip { NameCheck::Skip } else { NameCheck::Verify },
    })
}

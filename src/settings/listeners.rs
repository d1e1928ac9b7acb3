//! The part of the table that opens listeners, and the check that no two collide.

use std::net::IpAddr;
use std::time::Duration;

use super::reader::Reader;
use super::value::{Host, Route};
use super::{AdminToken, Grpc, Prometheus, tls, transport};
use crate::server::{Address, Endpoint, Reflection};

/// The listeners.
pub(super) struct Listeners {
    pub(super) http: Address,
    pub(super) debug: Address,
    pub(super) admin_token: Option<AdminToken>,
    pub(super) grpc: Grpc,
    pub(super) prometheus: Option<Prometheus>,
}

/// Reads the listeners.
pub(super) fn read(r: &mut Reader<'_>) -> Listeners {
    r.group("HTTP and debug listeners");
    let http = Address {
        host: r.read("HOST", any(), "Host of the HTTP listener (`/json`, `/healthcheck`).").0,
        port: r.within("PORT", 8080, PORTS, "Its port; 0 takes a free one."),
    };
    let debug = Address {
        host: r
            .read(
                "DEBUG_HOST",
                Host("127.0.0.1".to_owned()),
                "Host of the debug listener; envoyproxy/ratelimit listens on every address.",
            )
            .0,
        port: r.within("DEBUG_PORT", 6070, PORTS, "Its port; 0 takes a free one."),
    };
    let admin_token = transport::admin_token(r);
    let grpc = grpc(r);
    let prometheus = prometheus(r);
    let listeners = Listeners { http, debug, admin_token, grpc, prometheus };
    refuse_collisions(r, &listeners);
    listeners
}

const PORTS: std::ops::RangeInclusive<u16> = 0..=u16::MAX;

fn any() -> Host {
    Host("0.0.0.0".to_owned())
}

fn grpc(r: &mut Reader<'_>) -> Grpc {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const HOUR: Duration = Duration::from_secs(60 * 60);
    r.group("gRPC listener");
    let address = Address {
        host: r.read("GRPC_HOST", any(), "Host of the gRPC listener.").0,
        port: r.within("GRPC_PORT", 8081, PORTS, "Its port; 0 takes a free one."),
    };
    let uds = r.read(
        "GRPC_UDS",
        String::new(),
        "Path of a unix socket to listen on instead of host and port. A file that is left there \
         by a process that has ended is replaced; envoyproxy/ratelimit does not start then.",
    );
    let age = r.read(
        "GRPC_MAX_CONNECTION_AGE",
        DAY,
        "A connection of this age is asked to go; 0 means never.",
    );
    let grace = r.read(
        "GRPC_MAX_CONNECTION_AGE_GRACE",
        HOUR,
        "That long after it was asked it is closed; 0 means never.",
    );
    Grpc {
        listen: if uds.is_empty() { Endpoint::Tcp(address) } else { Endpoint::Unix(uds.into()) },
        max_connection_age: Some(age).filter(|age| !age.is_zero()),
        max_connection_age_grace: Some(grace).filter(|grace| !grace.is_zero()),
        reflection: r.read(
            "TIDEGATE_REFLECTION",
            Reflection::Off,
            "Whether the gRPC listener describes its services to clients.",
        ),
        tls: tls::read(r),
    }
}

fn prometheus(r: &mut Reader<'_>) -> Option<Prometheus> {
    r.group("Metrics");
    let used = r.read("USE_PROMETHEUS", false, "Whether there is a metrics listener.");
    let address = Address { host: String::new(), port: 9090 };
    let address = r.read(
        "PROMETHEUS_ADDR",
        address,
        "Its address; without host it listens on every address of the machine.",
    );
    let path = r.read("PROMETHEUS_PATH", Route("/metrics".to_owned()), "Path of the page.").0;
    used.then_some(Prometheus { address, path })
}

/// Two listeners of one port would share its connections at random.
fn refuse_collisions(r: &mut Reader<'_>, listeners: &Listeners) {
    let mut all = vec![("PORT", &listeners.http), ("DEBUG_PORT", &listeners.debug)];
    if let Endpoint::Tcp(address) = &listeners.grpc.listen {
        all.push(("GRPC_PORT", address));
    }
    if let Some(prometheus) = &listeners.prometheus {
        all.push(("PROMETHEUS_ADDR", &prometheus.address));
    }
    for (i, (name, address)) in all.iter().enumerate() {
        if let Some((other, _)) = all[..i].iter().find(|(_, earlier)| collide(earlier, address)) {
            r.refuse(name, &format!("the port of {other}, {}", address.port), "a port of its own");
        }
    }
}

fn collide(one: &Address, other: &Address) -> bool {
    let everywhere = |address: &Address| {
        address.host.is_empty() || address.host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified())
    };
    let hosts_meet = one.host == other.host || everywhere(one) || everywhere(other);
    one.port == other.port && one.port != 0 && hosts_meet
}

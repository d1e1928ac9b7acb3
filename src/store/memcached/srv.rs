//! Servers by DNS: the targets of an SRV record.

use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use super::config::SrvQuery;
use crate::store::redis::Address;

/// The most servers that are taken from an answer.
const MAX_SERVERS: usize = 1000;

/// All targets, whatever their priority, in the order that all replicas share:
/// that of `host.:port` as text, as envoyproxy/ratelimit has it.
pub(super) async fn servers(query: &SrvQuery) -> Result<Vec<Address>, String> {
    let answer = match resolver(query.dns) {
        Ok(resolver) => resolver.srv_lookup(query.name.as_str()).await,
        Err(error) => Err(error),
    };
    let answer = answer.map_err(|error| error.to_string())?;
    let mut targets: Vec<(String, u16)> = Vec::new();
    for record in answer.answers() {
        if let RData::SRV(srv) = &record.data {
            targets.push((srv.target.to_ascii(), srv.port));
        }
    }
    targets.sort_by_cached_key(|(host, port)| format!("{host}:{port}"));
    targets.dedup();
    // A single dot says that there is no such service.
    targets.retain(|(host, _)| host != ".");
    if targets.is_empty() || targets.len() > MAX_SERVERS {
        return Err(format!("{} targets; 1 to {MAX_SERVERS} are allowed", targets.len()));
    }
    let address = |(host, port): (String, u16)| {
        Address::Tcp(host.strip_suffix('.').unwrap_or(&host).to_owned(), port)
    };
    Ok(targets.into_iter().map(address).collect())
}

/// A resolver that asks anew every time, by the system's configuration as it is now.
fn resolver(dns: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = match dns {
        None => TokioResolver::builder_tokio()?,
        Some(server) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut way| {
                way.port = server.port();
                way
            });
            let server = NameServerConfig::new(server.ip(), true, connections.into());
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    builder.options_mut().cache_size = 0;
    builder.build()
}

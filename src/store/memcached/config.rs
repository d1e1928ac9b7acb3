//! Where memcached is and how to talk to it, checked before anything connects.

use std::net::SocketAddr;
use std::time::Duration;

use crate::store::redis::Address;
use crate::tls::ClientTls;

/// How to reach memcached and how to count there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemcachedConfig {
    /// Where its servers are.
    pub servers: Servers,
    /// Whether and how TCP connections are encrypted.
    pub tls: Option<ClientTls>,
    /// How long opening a connection may take, the first answer included. One second.
    pub connect_timeout: Duration,
    /// How long one batch or probe may take. 500 ms.
    pub timeout: Duration,
    /// Counters live up to that many seconds longer, exclusive, drawn for each. 0.
    pub expiration_jitter_max_secs: u64,
    /// Counters live that many seconds longer, so that a replica whose clock is behind by
    /// less still finds them. 0.
    pub key_slack_secs: u64,
}

/// Which servers share the counters. Their order decides which counter lives where: all
/// replicas must agree on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// These, in this order.
    Listed(Vec<Address>),
    /// Those that DNS names.
    Srv(SrvQuery),
}

/// Servers by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvQuery {
    /// What to ask for: `_service._proto.name`.
    pub name: String,
    /// How often to ask again once there was an answer; zero is never.
    pub refresh: Duration,
    /// The name server to ask; none: those of the system.
    pub dns: Option<SocketAddr>,
}

/// Why servers cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemcachedConfigError {
    /// An element of a list of servers.
    #[error("{0:?} is no server: expected `host:port` or a socket's path")]
    Server(String),
    /// The list is empty.
    #[error("there is no server in the list")]
    NoServer,
    /// The name of an SRV record.
    #[error("{0:?} names no SRV record: expected `_service._proto.name`")]
    Srv(String),
}

impl MemcachedConfig {
    /// The defaults, for these servers.
    pub fn new(servers: Servers) -> Self {
        Self {
            servers,
            tls: None,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            expiration_jitter_max_secs: 0,
            key_slack_secs: 0,
        }
    }

    /// Where the servers are, for logs.
    pub fn describe(&self) -> String {
        match &self.servers {
            Servers::Listed(servers) => {
                let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
                servers.join(",")
            }
            Servers::Srv(query) => query.name.clone(),
        }
    }
}

impl Servers {
    /// Reads a list of servers, separated by commas: `host:port`, or the path of a unix
    /// socket, which begins with `/`.
    ///
    /// # Errors
    ///
    /// The first element that is none of them.
    pub fn listed(text: &str) -> Result<Self, MemcachedConfigError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let servers: Vec<Address> = parts.map(address).collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(MemcachedConfigError::NoServer);
        }
        Ok(Self::Listed(servers))
    }

    /// Servers by the name of an SRV record, asked for once and of the system's DNS.
    ///
    /// # Errors
    ///
    /// The name does not look like one.
    pub fn srv(name: &str) -> Result<Self, MemcachedConfigError> {
        let labels: Vec<&str> = name.split('.').collect();
        let is_marked = |label: Option<&&str>| {
            label.and_then(|label| label.strip_prefix('_')).is_some_and(|rest| !rest.is_empty())
        };
        let is_name = is_marked(labels.first())
            && is_marked(labels.get(1))
            && labels.get(2).is_some_and(|label| !label.is_empty());
        if !is_name {
            return Err(MemcachedConfigError::Srv(name.to_owned()));
        }
        let (name, refresh) = (name.to_owned(), Duration::ZERO);
        Ok(Self::Srv(SrvQuery { name, refresh, dns: None }))
    }
}

fn address(text: &str) -> Result<Address, MemcachedConfigError> {
    if text.starts_with('/') {
        return Ok(Address::Unix(text.into()));
    }
    let server = text.rsplit_once(':').and_then(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // Without brackets it is unclear where an IPv6 address ends.
        let host = bare.or_else(|| (!host.contains([':', '[', '/', '@', ' '])).then_some(host))?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Address::Tcp(host.to_owned(), port))
    });
    server.ok_or_else(|| MemcachedConfigError::Server(text.to_owned()))
}

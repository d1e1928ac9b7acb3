//! Where Redis is and how to talk to it, checked before anything connects.
//!
//! Errors name what is wrong but never quote an address, which may hold credentials.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::store::secret::Secret;
use crate::tls::ClientTls;

/// How to reach Redis and how to count there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Where its servers are.
    pub topology: Topology,
    /// How a connection to one of them is opened.
    pub dialing: Dialing,
    /// How long one batch or probe may take. 500 ms.
    pub timeout: Duration,
    /// Counters live up to that many seconds longer, exclusive, drawn for each. 0.
    pub expiration_jitter_max_secs: u64,
    /// Counters live that many seconds longer, so that a replica whose clock is behind by
    /// less still finds them. 0, which is envoyproxy's behaviour.
    pub key_slack_secs: u64,
    /// Which clock sliding windows and buckets go by. The server's.
    pub clock: ScriptClock,
}

/// Which servers make up a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One, always at this address.
    Single(Address),
    /// The primary of a name, which sentinels know.
    Sentinel {
        /// What the sentinels call the primary.
        name: String,
        /// Where sentinels are.
        sentinels: Vec<Address>,
        /// Who we say we are to them.
        login: Login,
    },
    /// A cluster, found through any of these.
    Cluster(Vec<Address>),
}

/// How a connection to a server is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialing {
    /// Who we say we are.
    pub login: Login,
    /// The database to count in.
    pub db: i64,
    /// Whether and how the connection is encrypted.
    pub tls: Option<ClientTls>,
    /// How long one attempt may take, greeting included. One second.
    pub connect_timeout: Duration,
}

/// Who a client says it is; empty, it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The user; none is Redis' `default`.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

/// The clock of sliding windows and buckets. (Fixed windows go by the batch's, as
/// envoyproxy's do.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScriptClock {
    /// That of Redis: replicas agree, however their own clocks differ.
    #[default]
    Server,
    /// The moment of the batch, for tests that move the clock by hand.
    Batch,
}

/// The kind of socket Redis listens on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketType {
    /// `tcp`: the address is `host:port` or a `redis://` URL.
    #[default]
    Tcp,
    /// `unix`: the address is a path.
    Unix,
}

/// Why an address of Redis cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisConfigError {
    /// Neither `tcp` nor `unix`.
    #[error("unknown socket type {0:?}: allowed are `tcp` and `unix`")]
    SocketType(String),
    /// `rediss://`.
    #[error("TLS to Redis is not supported yet: use `redis://` in place of `rediss://`")]
    Tls,
    /// A scheme other than `redis`.
    #[error("unknown scheme `{0}://`: allowed are `redis://`, `host:port` and a socket's path")]
    Scheme(String),
    /// Not an address at all.
    #[error(
        "not an address of Redis: expected `host:port`, \
         `redis://[user[:password]@]host:port[/db]` or a socket's path \
         (special characters in user and password percent-encoded)"
    )]
    Address,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Host, which is resolved for each connection, and port.
    Tcp(String, u16),
    /// The path of a socket.
    Unix(PathBuf),
}

impl RedisConfig {
    /// Reads an address: `host:port`, `redis://[user[:password]@]host:port[/db]`, or the
    /// path of a unix socket (which starts with `/`, unless the socket type says `unix`).
    /// Port 6379 may be left out.
    ///
    /// `auth` is `password` or `user:password`, split at the first colon, and wins over
    /// credentials in the address; empty, it says nothing.
    ///
    /// # Errors
    ///
    /// When the address has another form or asks for TLS.
    pub fn new(
        address: &str,
        socket_type: SocketType,
        auth: Option<&Secret>,
    ) -> Result<Self, RedisConfigError> {
        let mut config = if socket_type == SocketType::Unix || address.starts_with('/') {
            Self::unix(address)?
        } else {
            Self::tcp(address)?
        };
        if let Some(auth) = auth.filter(|auth| !auth.expose().is_empty()) {
            config.dialing.login = Login::parse(auth);
        }
        Ok(config)
    }

    /// The address without credentials, for logs.
    pub fn describe(&self) -> String {
        let db = match self.dialing.db {
            0 => String::new(),
            db => format!("/{db}"),
        };
        match &self.topology {
            Topology::Single(address) => format!("{address}{db}"),
            Topology::Sentinel { name, .. } => format!("sentinel {name}{db}"),
            Topology::Cluster(_) => "cluster".to_owned(),
        }
    }

    fn unix(address: &str) -> Result<Self, RedisConfigError> {
        let path = address.strip_prefix("unix://").unwrap_or(address);
        if path.is_empty() || path.contains("://") {
            return Err(RedisConfigError::Address);
        }
        Ok(Self::at(Address::Unix(path.into())))
    }

    fn tcp(address: &str) -> Result<Self, RedisConfigError> {
        let url = match address.split_once("://") {
            Some(("redis", _)) => address.to_owned(),
            Some(("rediss", _)) => return Err(RedisConfigError::Tls),
            // Only what can be a scheme is quoted: a password may contain `://` as well.
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                return Err(RedisConfigError::Scheme(scheme.to_owned()));
            }
            Some(_) => return Err(RedisConfigError::Address),
            None => format!("redis://{address}"),
        };
        let info = url.into_connection_info().map_err(|_| RedisConfigError::Address)?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(RedisConfigError::Address);
        };
        // Hosts in a list, as clusters and sentinels have them, come out as one name.
        if host.is_empty() || host.contains(',') {
            return Err(RedisConfigError::Address);
        }
        let settings = info.redis_settings();
        let mut config = Self::at(Address::Tcp(host.clone(), *port));
        config.dialing.login = Login {
            user: settings.username().map(str::to_owned),
            password: settings.password().map(Secret::new),
        };
        config.dialing.db = settings.db();
        Ok(config)
    }

    fn at(address: Address) -> Self {
        Self {
            topology: Topology::Single(address),
            dialing: Dialing {
                login: Login::default(),
                db: 0,
                tls: None,
                connect_timeout: Duration::from_secs(1),
            },
            timeout: Duration::from_millis(500),
            expiration_jitter_max_secs: 0,
            key_slack_secs: 0,
            clock: ScriptClock::default(),
        }
    }
}

impl Login {
    /// Reads `password` or `user:password`, split at the first colon.
    pub fn parse(auth: &Secret) -> Self {
        let (user, password) = auth.expose().split_once(':').unwrap_or(("", auth.expose()));
        Self {
            user: Some(user.to_owned()).filter(|user| !user.is_empty()),
            password: Some(Secret::new(password)),
        }
    }
}

impl FromStr for SocketType {
    type Err = RedisConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "unix" => Ok(Self::Unix),
            _ => Err(RedisConfigError::SocketType(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

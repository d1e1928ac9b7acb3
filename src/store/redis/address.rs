//! Addresses of servers, as settings give them.
//!
//! Errors name what is wrong but never quote an address, which may hold credentials.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use redis::{ConnectionAddr, IntoConnectionInfo};

use super::login::Login;
use crate::store::secret::Secret;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Host, which is resolved for each connection, and port.
    Tcp(String, u16),
    /// The path of a socket.
    Unix(PathBuf),
}

/// The kind of socket Redis listens on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketType {
    /// `tcp`: the address is `host:port` or a URL.
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
    /// A scheme of something else.
    #[error(
        "unknown scheme `{0}://`: allowed are `redis://`, `rediss://`, `redis+unix://`, \
         `host:port` and a socket's path"
    )]
    Scheme(String),
    /// Not an address at all.
    #[error(
        "not an address of Redis: expected `host:port`, \
         `redis://[user[:password]@]host:port[/db]` or a socket's path \
         (special characters in user and password percent-encoded)"
    )]
    Address,
    /// Not a name and at least one address.
    #[error(
        "not where sentinels are: expected the name of the primary and at least one sentinel, \
         `name,host:port[,host:port...]`"
    )]
    Sentinels,
    /// A database beside 0 where there is only that one.
    #[error("database 0 alone: addresses of sentinels and clusters name no other")]
    Database,
    /// Logins, of which one connection can use only one.
    #[error("addresses with one login for all")]
    Logins,
}

/// An address and what was said beside it.
pub(super) struct Place {
    pub(super) address: Address,
    pub(super) login: Login,
    pub(super) db: i64,
    /// The scheme asks for TLS.
    pub(super) is_encrypted: bool,
}

impl Place {
    /// Reads an address of either kind of socket.
    pub(super) fn parse(text: &str, socket_type: SocketType) -> Result<Self, RedisConfigError> {
        if socket_type == SocketType::Tcp && !text.starts_with('/') {
            return Self::url(text);
        }
        let url = text.strip_prefix("redis+").unwrap_or(text);
        if url.starts_with("unix://") {
            return Self::url(url);
        }
        if text.is_empty() || text.contains("://") {
            return Err(RedisConfigError::Address);
        }
        Ok(Self {
            address: Address::Unix(text.into()),
            login: Login::default(),
            db: 0,
            is_encrypted: false,
        })
    }

    /// Reads a list of addresses with at most one login and no database, as sentinels and
    /// clusters have them.
    pub(super) fn parse_all<'a>(
        texts: impl Iterator<Item = &'a str>,
    ) -> Result<(Vec<Address>, Self), RedisConfigError> {
        let mut addresses = Vec::new();
        let mut all: Option<Self> = None;
        for text in texts {
            let place = Self::url(text.trim())?;
            if !matches!(place.address, Address::Tcp(..)) {
                return Err(RedisConfigError::Address);
            }
            if place.db != 0 {
                return Err(RedisConfigError::Database);
            }
            addresses.push(place.address.clone());
            let Some(all) = &mut all else {
                all = Some(place);
                continue;
            };
            all.is_encrypted |= place.is_encrypted;
            if all.login == Login::default() {
                all.login = place.login;
            } else if place.login != Login::default() && place.login != all.login {
                return Err(RedisConfigError::Logins);
            }
        }
        Ok((addresses, all.ok_or(RedisConfigError::Address)?))
    }

    fn url(text: &str) -> Result<Self, RedisConfigError> {
        let (url, is_encrypted) = match text.split_once("://") {
            Some(("redis" | "unix" | "redis+unix", _)) => (text.to_owned(), false),
            // The client library would want TLS of its own for it.
            Some(("rediss", rest)) => (format!("redis://{rest}"), true),
            // Only what can be a scheme is quoted: a password may contain `://` as well.
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                return Err(RedisConfigError::Scheme(scheme.to_owned()));
            }
            Some(_) => return Err(RedisConfigError::Address),
            None => (format!("redis://{text}"), false),
        };
        let info = url.into_connection_info().map_err(|_| RedisConfigError::Address)?;
        let address = match info.addr() {
            // Hosts in a list, as clusters and sentinels have them, come out as one name.
            ConnectionAddr::Tcp(host, port) if !host.is_empty() && !host.contains(',') => {
                Address::Tcp(host.clone(), *port)
            }
            ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
            _ => return Err(RedisConfigError::Address),
        };
        let settings = info.redis_settings();
        let login = Login {
            user: settings.username().map(str::to_owned),
            password: settings.password().map(Secret::new),
        };
        Ok(Self { address, login, db: settings.db(), is_encrypted })
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

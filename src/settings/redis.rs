//! Where Redis is, from the forms that `REDIS_URL`, `REDIS_AUTH` and
//! `REDIS_SOCKET_TYPE` take: a path, `host:port`, or `redis://user:password@host:port/db`.
//!
//! Nothing here is shown to anyone: errors say what is allowed, never what was found.

use super::value::Value;
use super::{Address, Endpoint, Secret};

/// The port of an address that names none.
const PORT: u16 = 6379;

/// What to connect to, and as whom.
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    pub(super) login: Login,
    pub(super) database: u32,
}

/// Credentials; both parts may be missing.
#[derive(Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
}

/// The kind of socket to Redis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Socket {
    Tcp,
    Unix,
}

impl Value for Socket {
    const ALLOWED: &'static str = "tcp or unix";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "tcp" => Some(Self::Tcp),
            "unix" => Some(Self::Unix),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Tcp => "tcp".to_owned(),
            Self::Unix => "unix".to_owned(),
        }
    }
}

impl Target {
    fn plain(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            login: Login::default(),
            database: 0,
        }
    }
}

impl Login {
    /// Reads `password` or `user:password`; the first colon separates them.
    pub(super) fn parse(text: &str) -> Self {
        let (user, password) = text.split_once(':').unwrap_or(("", text));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            user: some(user),
            password: some(password).map(Secret::new),
        }
    }
}

/// Reads `REDIS_URL`; without `socket`, a path means a unix socket and all else TCP.
///
/// # Errors
///
/// What is allowed instead.
pub(super) fn target(url: &str, socket: Option<Socket>) -> Result<Target, &'static str> {
    if url.starts_with("rediss://") {
        return Err("redis://, as TLS to Redis is not supported yet");
    }
    let guessed = if url.starts_with('/') {
        Socket::Unix
    } else {
        Socket::Tcp
    };
    match (socket.unwrap_or(guessed), url.contains("://")) {
        (Socket::Unix, true) => Err("a path, as REDIS_SOCKET_TYPE is unix"),
        (Socket::Unix, false) => Ok(Target::plain(Endpoint::Unix(url.into()))),
        (Socket::Tcp, _) if url.starts_with('/') => {
            Err("host:port or redis://..., as REDIS_SOCKET_TYPE is tcp")
        }
        (Socket::Tcp, false) => Ok(Target::plain(tcp(url)?)),
        (Socket::Tcp, true) => from_url(url),
    }
}

fn from_url(url: &str) -> Result<Target, &'static str> {
    let Some(rest) = url.strip_prefix("redis://") else {
        return Err("a path, host:port or redis://user:password@host:port/database");
    };
    if rest.contains(['?', '#']) {
        return Err("a URL without ? and # (written %3F and %23 in a password)");
    }
    // The last @ separates: a password may hold an unescaped one.
    let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (address, database) = place.split_once('/').unwrap_or((place, ""));
    let database = match database {
        "" => 0,
        number => number
            .parse()
            .map_err(|_| "a database number after the last /")?,
    };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let decode = |text: &str| decoded(text).ok_or("credentials with valid %-escapes");
    let (user, password) = (decode(user)?, decode(password)?);
    // A user without a password cannot log in; the reference does not try either.
    let login = match password.as_str() {
        "" => Login::default(),
        _ => Login {
            user: Some(user).filter(|user| !user.is_empty()),
            password: Some(Secret::new(password)),
        },
    };
    Ok(Target {
        endpoint: tcp(address)?,
        login,
        database,
    })
}

fn tcp(text: &str) -> Result<Endpoint, &'static str> {
    if text.contains(',') {
        return Err("one address, as Redis Cluster and Sentinel are not supported yet");
    }
    let has_port = text
        .rsplit_once(':')
        .is_some_and(|(_, after)| !after.ends_with(']'));
    let address = if has_port {
        Address::parse(text)
    } else {
        Address::parse(&format!("{text}:{PORT}"))
    };
    address
        .filter(|address| !address.host.is_empty() && address.port != 0)
        .map(Endpoint::Tcp)
        .ok_or("a path, host:port or redis://user:password@host:port/database")
}

/// Undoes %-escapes.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after
            .get(..2)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

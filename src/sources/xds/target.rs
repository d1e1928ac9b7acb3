//! Where a management server is, as gRPC writes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host and its port.
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// What is spoken there, if the address says so.
        scheme: Option<Scheme>,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// What an address says about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// There is none.
    Http,
    /// There is.
    Https,
}

/// A text that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ALLOWED} is allowed")]
pub struct WrongTarget;

/// What an address looks like.
pub const ALLOWED: &str =
    "host:port, dns:///host:port, http://host:port, https://host:port or unix:path";

impl Target {
    /// The name that the server is asked for, and that its certificate must bear.
    pub fn host(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => "localhost",
        }
    }

    /// Host and port, as they stand in an address.
    pub fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl FromStr for Target {
    type Err = WrongTarget;

    fn from_str(text: &str) -> Result<Self, WrongTarget> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" | "/" => Err(WrongTarget),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let schemes = [
            ("http://", Some(Scheme::Http)),
            ("https://", Some(Scheme::Https)),
            ("dns:///", None),
            ("dns:", None),
            ("passthrough:///", None),
            ("", None),
        ];
        let found =
            schemes.into_iter().find_map(|(prefix, s)| Some((text.strip_prefix(prefix)?, s)));
        let (rest, scheme) = found.ok_or(WrongTarget)?;
        let rest = if scheme.is_some() { rest.strip_suffix('/').unwrap_or(rest) } else { rest };
        let (host, port) = rest.rsplit_once(':').ok_or(WrongTarget)?;
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_port && *port != 0).ok_or(WrongTarget)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(is_of_name),
        };
        let host = bare.unwrap_or(host).to_owned();
        is_host.then_some(Self::Tcp { host, port, scheme }).ok_or(WrongTarget)
    }
}

/// Whether a byte may stand in the name of a host.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { scheme: Some(Scheme::Http), .. } => f.write_str("http://")?,
            Self::Tcp { scheme: Some(Scheme::Https), .. } => f.write_str("https://")?,
            Self::Tcp { scheme: None, .. } => {}
            Self::Unix(path) => return write!(f, "unix:{}", path.display()),
        }
        f.write_str(&self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let found = text.parse::<Target>().ok().map(|target| target.to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn addresses_are_those_of_grpc() {
        check("localhost:18000", Some("localhost:18000"));
        check("envoy-gateway:18001", Some("envoy-gateway:18001"));
        check("dns:///xds.prod.svc.cluster.local:18001", Some("xds.prod.svc.cluster.local:18001"));
        check("dns:xds:1", Some("xds:1"));
        check("passthrough:///xds:1", Some("xds:1"));
        check("http://10.0.0.1:80/", Some("http://10.0.0.1:80"));
        check("https://xds:443", Some("https://xds:443"));
        check("[::1]:18000", Some("[::1]:18000"));
        check("dns:///[fd00::1]:1", Some("[fd00::1]:1"));
        check("unix:/run/xds.sock", Some("unix:/run/xds.sock"));
        check("unix:///run/xds.sock", Some("unix:/run/xds.sock"));
        check("unix:xds.sock", Some("unix:xds.sock"));
        for wrong in [
            "",
            "xds",
            ":18000",
            "xds:",
            "xds:0",
            "xds:65536",
            "xds:+1",
            "xds:http",
            "::1:18000",
            "[::1]",
            "[xds]:1",
            "dns://8.8.8.8/xds:1",
            "ftp://xds:1",
            "http://xds:1/path",
            "user@xds:1",
            "a b:1",
            "unix:",
            "unix://",
            "xds:1/",
        ] {
            check(wrong, None);
        }
    }
}

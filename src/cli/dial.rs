//! Reaching a server: by TCP or a unix socket, plain or by TLS.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use http::Uri;
use hyper_util::rt::TokioIo;
use tidegate::tls::{ClientTls, Connector, Identity, NameCheck};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint};

/// Where a server is and how to speak to it.
#[derive(Args, Debug)]
pub(crate) struct Dial {
    /// The server's gRPC address: HOST:PORT, https://HOST:PORT or unix:PATH.
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// How to speak to a server.
#[derive(Args, Debug, Default)]
pub(crate) struct Manner {
    /// Speaks TLS; https:// and the options below do so, too.
    #[arg(long)]
    pub(crate) tls: bool,
    /// PEM file of authorities to trust beside those of the system.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// PEM file of a certificate to show.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// The name that the server's certificate must be for, if not that of the host.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    #[arg(skip)]
    pub(crate) name_check: NameCheck,
    /// How many seconds to wait for the answer.
    #[arg(long, default_value_t = 5)]
    pub(crate) timeout: u64,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Dial {
    /// Connects.
    pub(crate) async fn connect(&self) -> anyhow::Result<Channel> {
        let timeout = Duration::from_secs(self.manner.timeout);
        let place = self.place().with_context(|| format!("{:?} is not an address", self.server))?;
        let tls = match self.client_tls() {
            Some(tls) => Some(Arc::new(tls.connector(&[b"h2"]).await?)),
            None => None,
        };
        // What is asked for in the headers; where it goes to is the connector's choice.
        let endpoint = match &place {
            Place::Tcp { host, port } => Endpoint::from_shared(format!("http://{host}:{port}"))?,
            Place::Unix(_) => Endpoint::from_static("http://localhost"),
        }
        .timeout(timeout);
        let connector = tower::service_fn(move |_: Uri| {
            let (place, tls) = (place.clone(), tls.clone());
            async move { open(&place, tls.as_deref()).await.map(TokioIo::new) }
        });
        let connected = endpoint.connect_with_connector(connector);
        tokio::time::timeout(timeout, connected)
            .await
            .map_err(anyhow::Error::new)
            .and_then(|connected| connected.map_err(anyhow::Error::new))
            .with_context(|| format!("cannot reach a server at {}", self.server))
    }

    fn place(&self) -> Option<Place> {
        if let Some(path) = self.server.strip_prefix("unix:") {
            // `unix:///run/rls.sock` names the same file as `unix:/run/rls.sock`.
            let path = path.strip_prefix("//").unwrap_or(path);
            return (!path.is_empty()).then(|| Place::Unix(path.into()));
        }
        let address = self.server.rsplit_once("://").map_or(&*self.server, |(_, rest)| rest);
        let uri: Uri = address.parse().ok()?;
        Some(Place::Tcp { host: uri.host()?.to_owned(), port: uri.port_u16()? })
    }

    fn client_tls(&self) -> Option<ClientTls> {
        let Manner { tls, ca, cert, key, server_name, name_check, .. } = &self.manner;
        let identity = cert.clone().zip(key.clone());
        let is_meant = *tls
            || self.server.starts_with("https://")
            || ca.is_some()
            || identity.is_some()
            || server_name.is_some();
        is_meant.then(|| ClientTls {
            ca: ca.clone(),
            identity: identity.map(|(certificate, key)| Identity { certificate, key }),
            server_name: server_name.clone(),
            name_check: *name_check,
        })
    }
}

async fn open(place: &Place, tls: Option<&Connector>) -> io::Result<Box<dyn Stream>> {
    let (name, stream): (&str, Box<dyn Stream>) = match place {
        Place::Tcp { host, port } => {
            let name = host.trim_matches(['[', ']']);
            let stream = TcpStream::connect((name, *port)).await?;
            stream.set_nodelay(true)?;
            (name, Box::new(stream))
        }
        Place::Unix(path) => ("localhost", Box::new(UnixStream::connect(path).await?)),
    };
    Ok(match tls {
        None => stream,
        Some(tls) => Box::new(tls.connect(name, stream).await?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_written() {
        let check = |server: &str, expected: Option<Place>| {
            let dial = Dial { server: server.to_owned(), manner: Manner::default() };
            assert_eq!(dial.place(), expected, "{server}");
            assert_eq!(dial.client_tls().is_some(), server.starts_with("https"), "{server}");
        };
        let tcp = |host: &str| Some(Place::Tcp { host: host.to_owned(), port: 81 });
        check("a.test:81", tcp("a.test"));
        check("http://a.test:81", tcp("a.test"));
        check("https://a.test:81", tcp("a.test"));
        check("[::1]:81", tcp("[::1]"));
        check("unix:/run/rls.sock", Some(Place::Unix("/run/rls.sock".into())));
        check("unix:///run/rls.sock", Some(Place::Unix("/run/rls.sock".into())));
        check("unix:rls.sock", Some(Place::Unix("rls.sock".into())));
        for none in ["a.test", "", "unix:", "a b:81", "a:999999", "::1:81"] {
            check(none, None);
        }
    }
}

//! Reaches a management server: a socket, TLS over it, HTTP/2 over that.

use std::future::ready;
use std::io;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::target::Target;
use super::{Fault, Options};
use crate::telemetry::explain;

/// How long reaching the server may take, all in all.
const DIAL: Duration = Duration::from_secs(10);

/// A silent server's host is asked for a sign of life after this long, then this often.
/// The kernels do it, so it bothers no one.
const TCP_KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// How long a server may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes in both directions.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// One connection. It ends with the channel or by itself, and is never dialled again.
pub(super) async fn channel(options: &Options) -> Result<Channel, Fault> {
    match timeout(DIAL, dial(options)).await {
        Ok(channel) => channel,
        Err(_) => Err(Fault::Unreached(format!("no connection within {DIAL:?}"))),
    }
}

async fn dial(options: &Options) -> Result<Channel, Fault> {
    let io = open(options).await.map_err(|error| Fault::Unreached(explain(&error)))?;
    let mut io = Some(TokioIo::new(io));
    let connector = service_fn(move |_: Uri| {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the connection has ended");
        ready(io.take().ok_or_else(gone))
    });
    let unusable = |error: tonic::transport::Error| Fault::Unreached(explain(&error));
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let authority = options.target.authority();
    let origin = format!("{scheme}://{authority}")
        .parse()
        .map_err(|error: http::uri::InvalidUri| Fault::Unreached(explain(&error)))?;
    // The connector has spoken TLS already: an address with https would ask tonic to.
    Endpoint::from_shared(format!("http://{authority}"))
        .map_err(unusable)?
        .origin(origin)
        .http2_keep_alive_interval(options.keepalive)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .map_err(unusable)?
        .connect_with_connector(connector)
        .await
        .map_err(unusable)
}

async fn open(options: &Options) -> io::Result<Box<dyn Io>> {
    let socket: Box<dyn Io> = match &options.target {
        Target::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Target::Tcp { host, port, .. } => {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            socket.set_nodelay(true)?;
            let (time, interval) = TCP_KEEPALIVE;
            let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval);
            SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
            Box::new(socket)
        }
    };
    let Some(tls) = &options.tls else { return Ok(socket) };
    // The files are read for each connection, so a rotated certificate is used.
    let connector = tls.connector(&[b"h2"]).await.map_err(io::Error::other)?;
    Ok(Box::new(connector.connect(options.target.host(), socket).await?))
}

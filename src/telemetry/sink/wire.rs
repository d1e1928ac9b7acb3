//! The ways to a statsd server: a stream, or datagrams. How long to wait is not known here.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::path::PathBuf;

use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, lookup_host};

/// Where a statsd server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Host and port.
    Tcp(String, u16),
    /// Host and port.
    Udp(String, u16),
    /// A datagram socket.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "tcp://{host}:{port}"),
            Self::Udp(host, port) => write!(f, "udp://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// An open way to a server.
#[derive(Debug)]
pub(super) enum Wire {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Wire {
    /// Finds the server; datagrams need none that listens, but for a unix socket.
    pub(super) async fn open(target: &Target) -> io::Result<Self> {
        match target {
            Target::Tcp(host, port) => {
                Ok(Self::Tcp(TcpStream::connect((host.as_str(), *port)).await?))
            }
            Target::Udp(host, port) => {
                let mut addresses = lookup_host((host.as_str(), *port)).await?;
                let none = || io::Error::from(io::ErrorKind::NotFound);
                let address = addresses.next().ok_or_else(none)?;
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(address).await?;
                Ok(Self::Udp(socket))
            }
            Target::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Self::Unix(socket))
            }
        }
    }

    /// Sends one piece, which is one datagram where there are datagrams.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                // The first write to a stream that the other side closed would succeed.
                match SockRef::from(&*stream).peek(&mut [MaybeUninit::uninit()]) {
                    Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
                stream.write_all(bytes).await
            }
            Self::Udp(socket) => match socket.send(bytes).await {
                // This tells of the datagram before; nobody knows where this one ends.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    socket.send(bytes).await.map(drop).or(Ok(()))
                }
                sent => sent.map(drop),
            },
            Self::Unix(socket) => socket.send(bytes).await.map(drop),
        }
    }
}

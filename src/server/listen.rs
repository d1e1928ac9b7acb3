//! Opening sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener, UnixStream, lookup_host};

/// A TCP address, not yet resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address without brackets; empty means every address of the machine,
    /// of both families.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP address.
    Tcp(Address),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An open socket.
#[derive(Debug)]
pub enum Listener {
    /// On TCP.
    Tcp(TcpListener),
    /// On a unix socket, whose file is removed when the listener is dropped: first, so that
    /// whoever finds it gone can put a file of its own there.
    Unix(SocketFile, UnixListener),
}

/// The file of a unix socket.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// How many connections wait for `accept`.
pub(super) const BACKLOG: i32 = 4096;

impl Listener {
    /// Opens `endpoint`. A TCP port may be shared with another process that also opened
    /// it so (SO_REUSEPORT), as two versions do during a restart. A socket file that
    /// nobody listens on is replaced; its mode follows the umask.
    ///
    /// # Errors
    ///
    /// What the system said; the host cannot be resolved or the endpoint is taken.
    pub async fn open(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp(address) => Self::open_tcp(address).await,
            Endpoint::Unix(path) => Self::open_unix(path).await,
        }
    }

    async fn open_tcp(address: &Address) -> io::Result<Self> {
        let everywhere = ["::", "0.0.0.0"];
        let named = [address.host.as_str()];
        let hosts = if address.host.is_empty() { &everywhere[..] } else { &named[..] };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for host in hosts {
            for address in lookup_host((*host, address.port)).await? {
                match tcp(address) {
                    Ok(listener) => return Ok(Self::Tcp(listener)),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    async fn open_unix(path: &Path) -> io::Result<Self> {
        // Connecting to a plain file is refused, too, and nobody's file is ours to remove.
        let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
        if is_socket && UnixStream::connect(path).await.is_err_and(is_refused) {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        Ok(Self::Unix(SocketFile(path.to_owned()), listener))
    }

    /// The address in words, such as `127.0.0.1:8081`.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.to_string(),
                Err(error) => format!("an unknown address ({error})"),
            },
            Self::Unix(file, _) => file.0.display().to_string(),
        }
    }
}

fn is_refused(error: io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `::` also serves IPv4, as Istio's sample expects.
        socket.set_only_v6(false)?;
    }
    // A fixed port can be shared; a free one must be free.
    if address.port() != 0 {
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

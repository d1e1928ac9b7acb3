//! Connections as the system hands them out, before any runtime has them.

use std::io;

use tokio::net::{TcpStream, UnixStream};

use super::Listener;
use super::connection::Stream;

/// A connection that is not bound to a runtime yet.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    /// Binds it to the runtime that runs here.
    pub(super) fn stream(self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(socket) => Box::new(TcpStream::from_std(socket)?),
            Self::Unix(socket) => Box::new(UnixStream::from_std(socket)?),
        })
    }
}

/// A listener that is about to close, and never blocks.
pub(super) enum Waiting {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Waiting {
    /// What still waits at `listener`, which takes nobody new where that can be had.
    pub(super) fn at(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp(listener.into_std()?),
            Listener::Unix(file, listener) => {
                // Without its file nobody comes any more.
                drop(file);
                Self::Unix(listener.into_std()?)
            }
        })
    }

    /// One that waits; an error if none does.
    pub(super) fn next(&mut self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                let _ = stream.set_nodelay(true);
                stream.set_nonblocking(true)?;
                Ok(Socket::Tcp(stream))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Socket::Unix(stream))
            }
        }
    }
}

//! Accepting connections, no more than a maximum at a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::Listener;

/// A connection that says nothing for this long after it was opened is closed, so that it
/// does not take the place of one that would.
const SILENCE: Duration = Duration::from_secs(10);

/// How long accepting rests after the system refused it a connection.
const REST: Duration = Duration::from_millis(50);

/// One connection; its place is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// Runs until the first byte has come.
    silence: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Accepts from `listener` until `stop`, then closes it. Beyond `max` open connections a
/// new one is closed at once.
pub(super) fn connections(
    listener: Listener,
    max: usize,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(max));
        let accept_all = async {
            loop {
                let Some(connection) = accept(&listener, &places).await else { continue };
                if sender.send(Ok(connection)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = accept_all => {}
            () = stop.cancelled() => {}
        }
    });
    ReceiverStream::new(receiver)
}

async fn accept(listener: &Listener, places: &Arc<Semaphore>) -> Option<Connection> {
    let stream = match listener {
        Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
            let _ = stream.set_nodelay(true);
            Stream::Tcp(stream)
        }),
        Listener::Unix(listener, _) => {
            listener.accept().await.map(|(stream, _)| Stream::Unix(stream))
        }
    };
    let stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, address = listener.address(), "cannot accept a connection");
            tokio::time::sleep(REST).await;
            return None;
        }
    };
    match Arc::clone(places).try_acquire_owned() {
        Ok(place) => {
            let silence = Some(Box::pin(tokio::time::sleep(SILENCE)));
            Some(Connection { stream, silence, _place: place })
        }
        Err(_) => {
            tracing::debug!(address = listener.address(), "too many connections: one was closed");
            None
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        match &mut this.silence {
            None => read,
            Some(silence) if read.is_pending() => {
                silence.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
            Some(_) => {
                this.silence = None;
                read
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio_stream::StreamExt as _;

    use super::*;
    use crate::server::{Address, Endpoint};

    async fn accepting(max: usize) -> (String, ReceiverStream<io::Result<Connection>>) {
        let anywhere = Endpoint::Tcp(Address { host: "127.0.0.1".to_owned(), port: 0 });
        let listener = Listener::open(&anywhere).await.unwrap();
        (listener.address(), super::connections(listener, max, CancellationToken::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_given_up() {
        let (address, mut connections) = accepting(1).await;
        let _silent = TcpStream::connect(address).await.unwrap();
        let mut connection = connections.next().await.unwrap().unwrap();
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn beyond_the_maximum_a_connection_is_closed_and_a_place_becomes_free_again() {
        let (address, mut connections) = accepting(1).await;
        let _first = TcpStream::connect(&address).await.unwrap();
        let held = connections.next().await.unwrap().unwrap();
        let mut second = TcpStream::connect(&address).await.unwrap();
        assert_eq!(second.read(&mut [0]).await.unwrap_or(0), 0);
        drop(held);
        let _third = TcpStream::connect(&address).await.unwrap();
        assert!(connections.next().await.unwrap().is_ok());
    }
}

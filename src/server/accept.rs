//! Accepting connections, no more than a maximum at a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::Listener;

/// How long accepting rests after the system refused it a connection.
const REST: Duration = Duration::from_millis(50);

/// Accepted connections.
#[derive(Debug)]
pub struct Connections;

/// One connection; its place is free again when it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connections {
    /// Accepts from `listener` until `stop`, then closes it. Beyond `max` open
    /// connections a new one is closed at once.
    pub fn from(
        listener: Listener,
        max: usize,
        stop: CancellationToken,
    ) -> ReceiverStream<io::Result<Connection>> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(max));
            let accept_all = async {
                loop {
                    let Some(connection) = accept(&listener, &places).await else {
                        continue;
                    };
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
        Ok(place) => Some(Connection { stream, _place: place }),
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
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
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

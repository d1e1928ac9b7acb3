//! One connection of a listener, with its place, given up when it is silent or stalls.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::accept::Place;
use super::doors::{Doors, Turned};

/// One connection; its place is free again when it is dropped.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    /// Runs until the first words have come.
    silence: Option<Pin<Box<Sleep>>>,
    /// How many bytes they still lack.
    lacking: usize,
    /// Runs while the peer takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    pub(super) doors: Arc<Doors>,
    _place: Place,
}

/// Bytes in and out.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connection {
    /// A connection that has just been opened over `stream`. Its peer has the time of a
    /// handshake for its first `words` bytes.
    pub(super) fn new(
        stream: Box<dyn Stream>,
        place: Place,
        (doors, words): (Arc<Doors>, usize),
    ) -> Self {
        let silence = Some(Box::pin(sleep(doors.transport.handshake_timeout)));
        Self { stream, silence, lacking: words, stall: None, doors, _place: place }
    }

    /// What became of a write. One that does not end in time is broken off.
    fn written<T>(
        &mut self,
        write: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stall = None;
            return write;
        }
        let limit = self.doors.transport.write_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stall.as_mut().poll(cx));
        self.doors.turn(Turned::Stalled);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let Some(silence) = &mut this.silence else { return read };
        if read.is_ready() {
            this.lacking = this.lacking.saturating_sub(buf.filled().len() - before);
            if this.lacking == 0 {
                this.silence = None;
            }
            return read;
        }
        ready!(silence.as_mut().poll(cx));
        this.doors.turn(Turned::Silent);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.written(write, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.written(write, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flush = Pin::new(&mut this.stream).poll_flush(cx);
        this.written(flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shutdown = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.written(shutdown, cx)
    }
}

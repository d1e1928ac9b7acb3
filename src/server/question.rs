//! The body of a request, heard to its end before anybody looks at it.
//!
//! A request that came in one piece, as nearly all do, passes through untouched. Of any
//! other the pieces are kept here as they came on the wire: they count against a bound of
//! the whole process, and have a deadline. So nothing is decoded or unpacked, and no place
//! among the decisions is taken, for somebody who is not done asking.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Request;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::doors::{Doors, Turned};

/// What a call under way costs beside its bytes: its task and its stream, about.
const STREAM_BYTES: usize = 4096;
/// What a header field costs beside its text.
const FIELD_BYTES: usize = 32;
/// What gRPC puts before a message.
const PREFIX_BYTES: usize = 5;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request.
pub(super) struct Question<B> {
    body: B,
    doors: Arc<Doors>,
    /// What is there so far of a body in several pieces.
    heard: BytesMut,
    /// Bytes of the head.
    head: usize,
    /// Bytes that the doors hold for this.
    held: usize,
    deadline: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl<B> Question<B> {
    /// `request` with its body watched over.
    pub(super) fn ask(request: Request<B>, doors: &Arc<Doors>) -> Request<Self> {
        let fields = request.headers().iter();
        let head = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
        let head = head.sum();
        request.map(|body| Self {
            body,
            doors: Arc::clone(doors),
            heard: BytesMut::new(),
            head,
            held: 0,
            deadline: None,
            is_over: false,
        })
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Status> {
        if self.doors.hold(bytes) {
            self.held += bytes;
            return Ok(());
        }
        self.doors.turn(Turned::Crowded);
        let max = self.doors.transport.max_unfinished_bytes;
        Err(Status::resource_exhausted(format!(
            "unfinished requests hold more than {max} bytes (TIDEGATE_MAX_UNFINISHED_BYTES)"
        )))
    }

    /// Time passes before there is more.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let limit = self.doors.transport.request_timeout;
        if self.deadline.is_none()
            && let Err(status) = self.hold(self.head + STREAM_BYTES)
        {
            return Poll::Ready(status);
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        deadline.as_mut().poll(cx).map(|()| {
            self.doors.turn(Turned::Slow);
            Status::deadline_exceeded(format!(
                "the request did not come to its end within {limit:?} (TIDEGATE_REQUEST_TIMEOUT)"
            ))
        })
    }

    /// Nothing more comes that matters: what there is.
    fn end(&mut self) -> Option<Frame<Bytes>> {
        self.is_over = true;
        self.deadline = None;
        self.let_go();
        let heard = std::mem::take(&mut self.heard).freeze();
        (!heard.is_empty()).then(|| Frame::data(heard))
    }

    fn let_go(&mut self) {
        if self.held > 0 {
            self.doors.give_back(std::mem::take(&mut self.held));
        }
    }
}

impl<B> Body for Question<B>
where
    B: Body<Data = Bytes, Error: Into<Error>> + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        while !this.is_over {
            let frame = match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => frame.map_err(Into::into)?,
                Poll::Ready(None) => return Poll::Ready(this.end().map(Ok)),
                Poll::Pending => return this.wait(cx).map(|status| Some(Err(status.into()))),
            };
            // Trailers of requests say nothing to us.
            let Ok(data) = frame.into_data() else { continue };
            if this.heard.is_empty() && this.body.is_end_stream() {
                this.end();
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            this.hold(data.len())?;
            this.heard.extend_from_slice(&data);
            // Larger than any message may be: whoever reads it says so.
            if this.heard.len() > this.doors.max_message_bytes + PREFIX_BYTES {
                return Poll::Ready(this.end().map(Ok));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || (self.heard.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_over {
            true => SizeHint::with_exact(0),
            false => self.body.size_hint(),
        }
    }
}

impl<B> Drop for Question<B> {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl<B> fmt::Debug for Question<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}

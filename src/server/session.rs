//! One gRPC connection, from its first words to its end.
//!
//! It ends when the peer ends it, breaks it or falls silent. It is told to go (GOAWAY) at
//! its age, when it had no calls for long, and when the process stops; what is under way
//! then is finished. One that does not go is cut after a grace.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service as _;

use super::connection::Connection;
use super::direct::Direct;
use super::doors::{Doors, Turned};
use super::grpc::Unreadable;
use super::question::Question;
use crate::store::Store;

/// What connections of the listener are served with.
#[derive(Debug)]
pub(super) struct Session<S> {
    /// Who answers.
    pub(super) services: Direct<S>,
    /// How what cannot be read is answered.
    pub(super) unreadable: Unreadable,
    /// What peers may hold and how long they may take.
    pub(super) doors: Arc<Doors>,
    /// A connection is told to go at this age; none: never.
    pub(super) max_age: Option<Duration>,
    /// And cut this long after; none: never.
    pub(super) grace: Option<Duration>,
}

/// What is described while it is used: it may be asked in turns, and is off by default.
const REFLECTION: &str = "/grpc.reflection.";

/// Why a connection is told to go.
enum Farewell {
    Stop,
    Age,
    Idle,
}

impl<S: Store> Session<S> {
    /// Serves `connection` until it ends. At `leave` it is told to go.
    pub(super) async fn host(self: Arc<Self>, connection: Connection, leave: CancellationToken) {
        let calls = Arc::new(Calls::default());
        let doors = Arc::clone(&self.doors);
        let idle_timeout = doors.transport.idle_timeout;
        let (max_age, grace) = (self.max_age, self.grace);
        let answer = {
            let calls = Arc::clone(&calls);
            service_fn(move |request| self.answer(request, calls.begin()))
        };
        let session = protocol(&doors).serve_connection(TokioIo::new(connection), answer);
        let mut session = pin!(session);
        let farewell = tokio::select! {
            biased;
            ended = session.as_mut() => return judge(ended, &doors),
            () = leave.cancelled() => Farewell::Stop,
            () = after(max_age) => Farewell::Age,
            () = calls.cease(idle_timeout) => Farewell::Idle,
        };
        session.as_mut().graceful_shutdown();
        let grace = match farewell {
            // The end of the process is the end of its connections.
            Farewell::Stop => None,
            Farewell::Age => grace,
            Farewell::Idle => {
                doors.turn(Turned::Idle);
                Some(doors.transport.keepalive_timeout)
            }
        };
        tokio::select! {
            ended = session => judge(ended, &doors),
            () = after(grace) => doors.turn(Turned::Lingering),
        }
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        call: Call,
    ) -> impl Future<Output = Result<Response<Answer>, Infallible>> + use<S> {
        let answer = match request.uri().path().starts_with(REFLECTION) {
            true => Either::Right(self.services.others.clone().call(request)),
            false => Either::Left(self.services.ask(Question::ask(request, &self.doors))),
        };
        let unreadable = self.unreadable.clone();
        async move {
            let response = unreadable.say(answer.await?);
            Ok(response.map(|body| Answer { body, _call: call }))
        }
    }
}

fn protocol(doors: &Doors) -> http2::Builder<TokioExecutor> {
    let bounds = &doors.transport;
    let mut protocol = http2::Builder::new(TokioExecutor::new());
    protocol
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.max_streams)
        .max_header_list_size(bounds.max_header_bytes)
        .max_pending_accept_reset_streams(bounds.max_pending_resets)
        .keep_alive_interval(bounds.keepalive_interval)
        .keep_alive_timeout(bounds.keepalive_timeout);
    protocol
}

fn judge(ended: hyper::Result<()>, doors: &Doors) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a gRPC connection broke");
        // What the connection itself gave up, it has counted.
        if error.is_timeout() {
            doors.turn(Turned::Silent);
        } else if is_unruly(&error) {
            doors.turn(Turned::Unruly);
        }
    }
}

/// Whether the protocol was broken, or a bound of it; not just the connection.
fn is_unruly(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<h2::Error>() {
            return cause.is_library();
        }
        source = cause.source();
    }
    false
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The calls of a connection.
#[derive(Debug, Default)]
struct Calls {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A call under way, its answer included.
#[derive(Debug)]
struct Call(Arc<Calls>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Calls {
    fn begin(self: &Arc<Self>) -> Call {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Call(Arc::clone(self))
    }

    /// Resolves when there was no call for that long, and at most twice that.
    async fn cease(&self, time: Option<Duration>) {
        let Some(time) = time else { return std::future::pending().await };
        loop {
            let before = self.begun.load(Ordering::Relaxed);
            let is_quiet = self.ended.load(Ordering::Relaxed) == before;
            sleep(time).await;
            if is_quiet && self.begun.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

/// The body of an answer, which holds its call.
struct Answer {
    body: Body,
    _call: Call,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! One HTTP/2 connection to the server, opened again when it breaks.
//!
//! Plain HTTP/2 frames without a gRPC client around them: messages are ready-made bytes,
//! and of an answer only the overall code is read. Against the same server a call costs 8 us
//! of CPU so, and 12 us with tonic's client.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, header};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tonic::Code;

use super::tally::Outcome;

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `host:port`.
    Tcp(String),
    /// The path of a socket.
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return Err("plain HTTP/2 to host:port or the path of a unix socket, no URL".into());
        }
        if text.starts_with(['/', '.']) {
            return Ok(Self::Unix(text.into()));
        }
        match text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
            Some((host, Ok(_))) if !host.is_empty() => Ok(Self::Tcp(text.to_owned())),
            _ => Err("is neither host:port nor the path of a unix socket".to_owned()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A connection, shared by the calls in flight on it.
#[derive(Debug)]
pub(super) struct Connection {
    head: Request<()>,
    sender: RefCell<Option<SendRequest<Bytes>>>,
    openings: Cell<u64>,
    opened: Notify,
}

/// What the peer may send before it is told to go on: for all answers on a connection.
const WINDOW: u32 = 16 * 1024 * 1024;
/// Between attempts to open a connection again.
const PAUSE: Duration = Duration::from_millis(100);
/// No decision is this large.
const MAX_ANSWER: usize = 1024 * 1024;

impl Connection {
    /// Connects within `timeout`. Then and for ever after the connection is looked after
    /// by a local task.
    pub(super) async fn open(target: Target, timeout: Duration) -> anyhow::Result<Rc<Self>> {
        let connection = Rc::new(Self {
            head: head(&target, timeout)?,
            sender: RefCell::default(),
            openings: Cell::default(),
            opened: Notify::new(),
        });
        let driver = tokio::time::timeout(timeout, connection.dial(&target)).await;
        let mut driver = driver.map_err(|_| anyhow::anyhow!("no answer within {timeout:?}"))??;
        let kept = Rc::clone(&connection);
        tokio::task::spawn_local(async move {
            loop {
                let opened = Instant::now();
                driver.await;
                *kept.sender.borrow_mut() = None;
                if opened.elapsed() < PAUSE {
                    tokio::time::sleep(PAUSE).await;
                }
                driver = kept.dial_until_open(&target, timeout).await;
            }
        });
        Ok(connection)
    }

    /// Sends a message and waits for its decision, without end.
    pub(super) async fn ask(&self, message: Bytes) -> Outcome {
        match self.exchange(message).await {
            Ok(outcome) => outcome,
            Err(error) if error.reason() == Some(Reason::CANCEL) => {
                Outcome::Failed(Code::Cancelled)
            }
            Err(_) => Outcome::Failed(Code::Unavailable),
        }
    }

    async fn exchange(&self, message: Bytes) -> Result<Outcome, h2::Error> {
        let (answer, mut body) = self.begin().await;
        body.send_data(message, true)?;
        let (head, mut body) = answer.await?.into_parts();
        let message = read(&mut body).await?;
        let trailers = body.trailers().await?;
        let status = trailers.as_ref().and_then(status).or_else(|| status(&head.headers));
        Ok(match status {
            Some(Code::Ok) => verdict(&message),
            Some(code) => Outcome::Failed(code),
            None => Outcome::Failed(Code::Unknown),
        })
    }

    /// Begins a call, on the next connection if this one takes none any more: a server that
    /// ages its connections loses no call by it.
    async fn begin(&self) -> (ResponseFuture, SendStream<Bytes>) {
        loop {
            let (openings, sender) = (self.openings.get(), self.sender.borrow().clone());
            if let Some(mut sender) = sender
                && poll_fn(|context| sender.poll_ready(context)).await.is_ok()
                && let Ok(begun) = sender.send_request(self.head.clone(), false)
            {
                return begun;
            }
            // It may have been opened again by now.
            if self.openings.get() == openings {
                self.opened.notified().await;
            }
        }
    }

    async fn dial_until_open(&self, target: &Target, timeout: Duration) -> Driver {
        loop {
            if let Ok(Ok(driver)) = tokio::time::timeout(timeout, self.dial(target)).await {
                return driver;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Connects once, and gives what must be driven until the connection ends.
    async fn dial(&self, target: &Target) -> anyhow::Result<Driver> {
        Ok(match target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                self.greet(stream).await?
            }
            Target::Unix(path) => self.greet(UnixStream::connect(path).await?).await?,
        })
    }

    async fn greet(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    ) -> Result<Driver, h2::Error> {
        let (sender, connection) = h2::client::Builder::new()
            .initial_connection_window_size(WINDOW)
            .handshake(stream)
            .await?;
        *self.sender.borrow_mut() = Some(sender);
        self.openings.set(self.openings.get() + 1);
        self.opened.notify_waiters();
        Ok(Box::pin(async move {
            // Each call learns of the end by itself.
            let _ = connection.await;
        }))
    }
}

type Driver = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// The headers of every call, as Envoy sends them.
fn head(target: &Target, timeout: Duration) -> anyhow::Result<Request<()>> {
    let authority = match target {
        Target::Tcp(address) => address.as_str(),
        Target::Unix(_) => "localhost",
    };
    const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
    let timeout = HeaderValue::from_str(&format!("{}m", timeout.as_millis()))?;
    Ok(Request::post(format!("http://{authority}{PATH}"))
        .version(http::Version::HTTP_2)
        .header(header::TE, HeaderValue::from_static("trailers"))
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
        .header("grpc-timeout", timeout)
        .body(())?)
}

async fn read(body: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let mut message = Bytes::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        let _ = body.flow_control().release_capacity(chunk.len());
        if message.len() + chunk.len() > MAX_ANSWER {
            return Err(Reason::CANCEL.into());
        }
        // Nearly always there is one chunk.
        message = match message.is_empty() {
            true => chunk,
            false => [message, chunk].concat().into(),
        };
    }
    Ok(message)
}

fn status(headers: &HeaderMap) -> Option<Code> {
    Some(Code::from_bytes(headers.get("grpc-status")?.as_bytes()))
}

/// The first field of a RateLimitResponse; the others are skipped.
#[derive(Clone, PartialEq, prost::Message)]
struct OverallCode {
    #[prost(int32, tag = "1")]
    code: i32,
}

fn verdict(message: &[u8]) -> Outcome {
    let answer =
        message.strip_prefix(&[0]).and_then(|rest| OverallCode::decode(rest.get(4..)?).ok());
    match answer {
        Some(OverallCode { code: 1 }) => Outcome::Allowed,
        Some(OverallCode { code: 2 }) => Outcome::Refused,
        Some(_) => Outcome::Failed(Code::Unknown),
        None => Outcome::Failed(Code::Internal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_written() {
        let check = |text: &str, expected: Option<Target>| {
            assert_eq!(text.parse().ok(), expected, "{text}");
        };
        check("127.0.0.1:8081", Some(Target::Tcp("127.0.0.1:8081".into())));
        check("[::1]:8081", Some(Target::Tcp("[::1]:8081".into())));
        check("/run/t.sock", Some(Target::Unix("/run/t.sock".into())));
        for wrong in ["", "localhost", ":8081", "localhost:x", "http://localhost:8081"] {
            check(wrong, None);
        }
    }

    #[test]
    fn only_the_overall_code_is_read() {
        let check =
            |message: &[u8], expected| assert_eq!(verdict(message), expected, "{message:?}");
        check(&[0, 0, 0, 0, 2, 8, 1], Outcome::Allowed);
        // A status before the code.
        check(&[0, 0, 0, 0, 6, 0x12, 2, 8, 1, 8, 2], Outcome::Refused);
        check(&[0, 0, 0, 0, 0], Outcome::Failed(Code::Unknown));
        check(&[1, 0, 0, 0, 2, 8, 1], Outcome::Failed(Code::Internal));
        check(&[0, 0, 0, 0, 2, 8], Outcome::Failed(Code::Internal));
        check(&[], Outcome::Failed(Code::Internal));
    }
}

//! Accepting connections, no more than a maximum at a time, and shaking hands with them.
//!
//! A connection takes its place when it is accepted and keeps it through the handshake and
//! until it ends. Handshakes run beside each other and never hold up accepting.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::Listener;
use super::connection::{Connection, SILENCE, Stream};
use super::listen::BACKLOG;
use crate::tls::Acceptor;

/// How long accepting rests after the system refused it a connection.
const REST: Duration = Duration::from_millis(50);

/// What is accepted last has this long to shake hands and ask before it is told to go.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The places for connections of a listener.
#[derive(Clone, Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    max: usize,
}

impl Places {
    /// That many places.
    pub fn new(max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max }
    }

    /// How many are taken now, by connections that are open or in their handshake.
    pub fn taken(&self) -> usize {
        self.max.saturating_sub(self.free.available_permits())
    }
}

/// What connections of a listener get.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) places: Places,
    /// They shake hands first; none: they are plain.
    pub(super) tls: Option<Arc<Acceptor>>,
    /// They are cut at this age; none: never.
    pub(super) max_age: Option<Duration>,
}

/// A stream that was accepted, and its place.
type Accepted = (Box<dyn Stream>, OwnedSemaphorePermit);

/// Accepts from `listener` until `stop`, then closes it. With TLS a connection comes out
/// once it has shaken hands. Beyond the places a new one is closed at once.
pub(super) fn connections(
    listener: Listener,
    terms: Terms,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let end = CancellationToken::new();
        let welcome = |accepted| {
            let (sender, terms, end) = (sender.clone(), terms.clone(), end.clone());
            tokio::spawn(end.run_until_cancelled_owned(async move {
                if let Some(connection) = connection(accepted, &terms).await {
                    let _ = sender.send(Ok(connection)).await;
                }
            }));
        };
        let accept_all = async {
            loop {
                accept(&listener, &terms.places).await.map(welcome);
            }
        };
        tokio::select! {
            () = accept_all => {}
            () = stop.cancelled() => {}
            () = sender.closed() => {}
        }
        // To their peers, those in the queue are connected already.
        for _ in 0..BACKLOG {
            match timeout(Duration::ZERO, accept(&listener, &terms.places)).await {
                Ok(accepted) => accepted.map(welcome),
                Err(_) => break,
            };
        }
        drop(listener);
        sleep(LAST_WORDS).await;
        end.cancel();
    });
    ReceiverStream::new(receiver)
}

async fn accept(listener: &Listener, places: &Places) -> Option<Accepted> {
    let stream: io::Result<Box<dyn Stream>> = match listener {
        Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
            let _ = stream.set_nodelay(true);
            Box::new(stream) as _
        }),
        Listener::Unix(_, listener) => {
            listener.accept().await.map(|(stream, _)| Box::new(stream) as _)
        }
    };
    let stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, address = listener.address(), "cannot accept a connection");
            sleep(REST).await;
            return None;
        }
    };
    let place = Arc::clone(&places.free).try_acquire_owned();
    if place.is_err() {
        tracing::debug!(address = listener.address(), "too many connections: one was closed");
    }
    Some((stream, place.ok()?))
}

async fn connection((stream, place): Accepted, terms: &Terms) -> Option<Connection> {
    let end = terms.max_age.map(|age| Box::pin(sleep(age)));
    let stream = match &terms.tls {
        None => stream,
        Some(tls) => match tls.accept(stream, SILENCE).await {
            Ok(session) => Box::new(session),
            Err(error) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return None;
            }
        },
    };
    Some(Connection::new(stream, place, end))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpStream;
    use tokio_stream::StreamExt as _;

    use super::*;
    use crate::server::{Address, Endpoint};

    async fn accepting(max: usize) -> (String, ReceiverStream<io::Result<Connection>>) {
        let anywhere = Endpoint::Tcp(Address { host: "127.0.0.1".to_owned(), port: 0 });
        let listener = Listener::open(&anywhere).await.unwrap();
        let terms = Terms { places: Places::new(max), tls: None, max_age: None };
        (listener.address(), connections(listener, terms, CancellationToken::new()))
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

    #[tokio::test]
    async fn what_waits_at_the_stop_is_served() {
        let anywhere = Endpoint::Tcp(Address { host: "127.0.0.1".to_owned(), port: 0 });
        let listener = Listener::open(&anywhere).await.unwrap();
        let address = listener.address();
        let mut waiting = Vec::new();
        for _ in 0..5 {
            waiting.push(TcpStream::connect(&address).await.unwrap());
        }
        let stop = CancellationToken::new();
        stop.cancel();
        let terms = Terms { places: Places::new(9), tls: None, max_age: None };
        let served: Vec<_> = connections(listener, terms, stop).collect().await;
        assert_eq!(served.len(), 5);
        assert!(TcpStream::connect(&address).await.is_err(), "the listener is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_does_not_end_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let certificate = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let file = |name, text| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let identity = crate::tls::Identity {
            certificate: file("crt", certificate.cert.pem()),
            key: file("key", certificate.signing_key.serialize_pem()),
        };
        let tls = crate::tls::ServerTls { identity, clients: None, alpn: "h2" };
        let tls = Arc::new(Acceptor::open(tls).await.unwrap());
        let anywhere = Endpoint::Tcp(Address { host: "127.0.0.1".to_owned(), port: 0 });
        let listener = Listener::open(&anywhere).await.unwrap();
        let mut silent = TcpStream::connect(listener.address()).await.unwrap();
        let places = Places::new(1);
        let terms = Terms { places: places.clone(), tls: Some(Arc::clone(&tls)), max_age: None };
        let _connections = connections(listener, terms, CancellationToken::new());
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "it is closed");
        assert_eq!((places.taken(), tls.status().failed_handshakes), (0, 1));
    }
}

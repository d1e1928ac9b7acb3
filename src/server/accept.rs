//! Accepting connections, no more than a maximum at a time, and shaking hands with them.
//!
//! A connection takes its place when it is accepted and keeps it through the handshake and
//! until it ends. Handshakes run beside each other, on the runtime that will serve them, and
//! never hold up accepting.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::Listener;
use super::connection::Connection;
use super::doors::{Doors, Turned};
use super::listen::BACKLOG;
use super::socket::{Socket, Waiting};
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
    refused: Arc<AtomicU64>,
}

impl Places {
    /// That many places.
    pub fn new(max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max, refused: Arc::default() }
    }

    /// How many are taken now, by connections that are open or in their handshake.
    pub fn taken(&self) -> usize {
        self.max.saturating_sub(self.free.available_permits())
    }

    /// How many connections found none.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.free).try_acquire_owned();
        if place.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        place.ok()
    }
}

/// What connections of a listener get.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// They shake hands first; none: they are plain.
    pub(super) tls: Option<Arc<Acceptor>>,
    /// How much patience there is with them.
    pub(super) doors: Arc<Doors>,
    /// The bytes that each begins with.
    pub(super) first_words: usize,
}

/// Takes connections, on a runtime of its own choice.
#[derive(Debug)]
pub struct Host {
    sender: mpsc::Sender<Arrival>,
    guests: Arc<()>,
}

/// What a host is given.
#[derive(Debug)]
pub struct Arrivals(mpsc::Receiver<Arrival>);

/// A connection that was accepted, not bound to a runtime yet, and its place.
#[derive(Debug)]
struct Arrival {
    socket: Socket,
    place: Place,
}

/// The place of a connection, of its listener and at its host.
#[derive(Debug)]
pub(super) struct Place {
    _free: OwnedSemaphorePermit,
    _guest: Arc<()>,
}

/// Arrivals that wait for their host.
const WAITING: usize = 64;

impl Host {
    /// A host and what it will be given.
    pub fn new() -> (Self, Arrivals) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender, guests: Arc::new(()) }, Arrivals(receiver))
    }

    /// How many connections it has.
    fn guests(&self) -> usize {
        Arc::strong_count(&self.guests)
    }
}

/// Accepts from `listener` until `stop`, then closes it. Who comes goes to the host with the
/// fewest connections: they last long, so that chance would leave some hosts idle. Beyond
/// the places a new one is closed at once.
pub async fn deal(listener: Listener, places: Places, hosts: Vec<Host>, stop: CancellationToken) {
    let give = async |(socket, free)| {
        let open = hosts.iter().filter(|host| !host.sender.is_closed());
        if let Some(host) = open.min_by_key(|host| host.guests()) {
            let place = Place { _free: free, _guest: Arc::clone(&host.guests) };
            let _ = host.sender.send(Arrival { socket, place }).await;
        }
    };
    let accept_all = async {
        while hosts.iter().any(|host| !host.sender.is_closed()) {
            if let Some(accepted) = accept(&listener, &places).await {
                give(accepted).await;
            }
        }
    };
    tokio::select! {
        () = accept_all => {}
        () = stop.cancelled() => {}
    }
    // To their peers, those in the queue are connected already. The system is asked, as the
    // runtime may not have heard of them yet.
    let Ok(mut waiting) = Waiting::at(listener) else { return };
    for _ in 0..BACKLOG {
        let Ok(socket) = waiting.next() else { break };
        if let Some(free) = places.take() {
            give((socket, free)).await;
        }
    }
}

/// The connections of a host. With TLS one comes out once it has shaken hands.
pub(super) fn welcome(
    Arrivals(mut arrivals): Arrivals,
    terms: Terms,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let end = CancellationToken::new();
        loop {
            let arrival = tokio::select! {
                arrival = arrivals.recv() => arrival,
                () = sender.closed() => None,
            };
            let Some(arrival) = arrival else { break };
            let (sender, terms) = (sender.clone(), terms.clone());
            tokio::spawn(end.clone().run_until_cancelled_owned(async move {
                if let Some(connection) = connection(arrival, &terms).await {
                    let _ = sender.send(Ok(connection)).await;
                }
            }));
        }
        sleep(LAST_WORDS).await;
        end.cancel();
    });
    ReceiverStream::new(receiver)
}

/// The connections of a listener that is its own host.
pub(super) fn connections(
    listener: Listener,
    (places, terms): (Places, Terms),
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (host, arrivals) = Host::new();
    tokio::spawn(deal(listener, places, vec![host], stop));
    welcome(arrivals, terms)
}

async fn accept(listener: &Listener, places: &Places) -> Option<(Socket, OwnedSemaphorePermit)> {
    let socket = match listener {
        Listener::Tcp(listener) => listener.accept().await.and_then(|(stream, _)| {
            let _ = stream.set_nodelay(true);
            stream.into_std().map(Socket::Tcp)
        }),
        Listener::Unix(_, listener) => {
            listener.accept().await.and_then(|(stream, _)| stream.into_std().map(Socket::Unix))
        }
    };
    let socket = match socket {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%error, address = listener.address(), "cannot accept a connection");
            sleep(REST).await;
            return None;
        }
    };
    let place = places.take();
    if place.is_none() {
        tracing::debug!(address = listener.address(), "too many connections: one was closed");
    }
    Some((socket, place?))
}

async fn connection(Arrival { socket, place }: Arrival, terms: &Terms) -> Option<Connection> {
    let limit = terms.doors.transport.handshake_timeout;
    let stream = socket.stream().inspect_err(|error| {
        tracing::warn!(%error, "cannot serve a connection");
    });
    let stream = match (stream.ok()?, &terms.tls) {
        (stream, None) => stream,
        (stream, Some(tls)) => match tls.accept(stream, limit).await {
            Ok(session) => Box::new(session),
            Err(error) => {
                tracing::debug!(%error, "a TLS handshake failed");
                if error.kind() == io::ErrorKind::TimedOut {
                    terms.doors.turn(Turned::Silent);
                }
                return None;
            }
        },
    };
    Some(Connection::new(stream, place, (Arc::clone(&terms.doors), terms.first_words)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio_stream::StreamExt as _;

    use super::*;
    use crate::server::{Address, Endpoint, Transport};

    fn plain() -> Terms {
        let doors = Arc::new(Doors::new(Transport::default(), 1024));
        Terms { tls: None, doors, first_words: 2 }
    }

    async fn accepting(max: usize) -> (String, ReceiverStream<io::Result<Connection>>) {
        let anywhere = Endpoint::Tcp(Address { host: "127.0.0.1".to_owned(), port: 0 });
        let listener = Listener::open(&anywhere).await.unwrap();
        let address = listener.address();
        let terms = plain();
        (address, connections(listener, (Places::new(max), terms), CancellationToken::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_or_too_little_is_given_up() {
        let (address, mut connections) = accepting(1).await;
        let _silent = TcpStream::connect(&address).await.unwrap();
        let mut connection = connections.next().await.unwrap().unwrap();
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(connection);
        let mut short = TcpStream::connect(&address).await.unwrap();
        short.write_u8(7).await.unwrap();
        let mut connection = connections.next().await.unwrap().unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), 7);
        let end = tokio::time::timeout(Duration::from_secs(60), connection.read_u8()).await;
        let error = end.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(connection.doors.turned(Turned::Silent), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_takes_nothing_is_given_up() {
        let (address, mut connections) = accepting(1).await;
        let _deaf = TcpStream::connect(&address).await.unwrap();
        let mut connection = connections.next().await.unwrap().unwrap();
        let endless = vec![0; 1 << 20];
        let error = loop {
            if let Err(error) = connection.write_all(&endless).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(connection.doors.turned(Turned::Stalled), 1);
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
    async fn who_comes_goes_to_the_host_with_the_fewest() {
        let anywhere = Endpoint::Tcp(Address { host: "127.0.0.1".to_owned(), port: 0 });
        let listener = Listener::open(&anywhere).await.unwrap();
        let address = listener.address();
        let ((one, mut ones), (other, mut others)) = (Host::new(), Host::new());
        let hosts = vec![one, other];
        tokio::spawn(deal(listener, Places::new(9), hosts, CancellationToken::new()));
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(TcpStream::connect(&address).await.unwrap());
        }
        let held = [ones.0.recv().await.unwrap(), ones.0.recv().await.unwrap()];
        let gone = [others.0.recv().await.unwrap(), others.0.recv().await.unwrap()];
        drop(gone);
        clients.push(TcpStream::connect(&address).await.unwrap());
        let next = others.0.recv().await.unwrap();
        drop((held, next));
        // Who does not take any more is passed over.
        drop(ones);
        clients.push(TcpStream::connect(&address).await.unwrap());
        assert!(others.0.recv().await.is_some());
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
        let terms = (Places::new(9), plain());
        let served: Vec<_> = connections(listener, terms, stop).collect().await;
        assert_eq!(served.len(), 5);
        assert!(TcpStream::connect(&address).await.is_err(), "the listener is closed");
    }

    #[tokio::test]
    async fn what_the_runtime_has_not_heard_of_at_the_stop_is_served() {
        let anywhere = Endpoint::Tcp(Address { host: "127.0.0.1".to_owned(), port: 0 });
        let listener = Listener::open(&anywhere).await.unwrap();
        let address = listener.address();
        let stop = CancellationToken::new();
        let served = connections(listener, (Places::new(9), plain()), stop.clone());
        tokio::task::yield_now().await; // it looks, and nobody is there
        // While this thread does not ask the system, the runtime learns nothing.
        let connect = || std::net::TcpStream::connect(&address).unwrap();
        let _waiting: Vec<_> = std::iter::repeat_with(connect).take(5).collect();
        stop.cancel();
        assert_eq!(served.collect::<Vec<_>>().await.len(), 5);
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
        let terms = (places.clone(), Terms { tls: Some(Arc::clone(&tls)), ..plain() });
        let _connections = connections(listener, terms, CancellationToken::new());
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "it is closed");
        assert_eq!((places.taken(), tls.status().failed_handshakes), (0, 1));
    }
}

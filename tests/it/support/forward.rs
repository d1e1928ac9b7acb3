//! A forwarder of TCP connections that a test points elsewhere, or that cuts them or holds
//! replies back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Forwards from a port of its own to another one; it ends with this value.
pub(crate) struct Forwarder {
    port: u16,
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

struct State {
    to: AtomicU16,
    calls: AtomicU64,
    open: watch::Sender<bool>,
    cuts: watch::Sender<u64>,
}

impl Forwarder {
    /// Forwards to that port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("its address").port();
        let state = Arc::new(State {
            to: AtomicU16::new(port),
            calls: AtomicU64::new(0),
            open: watch::Sender::new(true),
            cuts: watch::Sender::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { port: at, state, _task: AbortOnDropHandle::new(task) }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Forwards new connections to another port.
    pub(crate) fn point_to(&self, port: u16) {
        self.state.to.store(port, Ordering::SeqCst);
    }

    /// Holds replies back, or lets them through.
    pub(crate) fn let_replies_through(&self, open: bool) {
        self.state.open.send_replace(open);
    }

    /// Closes all connections, with whatever is under way.
    pub(crate) fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many calls of scripts were sent through.
    pub(crate) fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Connections end with the forwarder.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        let mut cuts = state.cuts.subscribe();
        connections.spawn(async move {
            let port = state.to.load(Ordering::SeqCst);
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            client.set_nodelay(true).expect("TCP_NODELAY");
            server.set_nodelay(true).expect("TCP_NODELAY");
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = requests(from_client, to_server, &state) => {}
                () = replies(from_server, to_client, &state) => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State) {
    const WORD: &[u8] = b"EVALSHA";
    let (mut buffer, mut tail) = ([0; 65536], Vec::new());
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        tail.extend_from_slice(&buffer[..read]);
        let calls = tail.windows(WORD.len()).filter(|bytes| *bytes == WORD).count() as u64;
        tail.drain(..tail.len().saturating_sub(WORD.len() - 1));
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        state.calls.fetch_add(calls, Ordering::SeqCst);
    }
}

async fn replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State) {
    let mut buffer = [0; 65536];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if state.open.subscribe().wait_for(|open| *open).await.is_err()
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}

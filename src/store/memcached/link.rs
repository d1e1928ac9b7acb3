//! The connection to one server: opened, watched and replaced by one background task, so
//! that no caller ever waits for it.
//!
//! Callers share it: their commands travel one behind the other without waiting for
//! replies, which find their callers by their order. A caller that went away leaves its
//! place in that order; a reply that does not fit its command ends the connection. A
//! command is sent once: what fails is told to the caller, not repeated.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::backoff::{self, Backoff};
use super::command::{self, Command, Reply, Verb};
use super::dial::{self, Connection, Stream};
use super::stats::Tally;
use crate::store::StoreError;
use crate::store::redis::Address;
use crate::tls::ClientTls;

/// Commands that may wait for the socket, and as many that may wait for their reply;
/// further callers wait under their deadlines.
const QUEUE: usize = 1024;
/// Commands that one write takes along at most.
const AT_ONCE: usize = 128;

/// A connection, or the time between two.
pub(super) struct Link {
    address: Address,
    state: ArcSwap<State>,
}

/// The connection, or why there is none.
type State = Result<Live, String>;

struct Live {
    commands: mpsc::Sender<Asked>,
    opened: Instant,
    /// Microseconds after `opened` of the first time-out since the last reply; 0 is none.
    silent_since: AtomicU64,
    faults: mpsc::Sender<String>,
}

/// A command and who waits for its reply.
struct Asked {
    command: Command,
    reply: oneshot::Sender<Reply>,
}

/// A command that was sent.
type Pending = (Verb, oneshot::Sender<Reply>);

/// When an answer is of no use any more, and how long after the question that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) timeout: Duration,
}

/// How connections are opened, and who counts them.
#[derive(Clone)]
pub(super) struct Dialing {
    pub(super) tls: Option<ClientTls>,
    pub(super) timeout: Duration,
    pub(super) tally: Arc<Tally>,
}

impl Deadline {
    /// That long from now.
    pub(super) fn after(timeout: Duration) -> Self {
        Self { at: Instant::now() + timeout, timeout }
    }
}

impl Link {
    /// A link without a connection. [`Link::keep`] opens one.
    pub(super) fn new(address: Address) -> Self {
        let state = ArcSwap::from_pointee(Err("not connected yet".to_owned()));
        Self { address, state }
    }

    /// Where it leads.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Asks once, within the deadline. Without a connection the answer comes at once.
    pub(super) async fn ask(
        &self,
        command: Command,
        deadline: Deadline,
    ) -> Result<Reply, StoreError> {
        let state = self.state.load_full();
        let live = match &*state {
            Ok(live) => live,
            Err(reason) => return Err(self.unavailable(reason)),
        };
        let (reply, answer) = oneshot::channel();
        let asking = async {
            live.commands.send(Asked { command, reply }).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout_at(deadline.at, asking).await {
            Ok(Some(reply)) => {
                live.answered();
                match reply {
                    Reply::Refused(reason) => Err(StoreError::Refused(reason)),
                    reply => Ok(reply),
                }
            }
            Ok(None) => match &*self.state.load_full() {
                Err(reason) => Err(self.broken(reason)),
                Ok(_) => Err(self.broken("the connection was replaced")),
            },
            Err(_) => {
                live.unanswered(deadline.timeout);
                Err(StoreError::Timeout(deadline.timeout))
            }
        }
    }

    /// Keeps a connection open for as long as it is polled.
    pub(super) async fn keep(self: Arc<Self>, dialing: Dialing) {
        let address = &self.address;
        let mut backoff = Backoff::new();
        let mut told = false;
        loop {
            let opening = dial::open(address, dialing.tls.as_ref());
            let opening = tokio::time::timeout(dialing.timeout, opening).await;
            match opening.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(connection) => {
                    tracing::info!(%address, "connected to memcached");
                    let opened = Instant::now();
                    let reason = self.serve(connection, &dialing.tally).await;
                    tracing::warn!(%address, %reason, "lost the connection to memcached");
                    // A connection that breaks at once does not start the waits anew.
                    if opened.elapsed() > backoff::MAX {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    if !told {
                        tracing::warn!(%address, reason = %error, "cannot connect to memcached");
                    }
                    self.state.store(Arc::new(Err(error.to_string())));
                }
            }
            told = true;
            backoff.wait().await;
        }
    }

    /// Lends the connection to callers until it breaks; tells why it did.
    async fn serve(&self, connection: Connection, tally: &Tally) -> String {
        let (commands, mut asked) = mpsc::channel(QUEUE);
        let (sent, mut pending) = mpsc::channel(QUEUE);
        let (faults, mut fault) = mpsc::channel(1);
        let opened = Instant::now();
        let live = Live { commands, opened, silent_since: AtomicU64::new(0), faults };
        let Connection { mut reader, mut writer } = connection;
        self.state.store(Arc::new(Ok(live)));
        let _open = tally.open();
        let reason = tokio::select! {
            error = write(&mut writer, &mut asked, &sent) => error.to_string(),
            error = read(&mut reader, &mut pending) => error.to_string(),
            fault = fault.recv() => fault.unwrap_or_default(),
        };
        // Before the queues go: who loses a reply with them finds the reason here.
        self.state.store(Arc::new(Err(reason.clone())));
        reason
    }

    fn unavailable(&self, reason: &str) -> StoreError {
        StoreError::Unavailable(format!("{}: {reason}", self.address))
    }

    fn broken(&self, reason: &str) -> StoreError {
        StoreError::Broken(format!("{}: {reason}", self.address))
    }
}

/// Sends what is asked, as much as there is with one write.
async fn write(
    writer: &mut WriteHalf<Box<dyn Stream>>,
    asked: &mut mpsc::Receiver<Asked>,
    sent: &mpsc::Sender<Pending>,
) -> io::Error {
    let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
    let (mut taken, mut bytes) = (Vec::new(), Vec::new());
    loop {
        if asked.recv_many(&mut taken, AT_ONCE).await == 0 {
            return closed();
        }
        for Asked { command, reply } in taken.drain(..) {
            // Nobody waits for it any more: it need not count.
            if reply.is_closed() {
                continue;
            }
            bytes.extend_from_slice(&command.bytes);
            if sent.send((command.verb, reply)).await.is_err() {
                return closed();
            }
        }
        let written = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return error;
        }
        bytes.clear();
    }
}

/// Hands replies to those who wait for them.
async fn read(
    reader: &mut BufReader<ReadHalf<Box<dyn Stream>>>,
    pending: &mut mpsc::Receiver<Pending>,
) -> io::Error {
    loop {
        let line = match dial::read_line(reader).await {
            Ok(line) => line,
            Err(error) => return error,
        };
        let Ok((verb, reply)) = pending.try_recv() else {
            return io::Error::other("an answer that nobody asked for");
        };
        match command::read(verb, &line) {
            // Who went away has left its place in the order.
            Ok(answer) => drop(reply.send(answer)),
            Err(error) => return io::Error::other(error),
        }
    }
}

impl Live {
    fn answered(&self) {
        if self.silent_since.load(Ordering::Relaxed) != 0 {
            self.silent_since.store(0, Ordering::Relaxed);
        }
    }

    /// Gives a silent connection up after three deadlines in a row. One stall that hits
    /// many callers at once counts as one.
    fn unanswered(&self, timeout: Duration) {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let now = micros(self.opened.elapsed()).max(1);
        let first =
            self.silent_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        if first.is_err_and(|first| now.saturating_sub(first) >= 2 * micros(timeout)) {
            let _ = self.faults.try_send("several commands in a row got no answer".to_owned());
        }
    }
}

//! The connection: opened, watched and replaced by one background task, so that no
//! caller ever waits for it.
//!
//! Callers share it; their commands travel one behind the other without waiting for
//! replies. A command is sent once: what fails is told to the caller, not repeated.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, ServerErrorKind, Value};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::address::Address;
use super::breaker::{Breaker, Breaking, Change};
use super::config::Dialing;
use super::dial::{Dialer, Line, is_answer};
use super::login::Credentials;
use super::race::within;
use super::sentinel::Sentinels;
use super::traffic::{Meter, Traffic};
use crate::store::StoreError;
use crate::store::refusals::Listener;

/// Times from one attempt to connect to the next: doubling, each shortened at random by up
/// to a half so that replicas do not come back in step. A server that comes back is found
/// within the longest of them, or within the second that a step of dialling may take.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// How long a server that is not trusted has to give a sign of life, and how long it is left
/// alone after it gave none. (Three in a row end the connection; see `unanswered`.)
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// A connection, or the time between two.
pub(super) struct Link {
    state: ArcSwap<State>,
    up: watch::Sender<bool>,
    opened: AtomicU64,
    breaker: Breaker,
    meter: Meter,
    name: String,
    /// The circuit was opened.
    doubted: Notify,
    /// Whether the connection tells of what other processes give back.
    hears: AtomicBool,
    listener: Option<Mutex<Listener>>,
}

/// Whether decisions ask a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// Where the server is.
    pub server: String,
    /// They do not: it left a call unanswered, or was slow several times in a row.
    pub is_open: bool,
    /// How often that was so, since the start.
    pub opened: u64,
}

/// The server that a link leads to.
pub(super) enum Target {
    /// One that does not move.
    Fixed(Address),
    /// The primary that sentinels know.
    Sentinels(Box<Sentinels>),
}

/// The connection, or why there is none.
type State = Result<Live, String>;

struct Live {
    connection: MultiplexedConnection,
    opened: Instant,
    /// Microseconds after `opened` of the first time-out since the last reply; 0 is none.
    silent_since: AtomicU64,
    faults: mpsc::Sender<String>,
}

impl Link {
    /// A link to the server of that name, without a connection. [`Link::keep`] opens one.
    pub(super) fn new(name: String, breaking: Breaking, listener: Option<Listener>) -> Self {
        Self {
            breaker: Breaker::new(breaking),
            meter: Meter::default(),
            name,
            doubted: Notify::new(),
            listener: listener.map(Mutex::new),
            state: ArcSwap::from_pointee(Err("not connected yet".to_owned())),
            up: watch::Sender::new(false),
            opened: AtomicU64::new(0),
            hears: AtomicBool::new(false),
        }
    }

    /// Where the server is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is a connection that tells of what other processes give back.
    pub(super) fn hears(&self) -> bool {
        self.hears.load(Ordering::SeqCst)
    }

    /// Whether there is a connection that may be asked, now and later.
    pub(super) fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// How many connections were opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Whether there is a connection, be it one that is not asked.
    pub(super) fn is_connected(&self) -> bool {
        self.state.load().is_ok()
    }

    /// Whether the circuit is open and how often it was opened, and where the server is.
    pub(super) fn circuit(&self) -> Circuit {
        let (is_open, opened) = (self.breaker.is_open(), self.breaker.opened());
        Circuit { server: self.name.clone(), is_open, opened }
    }

    /// Counts what is sent.
    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// What was sent so far; so many batches wait.
    pub(super) fn traffic(&self, waiting: usize) -> Traffic {
        self.meter.read(self.name.clone(), waiting)
    }

    /// Like [`Link::call`], for decisions: a server that is not trusted is not asked, and the
    /// answer comes at once.
    pub(super) async fn decide<F>(
        &self,
        timeout: Duration,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<Value, StoreError>
    where
        F: Future<Output = RedisResult<Value>>,
    {
        if self.breaker.is_open() && self.is_connected() {
            let reason = "the circuit is open, as the server does not answer in time";
            return Err(StoreError::Unavailable(reason.to_owned()));
        }
        let started = Instant::now();
        let answer = self.call(timeout, ask).await;
        if !matches!(answer, Err(StoreError::Unavailable(_))) {
            self.meter.trip(started.elapsed());
        }
        answer
    }

    /// Asks once, within the deadline. Without a connection the answer comes at once.
    pub(super) async fn call<F>(
        &self,
        timeout: Duration,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<Value, StoreError>
    where
        F: Future<Output = RedisResult<Value>>,
    {
        let state = self.state.load_full();
        let live = match &*state {
            Ok(live) => live,
            Err(reason) => return Err(StoreError::Unavailable(reason.clone())),
        };
        let started = Instant::now();
        match tokio::time::timeout(timeout, ask(live.connection.clone())).await {
            Ok(Ok(reply)) => {
                live.answered(&reply);
                self.tell(self.breaker.answered(started, Instant::now()));
                Ok(reply)
            }
            Ok(Err(error)) if is_answer(&error) => {
                self.tell(self.breaker.answered(started, Instant::now()));
                Err(StoreError::Refused(error.to_string()))
            }
            Ok(Err(error)) => {
                live.fail(error.to_string());
                Err(StoreError::Broken(error.to_string()))
            }
            Err(_) => {
                live.unanswered(timeout);
                self.tell(self.breaker.lost());
                Err(StoreError::Timeout(timeout))
            }
        }
    }

    /// Keeps a connection to `target` open for as long as it is polled.
    pub(super) async fn keep(self: Arc<Self>, mut target: Target, dialer: Arc<Dialer>) {
        let name = target.to_string();
        let mut backoff = BACKOFF_MIN;
        let mut told = false;
        loop {
            let started = Instant::now();
            match within(dialer.dialing.connect_timeout, target.open(&dialer)).await {
                Ok((address, line)) => {
                    tracing::info!(%address, "connected to Redis");
                    let opened = Instant::now();
                    if let (true, Some(refusals)) = (line.hears, &dialer.refusals) {
                        // What was given back while nobody listened was not heard.
                        refusals.forget_all();
                    }
                    let moved = target.moved(&address, &dialer);
                    let reason = self.serve(line, moved).await;
                    tracing::warn!(%address, %reason, "lost the connection to Redis");
                    // A connection that breaks at once, such as one to a read-only replica,
                    // does not start the waits anew.
                    if opened.elapsed() > BACKOFF_MAX {
                        backoff = BACKOFF_MIN;
                    }
                }
                Err(error) => {
                    if !told {
                        tracing::warn!(address = name, reason = %error, "cannot connect to Redis");
                    }
                    self.state.store(Arc::new(Err(error.to_string())));
                    target.doubt();
                }
            }
            told = true;
            // Counted from the start of the attempt: one that took its time has waited.
            tokio::time::sleep_until(started + backoff.mul_f64(1.0 - fastrand::f64() / 2.0)).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Lends the connection to callers until it breaks or `moved` ends; tells why it did.
    async fn serve(
        &self,
        Line { connection, mut driver, hears }: Line,
        moved: impl Future<Output = String>,
    ) -> String {
        let (faults, mut fault) = mpsc::channel(1);
        let live =
            Live { connection, opened: Instant::now(), silent_since: AtomicU64::new(0), faults };
        self.state.store(Arc::new(Ok(live)));
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.set_hears(hears);
        // It has just answered the greeting.
        self.tell(self.breaker.close());
        self.up.send_replace(true);
        let closed = || "the connection was closed".to_owned();
        let reason = tokio::select! {
            biased;
            _ = &mut driver => closed(),
            fault = fault.recv() => fault.unwrap_or_else(closed),
            reason = moved => reason,
        };
        // In this order: who loses the connection with the driver finds none to go on with.
        self.set_hears(false);
        self.state.store(Arc::new(Err(reason.clone())));
        self.up.send_replace(false);
        drop(driver);
        reason
    }
}

impl Link {
    /// Asks a server that is not trusted for signs of life, for as long as it is polled.
    pub(super) async fn probe(self: Arc<Self>) {
        let ping = redis::cmd("PING");
        loop {
            self.doubted.notified().await;
            while self.breaker.is_open() {
                let ask = async |mut connection: MultiplexedConnection| {
                    connection.send_packed_command(&ping).await
                };
                let sign = self.call(PROBE_TIMEOUT, ask).await;
                if sign.is_err() || self.breaker.is_open() {
                    tokio::time::sleep(PROBE_PAUSE).await;
                }
            }
        }
    }

    /// Tells whoever wants to know that the circuit has changed.
    fn tell(&self, change: Option<Change>) {
        let server = &self.name;
        match change {
            None => return,
            Some(Change::Opened) => {
                tracing::warn!(server, "Redis does not answer in time: it is not asked for now");
                self.doubted.notify_one();
            }
            Some(Change::Closed) => tracing::info!(server, "Redis answers again in time"),
        }
        // Who sends last has looked last.
        self.up.send_if_modified(|up| {
            let is_up = self.is_connected() && !self.breaker.is_open();
            std::mem::replace(up, is_up) != is_up
        });
    }

    fn set_hears(&self, hears: bool) {
        self.hears.store(hears, Ordering::SeqCst);
        if let Some(listener) = &self.listener {
            listener.lock().set(hears);
        }
    }
}

impl Target {
    /// The primary that sentinels call `name`; `dialing` is how the primary is reached.
    pub(super) fn primary(
        name: String,
        (sentinels, login): (Vec<Address>, Credentials),
        dialing: &Dialing,
    ) -> Self {
        // Trust and time are shared; login and database are the data's own.
        let dialing = Dialing { login, db: 0, ..dialing.clone() };
        Self::Sentinels(Box::new(Sentinels::new(name, sentinels, dialing)))
    }

    /// Opens a connection to where the server is now.
    async fn open(&mut self, dialer: &Dialer) -> RedisResult<(Address, Line)> {
        match self {
            Self::Fixed(address) => Ok((address.clone(), dialer.open(address).await?)),
            Self::Sentinels(sentinels) => sentinels.open(dialer).await,
        }
    }

    /// Has the server looked for anew, as it could not be reached.
    fn doubt(&mut self) {
        if let Self::Sentinels(sentinels) = self {
            sentinels.doubt();
        }
    }

    /// Ends when the server is elsewhere; tells where.
    async fn moved(&mut self, from: &Address, dialer: &Dialer) -> String {
        match self {
            Self::Fixed(_) => std::future::pending().await,
            Self::Sentinels(sentinels) => {
                format!("the primary is now at {}", sentinels.moved(from, dialer).await)
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(address) => address.fmt(f),
            Self::Sentinels(sentinels) => sentinels.fmt(f),
        }
    }
}

impl Live {
    fn answered(&self, reply: &Value) {
        if self.silent_since.load(Ordering::Relaxed) != 0 {
            self.silent_since.store(0, Ordering::Relaxed);
        }
        if let Some(reason) = fault(reply) {
            self.fail(reason.to_owned());
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
            self.fail("several commands in a row got no answer".to_owned());
        }
    }

    /// Has the connection replaced; the first reason counts.
    fn fail(&self, reason: String) {
        let _ = self.faults.try_send(reason);
    }
}

/// Why a server that answers so is left: a new connection may find another server, the same
/// in a better state, or a login that is in force.
fn fault(reply: &Value) -> Option<&'static str> {
    let error = match reply {
        Value::ServerError(error) => error,
        Value::Array(elements) => return elements.iter().find_map(fault),
        _ => return None,
    };
    match (error.kind(), error.code()) {
        (Some(ServerErrorKind::ReadOnly), _) => Some("the server is a read-only replica"),
        (Some(ServerErrorKind::BusyLoading), _) => Some("the server is loading its data"),
        (Some(ServerErrorKind::MasterDown), _) => Some("the server has lost its primary"),
        (_, "NOAUTH" | "WRONGPASS") => Some("the server wants another login"),
        _ => None,
    }
}

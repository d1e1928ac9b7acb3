//! What peers may hold and how long they may take, and how many were turned away for it.
//!
//! One [`Doors`] stands before all listeners of a process, so that what is bounded here is
//! bounded once, however many connections it is spread over.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The bounds of connections and of requests that are not whole yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Calls that one gRPC connection may have open.
    pub max_streams: u32,
    /// Bytes of a request's headers.
    pub max_header_bytes: u32,
    /// Calls that a peer may take back before they were looked at.
    pub max_pending_resets: usize,
    /// Bytes of requests whose end has not come, over all connections.
    pub max_unfinished_bytes: usize,
    /// How long a handshake may take, and after it the first words of the protocol.
    pub handshake_timeout: Duration,
    /// How long the head and then the rest of a request may take to come.
    pub request_timeout: Duration,
    /// How long a peer may take nothing of what is sent to it.
    pub write_timeout: Duration,
    /// A gRPC connection without calls for this long is told to go; none: never.
    pub idle_timeout: Option<Duration>,
    /// A silent gRPC peer is asked for a sign of life this often; none: never.
    pub keepalive_interval: Option<Duration>,
    /// And given up this long after.
    pub keepalive_timeout: Duration,
}

impl Default for Transport {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            max_streams: 1000,
            max_header_bytes: 64 * 1024,
            max_pending_resets: 20,
            max_unfinished_bytes: 256 * 1024 * 1024,
            handshake_timeout: 10 * second,
            request_timeout: 10 * second,
            write_timeout: 10 * second,
            idle_timeout: Some(3600 * second),
            keepalive_interval: Some(60 * second),
            keepalive_timeout: 20 * second,
        }
    }
}

/// Why a connection or a request was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// A connection that did not shake hands, or begin to speak, in time.
    Silent,
    /// A connection that took nothing of its answers.
    Stalled,
    /// A connection without calls.
    Idle,
    /// A connection that did not go though it was told to.
    Lingering,
    /// A connection that broke its protocol, or a bound of it.
    Unruly,
    /// A request that did not come to its end in time.
    Slow,
    /// A request that came while too many bytes of unfinished ones were held.
    Crowded,
    /// A request of the debug listener or for metrics without the token.
    Unknown,
}

impl Turned {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Silent,
        Self::Stalled,
        Self::Idle,
        Self::Lingering,
        Self::Unruly,
        Self::Slow,
        Self::Crowded,
        Self::Unknown,
    ];

    /// Its word on the metrics page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::Idle => "idle",
            Self::Lingering => "lingering",
            Self::Unruly => "unruly",
            Self::Slow => "slow",
            Self::Crowded => "crowded",
            Self::Unknown => "unauthorized",
        }
    }
}

/// The doors of a process.
#[derive(Debug)]
pub struct Doors {
    /// The bounds.
    pub transport: Transport,
    /// The largest message, before and after decompression, in bytes.
    pub max_message_bytes: usize,
    unfinished: AtomicUsize,
    turned: [AtomicU64; Turned::ALL.len()],
}

impl Doors {
    /// Doors with those bounds that nobody has come to.
    pub fn new(transport: Transport, max_message_bytes: usize) -> Self {
        let turned = Default::default();
        Self { transport, max_message_bytes, unfinished: AtomicUsize::new(0), turned }
    }

    /// How many were turned away for that reason.
    pub fn turned(&self, why: Turned) -> u64 {
        self.turned[why as usize].load(Ordering::Relaxed)
    }

    /// Bytes of requests whose end has not come.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Counts one that is turned away.
    pub(super) fn turn(&self, why: Turned) {
        self.turned[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Takes `bytes` in, if there is room: only then are they to be given back.
    pub(super) fn hold(&self, bytes: usize) -> bool {
        let max = self.transport.max_unfinished_bytes;
        let held = self.unfinished.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            before.checked_add(bytes).filter(|held| *held <= max)
        });
        held.is_ok()
    }

    /// Gives `bytes` back.
    pub(super) fn give_back(&self, bytes: usize) {
        self.unfinished.fetch_sub(bytes, Ordering::Relaxed);
    }
}

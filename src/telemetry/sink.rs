//! Sends metrics to a statsd server, over TCP, UDP or a unix socket.
//!
//! Nothing here holds up a request: counters are read when they are sent, timers wait in a
//! bounded queue. What cannot be sent adds to the next flush, so that counters lose nothing
//! but the one piece that broke on its way. A server that is not there is told once, and
//! tried again every three seconds.

mod wire;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

pub use wire::Target;
use wire::Wire;

use super::families;
use super::metric::Snapshot;
use super::metrics::Metrics;
use super::statsd::{Dialect, Line, Lines};
use super::tags::Tags;
use super::timing::{Queue, Sample};

/// What is sent where.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkConfig {
    /// The server.
    pub target: Target,
    /// How lines look.
    pub dialect: Dialect,
    /// Tags of every line.
    pub tags: Tags,
}

/// Adds what the metrics do not count themselves.
pub type Collect = Arc<dyn Fn(&mut Snapshot) + Send + Sync>;

/// What a datagram may hold, so that it fits a network frame.
const MAX_DATAGRAM: usize = 1432;
/// What is written to a stream at once.
const MAX_PIECE: usize = 16 * 1024;
/// How often a server that is not there is tried again.
const RETRY: Duration = Duration::from_secs(3);
/// How long a server may take for one piece or for a connection.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often timers are sent.
const TICK: Duration = Duration::from_millis(100);

/// Sends to one server.
pub struct Sink {
    config: SinkConfig,
    metrics: Arc<Metrics>,
    collect: Collect,
    lines: Lines,
    queue: Arc<Queue>,
    timers: mpsc::Receiver<Sample>,
    wire: Option<Wire>,
    tried: Option<Instant>,
    is_told: bool,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Makes the sinks of a process, which get its timers from now on. To be called once.
pub fn sinks(configs: &[SinkConfig], metrics: &Arc<Metrics>, collect: &Collect) -> Vec<Sink> {
    let sink = |config: &SinkConfig| {
        let (queue, timers) = Queue::new();
        Sink {
            config: config.clone(),
            metrics: Arc::clone(metrics),
            collect: Arc::clone(collect),
            lines: Lines::new(config.dialect.clone(), config.tags.clone()),
            queue: Arc::new(queue),
            timers,
            wire: None,
            tried: None,
            is_told: false,
        }
    };
    let sinks: Vec<Sink> = configs.iter().map(sink).collect();
    metrics.send_timers(sinks.iter().map(|sink| Arc::clone(&sink.queue)).collect());
    sinks
}

impl Sink {
    /// Flushes at every `period` until `stop`, then once more.
    pub async fn run(mut self, period: Duration, stop: CancellationToken) {
        let mut ticks = interval(TICK.min(period));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut flushed = Instant::now();
        self.connect().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            if flushed.elapsed() >= period {
                self.flush().await;
                flushed = Instant::now();
            } else if self.wire.is_some() {
                self.send_timers().await;
            } else if self.tried.is_none_or(|tried| tried.elapsed() >= RETRY) {
                self.connect().await;
            }
        }
        self.flush().await;
    }

    /// Sends the timers that wait, and what was counted since the last flush.
    pub async fn flush(&mut self) {
        if self.wire.is_none() {
            self.connect().await;
        }
        self.send_timers().await;
        let mut snapshot = Snapshot::default();
        self.metrics.read(&mut snapshot);
        (self.collect)(&mut snapshot);
        let lines = self.lines.flush(&snapshot);
        self.send(lines).await;
        self.lines.forget(&snapshot);
        if self.wire.is_none() {
            self.metrics.failed_flushes.add(1);
        }
    }

    async fn send_timers(&mut self) {
        let mut lines = Vec::new();
        // No more than wait now: others come faster than one can look.
        for _ in 0..self.timers.len() {
            let Ok(Sample { method, millis }) = self.timers.try_recv() else { break };
            lines.push(self.lines.timer(&families::RESPONSE_TIME, method.name(), millis));
        }
        let waiting = lines.len();
        let sent = self.send(lines).await;
        self.metrics.dropped_timers.add((waiting - sent) as u64);
    }

    /// Sends lines in pieces that the wire takes, as long as there is a wire, and tells how
    /// many went.
    async fn send(&mut self, lines: Vec<Line>) -> usize {
        let mut sent = 0;
        let max = match self.config.target {
            Target::Tcp(..) => MAX_PIECE,
            Target::Udp(..) | Target::Unix(_) => MAX_DATAGRAM,
        };
        for piece in pieces(lines, max) {
            let Some(wire) = &mut self.wire else { break };
            let mut text: String = piece.iter().flat_map(|line| [&*line.text, "\n"]).collect();
            if !matches!(wire, Wire::Tcp(_)) {
                // A datagram needs no end.
                text.pop();
            }
            match timeout(PATIENCE, wire.send(text.as_bytes())).await {
                Ok(Ok(())) => {
                    sent += piece.len();
                    piece.into_iter().for_each(|line| self.lines.sent(line));
                }
                Ok(Err(error)) => self.broke(&error),
                Err(_) => self.broke(&io::ErrorKind::TimedOut.into()),
            }
        }
        sent
    }

    async fn connect(&mut self) {
        self.tried = Some(Instant::now());
        match timeout(PATIENCE, Wire::open(&self.config.target)).await {
            Ok(Ok(wire)) => {
                if self.is_told {
                    tracing::info!(server = %self.config.target, "statsd: connected");
                }
                self.is_told = false;
                self.wire = Some(wire);
                self.queue.open.store(true, Relaxed);
            }
            Ok(Err(error)) => self.broke(&error),
            Err(_) => self.broke(&io::ErrorKind::TimedOut.into()),
        }
    }

    fn broke(&mut self, error: &io::Error) {
        self.wire = None;
        self.queue.open.store(false, Relaxed);
        if !self.is_told {
            self.is_told = true;
            let switch = match self.config.dialect {
                Dialect::Statsd => "USE_STATSD",
                Dialect::DogStatsd(_) => "USE_DOG_STATSD",
            };
            tracing::info!(
                server = %self.config.target,
                %error,
                "statsd: nobody takes metrics there; counters wait, unless {switch} is false"
            );
        }
    }
}

/// Lines in groups of at most `max` bytes; a longer line is a group of its own.
fn pieces(lines: Vec<Line>, max: usize) -> Vec<Vec<Line>> {
    let mut pieces: Vec<Vec<Line>> = Vec::new();
    let mut size = 0;
    for line in lines {
        let more = line.text.len() + 1;
        match pieces.last_mut() {
            Some(piece) if size + more <= max + 1 => {
                size += more;
                piece.push(line);
            }
            _ => {
                size = more;
                pieces.push(vec![line]);
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_no_larger_than_a_datagram() {
        let line = |n: usize| Line::of_now("x".repeat(n));
        let sizes = |lines: Vec<Line>| -> Vec<Vec<usize>> {
            let pieces = pieces(lines, 10);
            pieces.iter().map(|piece| piece.iter().map(|line| line.text.len()).collect()).collect()
        };
        assert_eq!(sizes(vec![]), Vec::<Vec<usize>>::new());
        assert_eq!(sizes(vec![line(5), line(4), line(1)]), [vec![5, 4], vec![1]]);
        assert_eq!(sizes(vec![line(5), line(5)]), [[5], [5]]);
        assert_eq!(sizes(vec![line(1), line(20), line(1)]), [[1], [20], [1]]);
    }
}

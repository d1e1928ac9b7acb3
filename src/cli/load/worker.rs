//! One thread of the generator: its connections and the tasks that call over them.
//!
//! Everything of a thread stays on it; threads share the messages and three numbers that
//! are looked at once a second.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tonic::Code;

use super::connection::{Connection, Target};
use super::keys::{Distribution, Keys};
use super::messages::Messages;
use super::pacer::Pacer;
use super::schedule::Schedule;
use super::slots::Slots;
use super::tally::{Outcome, Tally};

/// What all threads do together.
#[derive(Debug)]
pub(super) struct Job {
    /// Where the server is.
    pub(super) target: Target,
    /// Connections of all threads.
    pub(super) connections: usize,
    /// Calls in flight on each.
    pub(super) in_flight: usize,
    /// Calls per second of all threads; a closed loop has none.
    pub(super) rate: Option<f64>,
    /// Threads, at most as many as connections.
    pub(super) threads: usize,
    /// How long a call waits for its answer.
    pub(super) timeout: Duration,
    /// The message of each key.
    pub(super) messages: Messages,
    /// How many keys, how they are drawn, and the seed of the draws.
    pub(super) keys: (Distribution, u64, u64),
    /// What is told while it goes on.
    pub(super) live: Live,
}

/// Numbers for the eyes, and the wish to stop.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Answers so far, the warm-up's included.
    pub(super) answered: AtomicU64,
    /// Calls without a decision so far.
    pub(super) failed: AtomicU64,
    /// Planned calls not made so far.
    pub(super) missed: AtomicU64,
    /// No more calls are to be begun.
    pub(super) stop: AtomicBool,
}

/// When calls are made, and from when on they count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The first call.
    pub(super) start: Instant,
    /// The first call that counts.
    pub(super) measured: Instant,
    /// After the last call.
    pub(super) end: Instant,
}

/// What a thread tells.
#[derive(Debug)]
pub(super) enum News {
    /// It is connected.
    Ready,
    /// It has ended, with that.
    Done(anyhow::Result<Box<Tally>>),
}

/// Runs thread number `index`: connects, waits for the span, and calls until its end.
pub(super) fn run(
    job: &Arc<Job>,
    index: usize,
    news: mpsc::UnboundedSender<News>,
    span: watch::Receiver<Option<Span>>,
) {
    let result = (|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ready = || {
            let _ = news.send(News::Ready);
        };
        LocalSet::new().block_on(&runtime, work(Arc::clone(job), index, ready, span))
    })();
    let _ = news.send(News::Done(result.map(Box::new)));
}

async fn work(
    job: Arc<Job>,
    index: usize,
    ready: impl FnOnce(),
    mut span: watch::Receiver<Option<Span>>,
) -> anyhow::Result<Tally> {
    let mut connections = Vec::new();
    for _ in (index..job.connections).step_by(job.threads) {
        let connection = Connection::open(job.target.clone(), job.timeout).await;
        connections
            .push(connection.with_context(|| format!("cannot reach a server at {}", job.target))?);
    }
    ready();
    let span = span.wait_for(Option::is_some).await.ok().and_then(|span| *span);
    let span = span.context("there is nothing to do")?;
    let (distribution, keys, seed) = job.keys;
    let thread = Rc::new(Thread {
        keys: RefCell::new(Keys::new(distribution, keys, seed.wrapping_add(index as u64))),
        tally: RefCell::new(Tally::new(job.timeout.max(LONGEST))?),
        span,
        job,
    });
    match thread.job.rate {
        None => closed_loop(&thread, &connections).await?,
        Some(rate) => {
            let bounds = (span.start, span.end);
            let step = thread.job.threads as u64;
            let schedule = Schedule::new(bounds, rate, index as u64, step);
            open_loop(&thread, &connections, schedule).await?;
        }
    }
    let thread = Rc::into_inner(thread).context("a call has not ended")?;
    Ok(thread.tally.into_inner())
}

/// Every task calls, and calls again when it has its answer.
async fn closed_loop(thread: &Rc<Thread>, connections: &[Rc<Connection>]) -> anyhow::Result<()> {
    let mut tasks = Vec::new();
    for _ in 0..thread.job.in_flight {
        for connection in connections {
            let (thread, connection) = (Rc::clone(thread), Rc::clone(connection));
            tasks.push(spawn_local(async move {
                while let Some(now) = thread.now() {
                    thread.call(&connection, now).await;
                }
            }));
        }
    }
    for task in tasks {
        task.await?;
    }
    Ok(())
}

/// Calls are handed to idle tasks when they are due.
async fn open_loop(
    thread: &Rc<Thread>,
    connections: &[Rc<Connection>],
    mut schedule: Schedule,
) -> anyhow::Result<()> {
    let slots = Rc::new(Slots::new(connections.len() * thread.job.in_flight));
    let mut tasks = Vec::new();
    for index in 0..connections.len() * thread.job.in_flight {
        let connection = Rc::clone(&connections[index % connections.len()]);
        let (thread, slots) = (Rc::clone(thread), Rc::clone(&slots));
        tasks.push(spawn_local(async move {
            while let Some(planned) = slots.next(index).await {
                thread.note_late(planned);
                thread.call(&connection, planned).await;
            }
        }));
    }
    tokio::task::yield_now().await; // all are idle now
    let pacer = Pacer::new(schedule.period())?;
    while let Some(next) = schedule.next() {
        if thread.job.live.stop.load(Ordering::Relaxed) {
            break;
        }
        let look = Instant::now() + LOOK;
        pacer.sleep_until(next.min(look)).await?;
        let now = Instant::now();
        while let Some(planned) = schedule.due(now) {
            if !slots.hand(planned) {
                thread.miss(planned);
            }
        }
    }
    slots.close();
    for task in tasks {
        task.await?;
    }
    Ok(())
}

/// However rare calls are, the wish to stop is heard this often.
const LOOK: Duration = Duration::from_millis(100);
/// Longer times are counted as that, or as the time-out if it is longer.
const LONGEST: Duration = Duration::from_secs(60);

/// What the tasks of a thread share.
struct Thread {
    keys: RefCell<Keys>,
    tally: RefCell<Tally>,
    span: Span,
    job: Arc<Job>,
}

impl Thread {
    /// The time, while calls are to be begun.
    fn now(&self) -> Option<Instant> {
        let now = Instant::now();
        (now < self.span.end && !self.job.live.stop.load(Ordering::Relaxed)).then_some(now)
    }

    async fn call(&self, connection: &Connection, planned: Instant) {
        let message = self.job.messages.of(self.keys.borrow_mut().draw());
        let answer = tokio::time::timeout(self.job.timeout, connection.ask(message));
        let outcome = answer.await.unwrap_or(Outcome::Failed(Code::DeadlineExceeded));
        let live = &self.job.live;
        let count = match outcome {
            Outcome::Failed(_) => &live.failed,
            Outcome::Allowed | Outcome::Refused => &live.answered,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let mut tally = self.tally.borrow_mut();
        match planned < self.span.measured {
            true => tally.warm_up += 1,
            false => tally.record(outcome, planned.elapsed()),
        }
    }

    fn note_late(&self, planned: Instant) {
        if planned >= self.span.measured {
            self.tally.borrow_mut().record_late(planned.elapsed());
        }
    }

    fn miss(&self, planned: Instant) {
        self.job.live.missed.fetch_add(1, Ordering::Relaxed);
        if planned >= self.span.measured {
            self.tally.borrow_mut().missed += 1;
        }
    }
}

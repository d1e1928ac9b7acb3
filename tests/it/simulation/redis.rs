//! The simulated Redis: one server with a clock of its own, which may die, come back with or
//! without its data, and tells all who listen of what is given back.
//!
//! It takes bytes, and runs the script; or batches, and the memory store counts, which runs the
//! same steps (a test of both stores holds them equal). As in Redis, a counter of a fixed window has the window in its
//! name, and all others go by the server's clock.

mod keyspace;
mod lua;
mod resp;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tidegate::clock::Timestamp;
use tidegate::limiter::{Action, Batch, Operation, Window};
use tidegate::rules::Algorithm;
use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::store::{Counts, Refusals, Store};
use tokio::time::{Instant, sleep};

pub(super) use session::Session;

/// Longer than anything that is simulated.
const FOR_EVER: Window = Window::from_secs(1 << 40);

/// The server.
pub(super) struct Redis {
    state: Mutex<State>,
    began: Instant,
    epoch: Timestamp,
    /// How many parts of a million its clock is too fast.
    drift: i64,
}

struct State {
    data: Arc<MemoryStore>,
    /// Microseconds that its clock was set forward, or back.
    stepped: i64,
    is_up: bool,
    /// Goes up whenever it dies.
    boots: u64,
    /// What each counter of a fixed window holds, and when it was last given back to.
    held: HashMap<Vec<u8>, Held>,
    listeners: Vec<Arc<Refusals>>,
    /// What is held for those who send bytes.
    context: lua::Context,
    /// The name of the script that it knows.
    script: Option<Vec<u8>>,
    sessions: u64,
    subscribers: Vec<session::Subscriber>,
    /// The hits that were ever sent for a counter.
    sent: HashMap<Vec<u8>, u64>,
    problem: Option<String>,
}

/// A counter of a fixed window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Its hits.
    pub(super) after: u64,
    /// When hits were given back to it.
    pub(super) given_back: Option<Instant>,
    /// Whether all who listen were told of it, or know that they are deaf.
    pub(super) is_told: bool,
}

impl Default for Held {
    fn default() -> Self {
        Self { after: 0, given_back: None, is_told: true }
    }
}

/// The name of a counter in the server.
pub(super) fn name(batch: &Batch, operation: &Operation) -> Vec<u8> {
    let mut name = batch.key(operation).to_vec();
    if operation.meter.algorithm == Algorithm::FixedWindow {
        name.extend_from_slice(operation.meter.window.start(batch.now).to_string().as_bytes());
    }
    name
}

fn empty() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(MemoryConfig { max_counters: 10_000 }))
}

impl Redis {
    /// A server whose clock reads `epoch` now.
    pub(super) fn new(epoch: Timestamp, drift: i64) -> Arc<Self> {
        let state = State {
            data: empty(),
            stepped: 0,
            is_up: true,
            boots: 0,
            held: HashMap::new(),
            listeners: Vec::new(),
            context: lua::Context::default(),
            script: None,
            sessions: 0,
            subscribers: Vec::new(),
            sent: HashMap::new(),
            problem: None,
        };
        Arc::new(Self { state: Mutex::new(state), began: Instant::now(), epoch, drift })
    }

    /// The time by its clock.
    pub(super) fn now(&self) -> Timestamp {
        self.at(self.state.lock().stepped)
    }

    /// The time by its clock, had nobody ever set it.
    pub(super) fn smooth(&self) -> Timestamp {
        self.at(0)
    }

    fn at(&self, stepped: i64) -> Timestamp {
        let passed = self.began.elapsed().as_micros() as i64;
        let passed = passed + passed * self.drift / 1_000_000 + stepped;
        Timestamp::from_micros(self.epoch.as_micros().saturating_add_signed(passed))
    }

    /// Which of its lives it is in, if it lives.
    pub(super) fn boot(&self) -> Option<u64> {
        let state = self.state.lock();
        state.is_up.then_some(state.boots)
    }

    /// Sets its clock.
    pub(super) fn step_clock(&self, by: i64) {
        self.state.lock().stepped += by;
    }

    /// It dies; tells whether it lived.
    pub(super) fn die(&self) -> bool {
        let mut state = self.state.lock();
        state.boots += 1;
        state.script = None;
        std::mem::replace(&mut state.is_up, false)
    }

    /// It comes back with what it held.
    pub(super) fn come_back(&self) {
        self.state.lock().is_up = true;
    }

    /// It loses what it holds, which nobody knows who has not yet lost the connection.
    pub(super) fn forget(&self) {
        let mut state = self.state.lock();
        state.data = empty();
        state.context = lua::Context::default();
        let now = Some(Instant::now());
        state.held.values_mut().for_each(|held| {
            *held = Held { given_back: now, ..Held::default() };
        });
    }

    /// One more who hears of what is given back.
    pub(super) fn tell(&self, listener: Arc<Refusals>) {
        self.state.lock().listeners.push(listener);
    }

    /// It forgets its scripts.
    pub(super) fn flush_scripts(&self) {
        self.state.lock().script = None;
    }

    /// What is wrong with what it holds, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        self.state.lock().problem.clone()
    }

    /// Hits are on their way to a counter.
    pub(super) fn sent(&self, name: Vec<u8>, hits: u64) {
        *self.state.lock().sent.entry(name).or_default() += hits;
    }

    /// They are certainly not counted.
    pub(super) fn not_counted(&self, name: &[u8], hits: u64) {
        if let Some(sent) = self.state.lock().sent.get_mut(name) {
            *sent -= hits;
        }
    }

    /// Somebody was not told of what was given back to a counter, and does not know it.
    fn not_told(&self, name: &[u8]) {
        self.state.lock().held.entry(name.to_vec()).or_default().is_told = false;
    }

    /// What a counter of a fixed window holds.
    pub(super) fn held(&self, name: &[u8]) -> Held {
        self.state.lock().held.get(name).copied().unwrap_or_default()
    }

    /// Applies a batch now.
    pub(super) fn apply(&self, batch: &Batch) -> Counts {
        let mut state = self.state.lock();
        let mut named = Batch::new(self.at(state.stepped));
        named.refused_sets = batch.refused_sets;
        for operation in batch.operations() {
            let mut new = operation.again();
            if operation.meter.algorithm == Algorithm::FixedWindow {
                new.meter.window = FOR_EVER;
            }
            let name = name(batch, operation);
            named.push(new, |key| key.extend_from_slice(&name));
        }
        let counts = state.data.apply(&named).now_or_never().expect("memory answers at once");
        for (operation, count) in named.operations().iter().zip(&counts) {
            let name = named.key(operation).to_vec();
            let is_return = !matches!(operation.action, Action::Spend(_));
            if let (Algorithm::FixedWindow, Ok(count)) = (operation.meter.algorithm, count) {
                let held = state.held.entry(name.clone()).or_default();
                held.after = count.after;
                held.given_back = if is_return { Some(Instant::now()) } else { held.given_back };
            }
            if is_return {
                state.announce(name);
            }
        }
        // A set that is refused takes back what its first operations say that they spent.
        for operation in named.operations() {
            if operation.meter.algorithm == Algorithm::FixedWindow {
                let after = state.look(&named, operation);
                state.held.entry(named.key(operation).to_vec()).or_default().after = after;
            }
        }
        counts
    }
}

impl State {
    /// What a counter holds, by looking.
    fn look(&self, batch: &Batch, operation: &Operation) -> u64 {
        let mut look = Batch::new(batch.now);
        let new = tidegate::limiter::NewOperation {
            action: Action::Spend(0),
            set: 0,
            ..operation.again()
        };
        look.push(new, |key| key.extend_from_slice(batch.key(operation)));
        let mut counts = self.data.apply(&look).now_or_never().expect("memory answers at once");
        counts.pop().and_then(Result::ok).map_or(0, |count| count.after)
    }

    /// Tells all, each after a while.
    fn announce(&self, name: Vec<u8>) {
        // By its name: batches come in an order of hashes.
        let luck: u64 = name.iter().map(|byte| u64::from(*byte)).sum();
        for (at, listener) in (0..).zip(&self.listeners) {
            let (listener, name) = (Arc::clone(listener), name.clone());
            let delay = Duration::from_millis((luck * 7 + at * 3) % 10);
            tokio::spawn(async move {
                sleep(delay).await;
                listener.forget(&name);
            });
        }
    }
}

//! One schedule, made of a seed: some replicas, and what happens to them step by step.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tidegate::clock::Timestamp;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::callers::Question;
use super::link::{Depth, State, Weather};
use super::oracle::{Figures, Oracle};
use super::redis::Redis;
use super::replica::{Replica, Shared};
use super::rules::{ALL, Common, EACH, Kind};

pub(super) const MS: Duration = Duration::from_millis(1);
const EPOCH: Timestamp = Timestamp::from_secs(1_700_000_000);

/// A world.
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) shared: Shared,
    pub(super) replicas: Vec<Arc<Replica>>,
    /// The limits that requests are about.
    pub(super) kinds: Vec<Kind>,
    callers: JoinSet<()>,
    /// Those who wait for each replica.
    waiting: Vec<Vec<AbortHandle>>,
    common: Common,
    /// Whether there is much ado about one limit all the time.
    is_busy: bool,
    faults: Faults,
    processes: u64,
    step: usize,
    trace: Trace,
}

/// What may go wrong in a schedule. Without losses and steps the bounds are narrower.
#[derive(Clone, Copy, Debug)]
struct Faults {
    connections: bool,
    restarts: bool,
    losses: bool,
    server_clock: bool,
    clocks: bool,
    crashes: bool,
    reloads: bool,
}

/// What has happened, told or digested.
pub(super) struct Trace {
    pub(super) is_told: bool,
    pub(super) digest: u64,
}

impl Trace {
    fn note(&mut self, step: usize, event: &dyn Debug) {
        let text = format!("{step}: {event:?}");
        for byte in text.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.is_told {
            println!("{text}");
        }
    }
}

#[derive(Debug)]
enum Event {
    Ask(usize, Question),
    Connection(usize, usize, State),
    Dies { loses: bool },
    ComesBack,
    ServerClock(i64),
    Flush,
    Clock(usize, i64),
    Crash(usize),
    Drain(usize),
    Reload(usize),
    Weather(Weather),
}

fn weather(rng: &mut Rng) -> Weather {
    Weather {
        delay: MS * [0, 2, 8, 30][rng.usize(..4)],
        lost_requests: if rng.bool() { rng.u8(0..15) } else { 0 },
        lost_answers: if rng.bool() { rng.u8(0..30) } else { 0 },
    }
}

impl World {
    /// The beginning of a schedule.
    pub(super) fn new(seed: u64, depth: Depth, is_told: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut some = || rng.bool();
        let faults = Faults {
            connections: some(),
            restarts: some(),
            losses: some() && some(),
            server_clock: some() && some(),
            clocks: some(),
            crashes: some(),
            reloads: some(),
        };
        let replicas = rng.u32(1..=4);
        let redis = Redis::new(EPOCH, rng.i64(-500..=500));
        let oracle = Oracle::new(&redis, replicas);
        let weather = Arc::new(Mutex::new(weather(&mut rng)));
        let mut kinds = if rng.u8(0..4) == 0 { ALL.to_vec() } else { EACH.to_vec() };
        rng.shuffle(&mut kinds);
        let is_busy = rng.u8(0..3) == 0;
        kinds.truncate(if is_busy { 1 } else { rng.usize(1..=4) });
        let mut world = Self {
            common: Common::new(&mut rng),
            shared: Shared { redis, oracle, weather, replicas, depth },
            replicas: Vec::new(),
            kinds,
            callers: JoinSet::new(),
            waiting: vec![Vec::new(); replicas as usize],
            is_busy,
            faults,
            processes: 0,
            step: 0,
            trace: Trace { is_told, digest: 0xcbf2_9ce4_8422_2325 },
            rng,
        };
        world.trace.note(0, &(depth, &world.common, &world.faults, &world.kinds, replicas));
        for _ in 0..replicas {
            let replica = world.start();
            world.replicas.push(replica);
        }
        world
    }

    fn start(&mut self) -> Arc<Replica> {
        self.processes += 1;
        let replica = Replica::start(&self.shared, self.processes, &mut self.rng);
        replica.load(self.common.files(&self.kinds, &mut self.rng));
        if self.faults.clocks {
            replica.set_clock(self.rng.i64(-300_000..300_000));
        }
        replica
    }

    /// What happened, in one number.
    pub(super) fn digest(&self) -> u64 {
        self.trace.digest
    }

    /// How much happened.
    pub(super) fn figures(&self) -> Figures {
        self.shared.oracle.figures()
    }

    /// Plays the schedule to its end.
    ///
    /// # Errors
    ///
    /// What did not hold, and after which step.
    pub(super) async fn play(&mut self) -> Result<(), String> {
        let mut is_storm = self.is_busy;
        let mut favourite = self.rng.usize(..self.replicas.len());
        for step in 1..=self.rng.usize(30..=50) {
            self.step = step;
            let pause = match self.rng.u8(0..100) {
                0..6 => self.rng.u32(100..2500),
                _ if self.is_busy => self.rng.u32(0..150),
                _ => self.rng.u32(0..40),
            };
            sleep(MS * pause).await;
            is_storm ^= !self.is_busy && self.rng.u8(0..12) == 0;
            if self.rng.u8(0..10) == 0 {
                favourite = self.rng.usize(..self.replicas.len());
            }
            let at = match self.rng.u8(0..4) {
                0 => self.rng.usize(..self.replicas.len()),
                _ => favourite,
            };
            for _ in 0..self.rng.usize(0..if is_storm { 16 } else { 4 }) {
                let question = Question::random(&self.kinds, &mut self.rng);
                self.happen(Event::Ask(at, question));
            }
            if let Some(event) = self.event(at) {
                self.happen(event);
            }
            if step.is_multiple_of(8) {
                for replica in &self.replicas {
                    tokio::spawn(Arc::clone(replica).tend());
                }
            }
            self.checked()?;
        }
        self.end().await
    }

    /// Nothing is wrong so far.
    pub(super) fn checked(&mut self) -> Result<(), String> {
        while let Some(ended) = self.callers.try_join_next() {
            noted(ended);
        }
        let problem = self.shared.oracle.problem();
        problem.map_or(Ok(()), |problem| Err(format!("step {}: {problem}", self.step)))
    }

    /// All callers have their answer.
    pub(super) async fn answered(&mut self) -> Result<(), String> {
        let all = async {
            while let Some(ended) = self.callers.join_next().await {
                noted(ended);
            }
        };
        // The longest that a deadline may be, many times over.
        let in_time = tokio::time::timeout(Duration::from_secs(5), all).await;
        in_time.map_err(|_| format!("{} callers are stuck", self.callers.len()))?;
        self.checked()
    }

    /// What else happens in a step, mostly nothing.
    fn event(&mut self, at: usize) -> Option<Event> {
        let Faults { connections, restarts, losses, server_clock, clocks, crashes, reloads } =
            self.faults;
        if self.shared.redis.boot().is_none() && self.rng.u8(0..4) == 0 {
            return Some(Event::ComesBack);
        }
        let rng = &mut self.rng;
        Some(match rng.u8(0..100) {
            0..10 if connections => {
                let state = [State::Up, State::Up, State::Down, State::Silent][rng.usize(..4)];
                let which = rng.usize(..self.replicas[at].link.connections());
                Event::Connection(at, which, state)
            }
            10..14 if restarts => Event::Dies { loses: losses && rng.bool() },
            14..17 if server_clock => Event::ServerClock(rng.i64(-3_000_000..3_000_000)),
            17..21 if clocks => Event::Clock(at, rng.i64(-2_000_000..2_000_000)),
            21..23 if crashes => Event::Crash(at),
            23..25 if crashes => Event::Drain(at),
            25..29 if reloads => Event::Reload(at),
            29..32 => Event::Weather(weather(rng)),
            32..34 if restarts => Event::Flush,
            _ => return None,
        })
    }

    fn happen(&mut self, event: Event) {
        self.trace.note(self.step, &event);
        let Shared { redis, oracle, .. } = &self.shared;
        match event {
            Event::Ask(at, question) => {
                let asking = question.ask(Arc::clone(&self.replicas[at]), Arc::clone(oracle));
                let handle = self.callers.spawn(async { drop(asking.await) });
                self.waiting[at].retain(|handle| !handle.is_finished());
                self.waiting[at].push(handle);
            }
            Event::Connection(at, which, state) => self.replicas[at].link.put(which, state),
            Event::Dies { loses } => {
                if redis.die() {
                    self.put_all(State::Down);
                }
                if loses {
                    self.shared.redis.forget();
                    self.shared.oracle.disturbed(true);
                }
            }
            Event::ComesBack => {
                redis.come_back();
                self.put_all(State::Up);
            }
            Event::ServerClock(by) => {
                redis.step_clock(by);
                // Keys with an end meet it early.
                oracle.disturbed(by > 0 && self.shared.depth == Depth::Bytes);
            }
            Event::Flush => redis.flush_scripts(),
            Event::Clock(at, skew) => self.replicas[at].set_clock(skew),
            Event::Crash(at) => {
                self.waiting[at].drain(..).for_each(|caller| caller.abort());
                self.replicas[at].link.die();
                self.replicas[at] = self.start();
            }
            Event::Drain(at) => {
                let fresh = self.start();
                tokio::spawn(std::mem::replace(&mut self.replicas[at], fresh).drain());
            }
            Event::Reload(at) => {
                let rules = self.common.files(&self.kinds, &mut self.rng);
                self.replicas[at].load(rules);
            }
            Event::Weather(weather) => *self.shared.weather.lock() = weather,
        }
    }

    /// Puts all connections into a state.
    pub(super) fn put_all(&self, state: State) {
        for replica in &self.replicas {
            (0..replica.link.connections()).for_each(|at| replica.link.put(at, state));
        }
    }
}

/// A caller may be gone, but has not failed.
fn noted(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        assert!(error.is_cancelled(), "{error}");
    }
}

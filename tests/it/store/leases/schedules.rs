//! Random schedules, by seed: processes that come, crash, idle and change their limits, over
//! a network that delays and loses, with clocks that disagree. Never over.

use std::collections::BTreeMap;

use fastrand::Rng;
use tidegate::limiter::Window;
use tidegate::telemetry::LeaseStats;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;

const RUNS: u64 = 100;
const MS: Duration = Duration::from_millis(1);

/// What callers were told, and when by which clock.
#[derive(Default)]
struct Witness {
    /// Admitted hits with the microsecond of the counter's clock.
    admitted: Vec<(u64, u64)>,
    /// Hits that callers have tried to give back, the same.
    given_back: Vec<(u64, u64)>,
    leased: u64,
}

/// A world of one limit.
struct Run {
    rng: Rng,
    server: Arc<Server>,
    weather: Weather,
    meter: Meter,
    /// The largest rate so far.
    most: u64,
    replicas: Vec<Arc<Replica>>,
    /// Microseconds that the clock of each is ahead of or behind the server's.
    skews: Vec<i64>,
    /// Whether rules change, and callers give back. (The bounds are wider then.)
    reloads: bool,
    gives_back: bool,
    stats: LeaseStats,
}

impl Run {
    fn new(seed: u64, algorithm: usize) -> Self {
        let mut rng = Rng::with_seed(seed * 3 + algorithm as u64);
        let server = Server::new(EPOCH, rng.i64(-500..=500));
        let weather = Weather {
            delay: MS * rng.u32(0..20),
            lost_requests: rng.u8(0..6),
            lost_answers: rng.u8(0..6),
        };
        let window = Window::from_secs(rng.u64(2..4));
        let meter = Meter { window, ..meters(rng.u32(60..400))[algorithm] };
        let [reloads, gives_back] = [rng.u8(0..3) == 0, rng.u8(0..3) == 0];
        let mut run = Self {
            server,
            weather,
            meter,
            most: meter.rate.into(),
            replicas: Vec::new(),
            skews: Vec::new(),
            reloads,
            gives_back,
            stats: LeaseStats::default(),
            rng,
        };
        for _ in 0..run.rng.usize(1..=5) {
            let replica = run.start();
            run.replicas.push(replica);
            let skew = run.rng.i64(-300_000..300_000);
            run.skews.push(skew);
        }
        run
    }

    fn start(&mut self) -> Arc<Replica> {
        let config = LeaseConfig {
            period: MS * self.rng.u32(200..1000),
            replicas: self.rng.u32(1..6),
            max_leases: self.rng.usize(1..10),
        };
        Arc::new(Replica::new(&self.server, self.weather, config, self.rng.u64(..)))
    }

    fn now(&self, replica: usize) -> Timestamp {
        let micros = self.server.now().as_micros() as i64 + self.skews[replica];
        Timestamp::from_micros(micros as u64)
    }

    async fn play(&mut self) -> Witness {
        let mut calls = JoinSet::new();
        let mut witness = Witness::default();
        let busy = self.rng.usize(..self.replicas.len());
        let mut storm = false;
        for step in 0..self.rng.usize(80..240) {
            let pause = match self.rng.u8(0..100) {
                0..3 => self.rng.u32(100..2500),
                _ => self.rng.u32(0..40),
            };
            sleep(MS * pause).await;
            storm ^= self.rng.u8(0..20) == 0;
            let replica = match self.rng.bool() {
                true => busy,
                false => self.rng.usize(..self.replicas.len()),
            };
            for _ in 0..self.rng.usize(0..if storm { 30 } else { 4 }) {
                calls.spawn(self.call(replica));
            }
            self.happen(replica, step);
            while let Some(told) = calls.try_join_next() {
                self.note(told, &mut witness);
            }
        }
        while let Some(told) = calls.join_next().await {
            self.note(told, &mut witness);
        }
        witness
    }

    /// One caller, who may go away before the answer.
    fn call(&mut self, replica: usize) -> impl Future<Output = Told> + Send + 'static {
        let (meter, now, server) = (self.meter, self.now(replica), Arc::clone(&self.server));
        let patience = match self.rng.u8(0..20) {
            0 => MS * self.rng.u32(0..30),
            _ => Duration::from_secs(5),
        };
        let action = match self.rng.u8(0..25) {
            0 if self.gives_back => GiveBack(self.rng.u64(0..4)),
            _ => Spend(self.rng.u64(0..4)),
        };
        // Whoever gives back stands for himself.
        let is_set = matches!(action, Spend(_)) && self.rng.u8(0..6) == 0;
        let replica = Arc::clone(&self.replicas[replica]);
        async move {
            let entry = ("k", meter, action, LIMIT);
            let other = ("exact", meters(50)[0], Spend(1), Part { group: 1, quota: false });
            let set: &[Entry<'_>] = if is_set { &[entry, other] } else { &[entry] };
            let batch = leased(now, &[set]);
            let began = server.now();
            let answer = tokio::time::timeout(patience, replica.leases.apply(&batch)).await;
            let count = answer.ok().map(|mut counts| counts.remove(0));
            Told { action, began, asked: now, meter, count: count.and_then(Result::ok) }
        }
    }

    /// Whatever else happens.
    fn happen(&mut self, replica: usize, step: usize) {
        match self.rng.u8(0..100) {
            // A crash: what was held is gone.
            0 => {
                let fresh = self.start();
                let crashed = std::mem::replace(&mut self.replicas[replica], fresh);
                self.add(&crashed.stats());
            }
            // New rules.
            1 | 2 if self.reloads => {
                // (A smaller burst would forgive debts, however they are counted.)
                self.meter.rate = self.rng.u32(60..400);
                self.most = self.most.max(self.meter.rate.into());
            }
            // A clock that is set.
            3 => self.skews[replica] = self.rng.i64(-2_000_000..2_000_000),
            _ => {}
        }
        if step.is_multiple_of(8) {
            for at in 0..self.replicas.len() {
                let (one, now) = (Arc::clone(&self.replicas[at]), self.now(at));
                tokio::spawn(async move { one.leases.tend(now).await });
            }
        }
    }

    fn note(&self, told: Result<Told, tokio::task::JoinError>, witness: &mut Witness) {
        let Told { action, began, asked, meter, count } = told.expect("a call ends");
        let is_fixed = meter.algorithm == Algorithm::FixedWindow;
        match (action, count) {
            (GiveBack(hits), _) if !matches!(meter.algorithm, Algorithm::TokenBucket { .. }) => {
                let at = if is_fixed { asked } else { began };
                witness.given_back.push((at.as_micros(), hits));
            }
            (Spend(hits), Some(count)) if count.admitted && count.spent => {
                let is_leased = count.source == Source::Lease;
                let at = match (is_fixed, is_leased) {
                    (true, _) => asked,
                    (false, true) => began,
                    (false, false) => count.at,
                };
                witness.admitted.push((at.as_micros(), hits));
                witness.leased += if is_leased { hits } else { 0 };
            }
            _ => {}
        }
    }

    fn add(&mut self, stats: &LeaseStats) {
        self.stats.spent += stats.spent;
        self.stats.taken += stats.taken;
        self.stats.given_back += stats.given_back;
        self.stats.lost += stats.lost;
        self.stats.granted += stats.granted;
        self.stats.refused += stats.refused;
        self.stats.unknown += stats.unknown;
    }

    fn check(&self, seed: u64, witness: &mut Witness) {
        match self.meter.algorithm {
            Algorithm::TokenBucket { .. } => self.check_bucket(seed, witness),
            _ => self.check_windows(seed, witness),
        }
    }

    /// No window admits more than the largest limit and what was given back.
    fn check_windows(&self, seed: u64, witness: &mut Witness) {
        let window = self.meter.window.as_micros();
        let sum = |of: &[(u64, u64)]| {
            let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
            of.iter().for_each(|(at, hits)| *sums.entry(at / window).or_default() += hits);
            sums
        };
        let back = sum(&witness.given_back);
        for (index, admitted) in sum(&witness.admitted) {
            // What is given back late, to a sliding window, counts in the one it was in.
            let near = index - 1..=index + 1;
            let back: u64 = back.range(near).map(|(_, hits)| hits).sum();
            let most = self.most + back;
            assert!(admitted <= most, "seed {seed}: {admitted} of {most}: {:?}", self.meter);
        }
        if self.meter.algorithm == Algorithm::SlidingWindow && !self.gives_back {
            self.check_weights(seed, &mut witness.admitted);
        }
    }

    /// At each hit, the window with the weighted one before it holds no more than the limit.
    fn check_weights(&self, seed: u64, admitted: &mut [(u64, u64)]) {
        let window = self.meter.window.as_micros();
        admitted.sort_unstable();
        let (mut index, mut this, mut before) = (0, 0, 0);
        for &(at, hits) in &*admitted {
            if at / window != index {
                before = if at / window == index + 1 { this } else { 0 };
                (index, this) = (at / window, 0);
            }
            this += hits;
            let weighted = before * (window - at % window - 1) / window;
            let (sum, most) = (this + weighted, self.most);
            assert!(hits == 0 || sum <= most, "seed {seed}: {this} + {weighted} of {most}");
        }
    }

    /// An ideal bucket of the largest rate is never overdrawn: so no span admits more
    /// than it may.
    fn check_bucket(&self, seed: u64, witness: &mut Witness) {
        let window = u128::from(self.meter.window.as_micros());
        let (rate, full) = (u128::from(self.most), u128::from(self.meter.size()) * window);
        witness.admitted.sort_unstable();
        let (mut level, mut then) = (full, 0);
        for &(at, hits) in &witness.admitted {
            level = full.min(level + rate * u128::from(at - then));
            let left = level.checked_sub(u128::from(hits) * window);
            level = left.unwrap_or_else(|| {
                panic!("seed {seed}: {hits} hits of {}: {:?}", level / window, self.meter)
            });
            then = at;
        }
    }
}

/// What a caller was told.
struct Told {
    action: Action,
    /// By the server's clock.
    began: Timestamp,
    /// By that of the process.
    asked: Timestamp,
    meter: Meter,
    count: Option<Count>,
}

fn schedules(algorithm: usize) {
    let (mut leased, mut sum) = (0, LeaseStats::default());
    for seed in 0..RUNS {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut run = Run::new(seed, algorithm);
            let mut witness = run.play().await;
            run.check(seed, &mut witness);
            leased += witness.leased;
            for at in 0..run.replicas.len() {
                run.add(&run.replicas[at].stats());
            }
            sum.taken += run.stats.taken;
            sum.spent += run.stats.spent;
            sum.given_back += run.stats.given_back;
            sum.refused += run.stats.refused;
            sum.unknown += run.stats.unknown;
        });
    }
    println!("{RUNS} schedules: {leased} hits by leases, {sum:?}");
    // The schedules do what they are for.
    assert!(leased > 5000 && sum.taken >= sum.spent, "{leased}: {sum:?}");
    assert!(sum.unknown > 50 && sum.refused > 0, "{sum:?}");
    assert!(algorithm == 2 || sum.given_back > 1000, "{sum:?}");
}

#[test]
fn fixed_windows_are_never_exceeded() {
    schedules(0);
}

#[test]
fn sliding_windows_are_never_exceeded() {
    schedules(1);
}

#[test]
fn buckets_are_never_exceeded() {
    schedules(2);
}

//! Keeps the facts about the store true, and the memory store small.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, select_all};
use tokio::sync::watch;

use super::counters::{innermost, leased};
use super::{Counters, Fronts};

use crate::clock::Clock;
use crate::health::Health;
use crate::server::status::{self, BEAT, Pulse};
use crate::store::memory::MemoryStore;
use crate::store::redis::Roll;
use crate::store::{AnyStore, Store, StoreError};

/// How old what health tells about a working store may be.
const FRESH: Duration = Duration::from_secs(10);
/// How often a silent store is asked again.
const RETRY: Duration = Duration::from_millis(250);
/// How long a store is silent before that is an outage.
const SILENT: Duration = Duration::from_secs(2);
/// How long it takes to look at every counter of the memory store, in small steps.
const SWEEP: Duration = Duration::from_secs(4);
/// The shortest rest between two of them: a round through more counters than one that was
/// made for ten million may hold takes longer instead.
const REST: Duration = Duration::from_millis(2);

/// Probes the store for ever, by the connections of all who decide. One that comes or goes
/// is a reason to look at once.
pub(super) async fn watch_store(fronts: Fronts, health: Arc<Health>) {
    let stores = || fronts.iter().map(|front| &front.service.store);
    let mut changes: Vec<Changes> = stores().map(|store| Changes::of(innermost(store))).collect();
    let mut outage = Outage::default();
    loop {
        // All are looked at, or they would wake us again.
        let connected: Vec<bool> = changes.iter_mut().map(Changes::is_connected).collect();
        let is_connected = !connected.contains(&false);
        let started = Instant::now();
        let probes: Result<Vec<()>, _> =
            join_all(stores().map(Store::probe)).await.into_iter().collect();
        let latency = started.elapsed();
        let circuits = stores().flat_map(|store| innermost(store).circuits());
        let open_circuits = circuits.filter(|circuit| circuit.is_open).count();
        outage.tell(fronts[0].service.store.name(), probes.is_ok());
        let wait = if probes.is_ok() && open_circuits == 0 { FRESH } else { RETRY };
        health.update(|facts| {
            facts.store.is_connected = is_connected;
            facts.store.open_circuits = open_circuits;
            facts.store.has_answered |= probes.is_ok();
            facts.store.fault = probes.err().map(|error| error.to_string());
            facts.store.latency = Some(latency);
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = select_all(changes.iter_mut().map(|changes| Box::pin(changes.next()))) => {}
        }
    }
}

/// Tells of a store that does not answer, once each time it falls silent for longer than a
/// restart takes: somebody should look at it.
#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
    is_told: bool,
}

impl Outage {
    fn tell(&mut self, store: &'static str, has_answered: bool) {
        if has_answered {
            if std::mem::take(self).is_told {
                tracing::info!(store, "the store answers again");
            }
            return;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.is_told && since.elapsed() >= SILENT {
            self.is_told = true;
            tracing::error!(store, "the store does not answer");
        }
    }
}

/// Connections that come and go.
enum Changes {
    None,
    OfOne(watch::Receiver<bool>),
    OfSeveral(watch::Receiver<usize>),
}

impl Changes {
    fn of(store: &AnyStore) -> Self {
        match store {
            AnyStore::Memory(_) => Self::None,
            AnyStore::Redis(redis) => Self::OfOne(redis.connected()),
            AnyStore::PerSecond(both) => Self::OfOne(both.connected()),
            AnyStore::Memcached(memcached) => Self::OfSeveral(memcached.connected()),
        }
    }

    /// Whether there is a connection now, where that is a question.
    fn is_connected(&mut self) -> bool {
        match self {
            Self::None | Self::OfSeveral(_) => true,
            Self::OfOne(connected) => *connected.borrow_and_update(),
        }
    }

    /// Waits for the next change; for ever where there is none.
    async fn next(&mut self) {
        let changed = match self {
            Self::None => return std::future::pending().await,
            Self::OfOne(connected) => connected.changed().await,
            Self::OfSeveral(connected) => connected.changed().await,
        };
        if changed.is_err() {
            std::future::pending().await
        }
    }
}

/// Looks at what every rule has counted, for ever.
pub(super) async fn feel_pulse(fronts: Fronts, pulse: Arc<Pulse>) {
    loop {
        if let Some(snapshot) = &*fronts[0].service.rules.load() {
            pulse.beat(Instant::now(), &snapshot.version, status::totals(snapshot));
        }
        tokio::time::sleep(BEAT).await;
    }
}

/// Says for ever that this replica is here, and has limits divided by how many there are. While
/// the store is away, what was known last holds.
pub(super) async fn keep_roll(fronts: Fronts, roll: Arc<Roll>) {
    let counters = &fronts[0].service.store;
    let Some(redis) = innermost(counters).roll() else { return };
    let mut is_refused = false;
    loop {
        let answer = redis.call_roll(&roll).await;
        if let Ok(Some(replicas)) = answer
            && counters.reserve.replicas() != replicas
        {
            tracing::info!(replicas, "so many replicas share the limits");
            counters.reserve.share_by(replicas);
            if let Some(table) = &leased(counters).table {
                table.share_by(replicas);
            }
        }
        if let Err(StoreError::Refused(reason)) = &answer
            && !is_refused
        {
            tracing::warn!(%reason, "replicas cannot be counted: set TIDEGATE_REPLICAS");
        }
        is_refused = matches!(answer, Err(StoreError::Refused(_)));
        let wait = if answer.is_ok() { roll.period() } else { RETRY.min(roll.period()) };
        tokio::time::sleep(wait).await;
    }
}

/// Says that this replica is here no longer, if there is time for that.
pub(super) async fn leave_roll(counters: &Counters, roll: Option<&Roll>, time: Duration) {
    if let (Some(redis), Some(roll)) = (innermost(counters).roll(), roll) {
        // Who is not heard is missed soon.
        let _ = tokio::time::timeout(time, redis.leave_roll(roll)).await;
    }
}

/// Gives back what is leased and not needed, for ever.
pub(super) async fn tend_leases(fronts: Fronts, clock: Clock) {
    let leases = leased(&fronts[0].service.store);
    let Some(table) = &leases.table else { return };
    loop {
        tokio::time::sleep(table.tending_interval()).await;
        leases.tend(clock.now()).await;
    }
}

/// Lets expired counters leave, for ever: a few at a time, on a thread that serves nobody.
pub(super) async fn sweep(store: Arc<MemoryStore>, clock: Clock) {
    let sweeps = u32::try_from(store.sweeps()).unwrap_or(u32::MAX);
    let rest = (SWEEP / sweeps).max(REST);
    loop {
        tokio::time::sleep(rest).await;
        let (store, now) = (Arc::clone(&store), clock.now());
        let swept = tokio::task::spawn_blocking(move || store.sweep(now));
        // A sweep that broke off is no reason not to go on with the next one.
        let _ = swept.await;
    }
}

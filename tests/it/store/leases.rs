//! Leases: what is spent from blocks has been counted before, whatever happens in between.

#![allow(clippy::print_stdout, reason = "figures that the documents quote")]

mod bounds;
mod commands;
mod lives;
mod proofs;
mod schedules;
mod sets;

use std::sync::Arc;
use std::time::Duration;

use tidegate::clock::Timestamp;
use tidegate::limiter::Action::{self, GiveBack, Spend};
use tidegate::limiter::{Batch, Count, Leeway, Meter, NewOperation, Part, Source};
use tidegate::rules::{Accuracy, Algorithm};
use tidegate::store::{LeaseConfig, LeaseTable, Leases, Store, StoreError};
use tidegate::telemetry::LeaseStats;

use super::{LIMIT, meter};
use crate::support::network::{Network, Server, Weather};

const EPOCH: Timestamp = Timestamp::from_secs(1_700_000_000);

/// A process that leases.
struct Replica {
    leases: Leases<Network>,
    table: Arc<LeaseTable>,
    server: Arc<Server>,
}

impl Replica {
    fn new(server: &Arc<Server>, weather: Weather, config: LeaseConfig, seed: u64) -> Self {
        let table = Arc::new(LeaseTable::new(config));
        let network = Network::new(server, weather, seed);
        let leases = Leases::new(network, Some(Arc::clone(&table)));
        Self { leases, table, server: Arc::clone(server) }
    }

    /// One of `replicas` on a network that does no harm.
    fn fine(server: &Arc<Server>, replicas: u32) -> Self {
        let config = LeaseConfig { replicas, ..LeaseConfig::default() };
        Self::new(server, Weather::FINE, config, 0)
    }

    /// Asks by the time of the server, as an operation that stands for itself.
    async fn ask(&self, meter: Meter, action: Action) -> Result<Count, StoreError> {
        let batch = leased(self.server.now(), &[&[("k", meter, action, LIMIT)]]);
        self.leases.apply(&batch).await.remove(0)
    }

    async fn hit(&self, meter: Meter) -> Count {
        self.ask(meter, Spend(1)).await.expect("an answer")
    }

    /// Asks so often, a millisecond apart, and tells how many were admitted.
    async fn hits(&self, meter: Meter, times: usize) -> u64 {
        let mut admitted = 0;
        for _ in 0..times {
            admitted += u64::from(self.hit(meter).await.admitted);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        admitted
    }

    fn stats(&self) -> LeaseStats {
        self.table.stats(self.server.now())
    }

    async fn tend(&self) {
        self.leases.tend(self.server.now()).await;
    }
}

/// What the server holds.
async fn held(server: &Server, meter: Meter) -> u64 {
    let look = leased(server.now(), &[&[("k", meter, Spend(0), LIMIT)]]);
    server.apply(&look).await.remove(0).expect("a count").after
}

type Entry<'a> = (&'a str, Meter, Action, Part);

/// Sets of operations that may all be leased but for keys that begin with `exact`.
fn leased(now: Timestamp, sets: &[&[Entry<'_>]]) -> Batch {
    let mut batch = Batch::new(now);
    for (set, entries) in (0..).zip(sets) {
        for &(key, meter, action, part) in *entries {
            let accuracy = match key.starts_with("exact") {
                true => Accuracy::Exact,
                false => Accuracy::Leased,
            };
            let leeway = Leeway { accuracy, ..Leeway::default() };
            let new = NewOperation { part, leeway, ..NewOperation::alone(meter, action, set) };
            batch.push(new, |out| out.extend_from_slice(key.as_bytes()));
        }
    }
    batch
}

/// One of each algorithm that admits so many in ten seconds, and a bucket that many at once.
fn meters(rate: u32) -> [Meter; 3] {
    [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: rate }]
        .map(|algorithm| meter(algorithm, rate, 10))
}

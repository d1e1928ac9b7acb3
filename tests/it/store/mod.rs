//! The stores: one contract for all, then what is particular to each.

mod agreement;
mod contract;
mod fallback;
mod leases;
mod memcached;
mod memory;
mod redis;
mod refusals;
mod schedules;
mod split;

use tidegate::clock::Timestamp;
use tidegate::limiter::{Action, Batch, Count, Meter, NewOperation, Part, Refused, Window};
use tidegate::rules::Algorithm;
use tidegate::store::redis::{RedisConfig, RedisStore, SocketType};
use tidegate::store::{Store, StoreError};

use crate::support::redis::RedisServer;

/// One operation: key, window in seconds, action.
type Line<'a> = (&'a str, u64, Action);

fn batch(secs: u64, lines: &[Line<'_>]) -> Batch {
    let mut batch = Batch::new(Timestamp::from_secs(secs));
    for (set, &(key, window, action)) in lines.iter().enumerate() {
        let meter = Meter { refused: Refused::Spend, ..meter(Algorithm::FixedWindow, 10, window) };
        batch.push(NewOperation::alone(meter, action, set as u16), |out| {
            out.extend_from_slice(key.as_bytes());
        });
    }
    batch
}

/// A meter that spares refused hits.
fn meter(algorithm: Algorithm, rate: u32, window_secs: u64) -> Meter {
    Meter { algorithm, rate, window: Window::from_secs(window_secs), refused: Refused::Spare }
}

/// One of each algorithm that admits five at once and five more in ten seconds.
fn five_in_ten() -> [Meter; 3] {
    let algorithms =
        [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: 5 }];
    algorithms.map(|algorithm| meter(algorithm, 5, 10))
}

/// One operation of a set: key, meter, action, and its part in refusing the set.
type Entry<'a> = (&'a str, Meter, Action, Part);

/// A limit that stands for itself.
const LIMIT: Part = Part { group: 0, quota: false };

fn batch_of_sets(micros: u64, sets: &[&[Entry<'_>]]) -> Batch {
    let mut batch = Batch::new(Timestamp::from_micros(micros));
    for (set, entries) in sets.iter().enumerate() {
        for &(key, meter, action, part) in *entries {
            let new = NewOperation { part, ..NewOperation::alone(meter, action, set as u16) };
            batch.push(new, |out| out.extend_from_slice(key.as_bytes()));
        }
    }
    batch
}

/// The counts of sets, where nothing may fail.
async fn counts(store: &impl Store, micros: u64, sets: &[&[Entry<'_>]]) -> Vec<Count> {
    let counts = store.apply(&batch_of_sets(micros, sets)).await;
    counts.into_iter().collect::<Result<_, _>>().expect("every operation counts")
}

/// The count of one operation.
async fn count(
    store: &impl Store,
    micros: u64,
    (key, meter): (&str, Meter),
    action: Action,
) -> Count {
    counts(store, micros, &[&[(key, meter, action, LIMIT)]]).await[0]
}

async fn apply(store: &impl Store, secs: u64, lines: &[Line<'_>]) -> Vec<Result<u64, StoreError>> {
    let counts = store.apply(&batch(secs, lines)).await;
    counts.into_iter().map(|count| count.map(|count| count.after)).collect()
}

/// The values after, where nothing may fail.
async fn values(store: &impl Store, secs: u64, lines: &[Line<'_>]) -> Vec<u64> {
    let counts = apply(store, secs, lines).await;
    counts.into_iter().collect::<Result<_, _>>().expect("every operation counts")
}

/// The address of a server, to be changed as a test needs it.
fn config(server: &RedisServer) -> RedisConfig {
    RedisConfig::new(&server.url(), SocketType::Tcp, None).expect("a good address")
}

/// A store that is connected.
async fn connect(config: RedisConfig) -> RedisStore {
    let store = RedisStore::connect(config);
    becomes(&store, true).await;
    store
}

/// Waits until the store is connected, or is not.
async fn becomes(store: &RedisStore, up: bool) {
    let mut connected = store.connected();
    let change = connected.wait_for(|now| *now == up);
    let change = tokio::time::timeout(std::time::Duration::from_secs(20), change).await;
    change.unwrap_or_else(|_| panic!("connected did not become {up}")).expect("a living store");
}

//! Counters in memcached: fixed windows, shared by all replicas, one round trip for a
//! batch and a second where a counter begins.
//!
//! The key of a counter is its counter key followed by the start of the window in decimal,
//! and several servers share the keys, both as envoyproxy/ratelimit has it. Unlike there
//! the answer follows from the increment itself, so a limit holds exactly; but memcached
//! drops counters when its memory is short, and all of them when it ends.

mod backoff;
mod command;
mod config;
mod counter;
mod dial;
#[doc(hidden)]
pub mod fuzz;
mod key;
mod link;
mod servers;
mod srv;
mod stats;

use std::fmt;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

pub use config::{MemcachedConfig, MemcachedConfigError, Servers, SrvQuery};
pub use stats::{Adds, Increments, MemcachedStats};

use command::Command;
use counter::Counter;
use link::{Deadline, Dialing};
use servers::{Fleet, Snapshot};
use stats::Tally;

use super::{Abilities, Counts, Store, StoreError};
use crate::limiter::{Batch, Count};

/// Counters in one memcached or in several.
///
/// It counts what [`Abilities::FixedWindows`] names; anything else is answered with
/// [`StoreError::Refused`], and nothing of it counts.
///
/// It never counts an operation twice: what timed out or broke is answered with an error
/// and not repeated, though it may have been counted. Without a connection to the server
/// of a counter its answer is [`StoreError::Unavailable`] and comes at once, and counters
/// of other servers go on; background tasks, which end with the store, connect again
/// about once a second at the latest.
pub struct MemcachedStore {
    config: Arc<MemcachedConfig>,
    fleet: Arc<Fleet>,
    tally: Arc<Tally>,
    _follower: Option<AbortOnDropHandle<()>>,
}

impl MemcachedStore {
    /// A store that connects in the background; absent servers are no error here.
    ///
    /// To be called within a Tokio runtime.
    pub fn connect(config: MemcachedConfig) -> Self {
        let tally = Arc::new(Tally::new());
        let fleet = Arc::new(Fleet::new(Dialing {
            tls: config.tls.clone(),
            timeout: config.connect_timeout,
            tally: Arc::clone(&tally),
        }));
        let follower = match &config.servers {
            Servers::Listed(addresses) => {
                fleet.replace(addresses);
                None
            }
            Servers::Srv(query) => Some(tokio::spawn(Arc::clone(&fleet).follow(query.clone()))),
        };
        Self {
            config: Arc::new(config),
            fleet,
            tally,
            _follower: follower.map(AbortOnDropHandle::new),
        }
    }

    /// Where the servers are, for logs.
    pub fn describe(&self) -> String {
        self.config.describe()
    }

    /// How many servers are connected, now and whenever that changes.
    pub fn connected(&self) -> watch::Receiver<usize> {
        self.tally.watch()
    }

    /// Facts for metrics, as of now.
    pub fn stats(&self) -> MemcachedStats {
        self.tally.read()
    }

    /// Applies operations on one counter, in order. After an error none is sent: what the
    /// counter holds is not known any more.
    async fn run(
        &self,
        batch: &Batch,
        (key, chain): (&[u8], &[usize]),
        (servers, deadline): (&Snapshot, Deadline),
    ) -> Vec<Result<Count, StoreError>> {
        let (config, tally) = (&self.config, &*self.tally);
        let counter =
            servers.holder(key).map(|link| Counter { key, link, deadline, tally, config });
        let mut counts: Vec<Result<Count, StoreError>> = Vec::with_capacity(chain.len());
        for at in chain {
            let count = match (&counter, counts.last()) {
                (Err(error), _) | (_, Some(Err(error))) => Err(error.clone()),
                (Ok(counter), _) => counter.apply(&batch.operations()[*at], batch.now).await,
            };
            counts.push(count);
        }
        counts
    }
}

impl fmt::Debug for MemcachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemcachedStore").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Store for MemcachedStore {
    async fn apply(&self, batch: &Batch) -> Counts {
        let around = (&self.fleet.snapshot(), Deadline::after(self.config.timeout));
        let impossible = || StoreError::Refused("memcached cannot count that".to_owned());
        let mut counts: Counts = batch.operations().iter().map(|_| Err(impossible())).collect();
        let keys: Vec<Vec<u8>> =
            batch.operations().iter().map(|operation| key::of(batch, operation)).collect();
        let possible = batch.sets().flat_map(|set| {
            let is_possible = counter::is_possible(set);
            set.iter().map(move |_| is_possible)
        });
        let mut order: Vec<usize> =
            possible.enumerate().filter(|(_, is)| *is).map(|(at, _)| at).collect();
        // Operations on one counter must see each other; all others go side by side.
        order.sort_by(|one, other| keys[*one].cmp(&keys[*other]));
        let chains: Vec<&[usize]> =
            order.chunk_by(|one, other| keys[*one] == keys[*other]).collect();
        // The command's own deadline goes before it, where nobody is in a hurry.
        let wait = batch.wait(Duration::MAX);
        let late = || Err(StoreError::Timeout(wait));
        let answers = join_all(chains.iter().map(async |chain| {
            let run = self.run(batch, (&keys[chain[0]], chain), around);
            let answers = tokio::time::timeout(wait, run).await;
            answers.unwrap_or_else(|_| iter::repeat_with(late).take(chain.len()).collect())
        }));
        for (at, answer) in order.iter().zip(answers.await.into_iter().flatten()) {
            counts[*at] = answer;
        }
        self.tally.failed(counts.iter().filter(|count| count.is_err()).count());
        counts
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let servers = self.fleet.snapshot();
        let deadline = Deadline::after(self.config.timeout);
        let servers = servers.all()?.iter();
        let answers = servers.map(|server| server.link.ask(Command::version(), deadline));
        join_all(answers).await.into_iter().try_for_each(|answer| answer.map(drop))
    }

    fn name(&self) -> &'static str {
        "memcached"
    }

    fn abilities(&self) -> Abilities {
        Abilities::FixedWindows
    }
}

//! Counters in Redis: shared by all replicas, one round trip for a batch.
//!
//! The Redis key of a fixed window is its counter key followed by the start of the window
//! in decimal; the other algorithms keep one key for all windows. One script call applies
//! whole batches, of all who came while the call before was under way, in a cluster what of
//! them belongs to one slot; each set stands alone, so an error of one does not hide
//! the others. A counter gets its end with the write that
//! begins it: no lost reply leaves one that stays for ever.

mod address;
mod breaker;
mod cluster;
mod config;
mod dial;
#[doc(hidden)]
pub mod fuzz;
mod group;
mod link;
mod login;
mod node;
mod per_second;
mod race;
mod reply;
mod roll;
mod script;
mod sentinel;
mod slots;
#[cfg(test)]
mod threads;
mod topology;
mod traffic;
mod wiring;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::redis::ServerError;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

pub use address::{Address, RedisConfigError, SocketType};
pub use breaker::Breaking;
pub use config::{Dialing, RedisConfig, ScriptClock, Topology};
pub use link::Circuit;
pub use login::{Credentials, Login};
pub use per_second::PerSecondStore;
pub use roll::Roll;
pub use traffic::Traffic;
pub use wiring::{Opening, Wiring};

use cluster::Cluster;
use dial::Dialer;
use group::{Group, Lane, all};
use link::Target;
use node::Node;

use super::refusals::Refusals;
use super::split;
use super::{Counts, Store, StoreError};
use crate::cells;
use crate::limiter::Batch;

/// Counters in one Redis or a Redis Cluster, or whatever speaks its protocol and runs its
/// scripts.
///
/// It never counts an operation twice: what timed out or broke is answered with an error
/// and not repeated, though it may have been counted. Without a connection every answer
/// is [`StoreError::Unavailable`] and comes at once; a background task, which ends with
/// the store, connects again, twice a second or more often.
///
/// In a cluster a batch goes to all slots at once; what one node fails to say is the error
/// of its operations only. A set whose counters live in several slots is reserved slot by
/// slot and undone if it is refused; it fails whole.
pub struct RedisStore {
    config: Arc<RedisConfig>,
    servers: Servers,
    errors: AtomicU64,
}

enum Servers {
    One(Group),
    Cluster { cluster: Arc<Cluster>, _keeper: AbortOnDropHandle<()> },
}

/// Facts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisStats {
    /// Connections opened since the start, to all servers.
    pub opened: u64,
    /// Connections open now: one for each server.
    pub active: u64,
    /// Operations answered with an error since the start.
    pub errors: u64,
}

impl RedisStore {
    /// A store that connects in the background; an absent Redis is no error here.
    ///
    /// To be called within a Tokio runtime.
    pub fn connect(config: RedisConfig) -> Self {
        Self::connect_for(config, None)
    }

    /// The same, and `refusals` hears of all that is given back, also by other processes.
    pub fn connect_for(config: RedisConfig, refusals: Option<Arc<Refusals>>) -> Self {
        let config = Arc::new(config);
        let dialer = Arc::new(Dialer { dialing: config.dialing.clone(), refusals });
        let servers = match &config.topology {
            Topology::Cluster(seeds) => {
                let cluster = Cluster::new(dialer, Arc::clone(&config), seeds.clone());
                let cluster = Arc::new(cluster);
                let keeper = tokio::spawn(Arc::clone(&cluster).keep());
                Servers::Cluster { cluster, _keeper: AbortOnDropHandle::new(keeper) }
            }
            Topology::Single(address) => {
                Servers::one(Target::Fixed(address.clone()), dialer, &config)
            }
            Topology::Sentinel { name, sentinels, login } => {
                let sentinels = (sentinels.clone(), login.clone());
                let target = Target::primary(name.clone(), sentinels, &config.dialing);
                Servers::one(target, dialer, &config)
            }
        };
        Self { config, servers, errors: AtomicU64::new(0) }
    }

    /// The address without credentials, for logs.
    pub fn describe(&self) -> String {
        self.config.describe()
    }

    /// Whether there is a connection that may be asked, in a cluster to the owner of every
    /// slot, now and whenever that changes.
    pub fn connected(&self) -> watch::Receiver<bool> {
        match &self.servers {
            Servers::One(group) => group.node().link().up(),
            Servers::Cluster { cluster, .. } => cluster.up(),
        }
    }

    /// The circuits to all servers that are known, as of now.
    pub fn circuits(&self) -> Vec<Circuit> {
        match &self.servers {
            Servers::One(group) => vec![group.node().link().circuit()],
            Servers::Cluster { cluster, .. } => cluster.circuits(),
        }
    }

    /// What was sent to all servers that are known, as of now.
    pub fn traffic(&self) -> Vec<Traffic> {
        match &self.servers {
            Servers::One(group) => vec![group.traffic()],
            Servers::Cluster { cluster, .. } => cluster.traffic(),
        }
    }

    /// Facts for metrics, as of now.
    pub fn stats(&self) -> RedisStats {
        let stats = match &self.servers {
            Servers::One(group) => RedisStats {
                opened: group.node().link().opened(),
                active: u64::from(group.node().link().is_connected()),
                errors: 0,
            },
            Servers::Cluster { cluster, .. } => cluster.stats(),
        };
        RedisStats { errors: self.errors.load(Ordering::Relaxed), ..stats }
    }
}

impl Servers {
    fn one(target: Target, dialer: Arc<Dialer>, config: &Arc<RedisConfig>) -> Self {
        let listener = dialer.refusals.as_ref().map(Refusals::listener);
        let node = Node::connect(target, dialer, Arc::new(Notify::new()), listener);
        Self::One(Group::new(node, Arc::clone(config)))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Store for RedisStore {
    async fn apply(&self, batch: &Batch) -> Counts {
        if batch.is_empty() {
            return Counts::new();
        }
        let counts = match &self.servers {
            Servers::One(group) => {
                let answer = group.apply(Lane::WHOLE, batch).await;
                answer.unwrap_or_else(|refusal| all(batch, &refused(&refusal)))
            }
            // Apart, as it is large: calls that do not need it would carry it around.
            Servers::Cluster { cluster, .. } => Box::pin(split::apply(cluster, batch)).await,
        };
        let errors = counts.iter().filter(|count| count.is_err()).count() as u64;
        if errors > 0 {
            self.errors.fetch_add(errors, Ordering::Relaxed);
        }
        counts
    }

    /// In a cluster every primary is asked, all at once.
    async fn probe(&self) -> Result<(), StoreError> {
        match &self.servers {
            Servers::One(group) => group.node().ping(self.config.timeout).await,
            Servers::Cluster { cluster, .. } => cluster.probe().await,
        }
    }

    fn name(&self) -> &'static str {
        "redis"
    }
}

fn refused(refusal: &ServerError) -> StoreError {
    StoreError::Refused(refusal.to_string())
}

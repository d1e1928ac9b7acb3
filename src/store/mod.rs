//! Where counters live: the trait [`Store`] and its promises.
//!
//! Promises, held by one contract suite over every store (`tests/it/store`) as far as its
//! [`Abilities`] go:
//!
//! - Answers come one per operation and in order; one failure does not hide the others.
//! - An operation counts once or, when it answers with an error, at most once; a store
//!   never repeats an operation whose outcome is unknown.
//! - A set of several operations spends all or nothing: if it is refused or one of its
//!   counters fails, none of them changes (and in the second case all answer with errors).
//! - Concurrent sets behave as if run one after the other.
//! - Where the counters of a set live in several shards of a store, the last two hold with
//!   less: what cannot be taken back, as a reply or a connection was lost, stays spent; and
//!   while one set holds hits that it will give back, another one may be refused for them.
//!   Neither admits more than a limit.
//! - A counter is kept for as long as it matters (until its window has ended, the one after
//!   a sliding window, or the bucket is full) and leaves by itself some time after.
//! - A clock that steps back makes nothing countable again: over all windows seen, no
//!   more than one limit each is admitted.
//! - `apply` ends within the store's deadline; dropping it early does no harm, though the
//!   operations may have been counted.

mod abilities;
mod any;
mod fallback;
mod hash_keys;
mod leases;
pub mod memcached;
pub mod memory;
pub mod redis;
pub mod refusals;
pub mod secret;
mod split;

pub use abilities::Abilities;
pub use any::AnyStore;
pub use fallback::{Fallback, FallbackConfig, Reserve, ReserveStats, Waits};
pub use hash_keys::HashKeys;
pub use leases::{LeaseConfig, LeaseTable, Leases};
pub use refusals::{RefusalCache, Refusals};

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::limiter::{Batch, Count};

/// One answer per operation of a batch.
pub type Counts = SmallVec<[Result<Count, StoreError>; 4]>;

/// Holds the counters.
pub trait Store: Send + Sync + 'static {
    /// Applies all operations, in order.
    fn apply(&self, batch: &Batch) -> impl Future<Output = Counts> + Send;

    /// Asks the store for a sign of life.
    fn probe(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What to call it: `memory`, `redis`, `memcached`.
    fn name(&self) -> &'static str;

    /// What it can count.
    fn abilities(&self) -> Abilities {
        Abilities::Everything
    }
}

impl<S: Store> Store for Arc<S> {
    async fn apply(&self, batch: &Batch) -> Counts {
        S::apply(self, batch).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        S::probe(self).await
    }

    fn name(&self) -> &'static str {
        S::name(self)
    }

    fn abilities(&self) -> Abilities {
        S::abilities(self)
    }
}

/// Why a store cannot say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is nobody to ask: no connection, or no trust in it. Nothing was counted.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The connection broke before the answer came; the operation may have been counted.
    #[error("the connection to the store broke: {0}")]
    Broken(String),
    /// No answer came in time; the operation may have been counted.
    #[error("the store did not answer within {0:?}")]
    Timeout(Duration),
    /// The store answered with an error of its own.
    #[error("the store refused: {0}")]
    Refused(String),
    /// The memory store holds as many counters as it may, none of them expired.
    #[error("the store is full: it holds its maximum of {0} counters")]
    Full(usize),
}

impl StoreError {
    /// Which kind it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Broken(_) => "broken",
            Self::Timeout(_) => "timeout",
            Self::Refused(_) => "refused",
            Self::Full(_) => "full",
        }
    }
}

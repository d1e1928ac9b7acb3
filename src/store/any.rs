//! The store that the settings chose.

use std::sync::Arc;

use super::memcached::MemcachedStore;
use super::memory::MemoryStore;
use super::redis::{Circuit, PerSecondStore, RedisStore, Traffic};
use super::{Abilities, Counts, Store, StoreError};
use crate::limiter::Batch;

/// One of the stores.
#[derive(Debug)]
pub enum AnyStore {
    /// In this process.
    Memory(Arc<MemoryStore>),
    /// In Redis.
    Redis(RedisStore),
    /// In Redis, the counters of one second in another one.
    PerSecond(PerSecondStore),
    /// In memcached.
    Memcached(MemcachedStore),
}

impl AnyStore {
    /// The Redis that can tell how many replicas there are, if one can.
    pub fn roll(&self) -> Option<&RedisStore> {
        match self {
            Self::Redis(store) => Some(store),
            Self::PerSecond(store) => Some(store.main()),
            Self::Memory(_) | Self::Memcached(_) => None,
        }
    }

    /// The circuits to its servers, where there are such.
    pub fn circuits(&self) -> Vec<Circuit> {
        match self {
            Self::Redis(store) => store.circuits(),
            Self::PerSecond(store) => store.circuits(),
            Self::Memory(_) | Self::Memcached(_) => Vec::new(),
        }
    }

    /// What was sent to its servers, where they are Redis.
    pub fn traffic(&self) -> Vec<Traffic> {
        match self {
            Self::Redis(store) => store.traffic(),
            Self::PerSecond(store) => store.traffic(),
            Self::Memory(_) | Self::Memcached(_) => Vec::new(),
        }
    }
}

impl Store for AnyStore {
    async fn apply(&self, batch: &Batch) -> Counts {
        match self {
            Self::Memory(store) => store.apply(batch).await,
            Self::Redis(store) => store.apply(batch).await,
            // Apart, as they are large: calls to the others would carry them around.
            Self::PerSecond(store) => Box::pin(store.apply(batch)).await,
            Self::Memcached(store) => Box::pin(store.apply(batch)).await,
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.probe().await,
            Self::Redis(store) => store.probe().await,
            Self::PerSecond(store) => store.probe().await,
            Self::Memcached(store) => store.probe().await,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Memory(store) => store.name(),
            Self::Redis(store) => store.name(),
            Self::PerSecond(store) => store.name(),
            Self::Memcached(store) => store.name(),
        }
    }

    fn abilities(&self) -> Abilities {
        match self {
            Self::Memory(store) => store.abilities(),
            Self::Redis(store) => store.abilities(),
            Self::PerSecond(store) => store.abilities(),
            Self::Memcached(store) => store.abilities(),
        }
    }
}

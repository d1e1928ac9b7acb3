//! Leases: blocks of hits that are taken from the store at once and spent here.
//!
//! Not built yet: every operation goes to the store.

use super::{Abilities, Counts, Store, StoreError};
use crate::limiter::Batch;

/// A store from which blocks of hits are taken, where a limit allows it.
#[derive(Debug)]
pub struct Leases<S> {
    /// Who counts.
    pub store: S,
}

impl<S: Store> Store for Leases<S> {
    async fn apply(&self, batch: &Batch) -> Counts {
        self.store.apply(batch).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.store.probe().await
    }

    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

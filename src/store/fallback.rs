//! What is answered when the store cannot say: what the limit says then.
//!
//! Not built yet: errors stay errors.

use super::{Abilities, Counts, Store, StoreError};
use crate::limiter::Batch;

/// A store whose failures are answered as the limits say.
#[derive(Debug)]
pub struct Fallback<S> {
    /// Who counts.
    pub store: S,
}

impl<S: Store> Store for Fallback<S> {
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

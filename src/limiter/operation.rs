//! What is asked of a store, and what it answers: the seam between the pure core and
//! the counters.

use std::ops::Range;

use smallvec::SmallVec;

use super::Window;
use crate::clock::Timestamp;

/// Operations on counters, applied in order, each alone.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The moment of the decision; windows and expiry follow from it.
    pub now: Timestamp,
    keys: SmallVec<[u8; 256]>,
    operations: SmallVec<[Operation; 4]>,
}

/// One operation on one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    key: Range<u32>,
    /// What a window admits.
    pub limit: u64,
    /// The length of the counter's windows.
    pub window: Window,
    /// What to do with the counter.
    pub action: Action,
}

/// What an operation does with the counter of the current window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Adds hits, whether or not they fit; 0 looks without spending. The counter
    /// saturates at [`COUNT_MAX`].
    Spend(u64),
    /// Takes hits back, never below zero.
    GiveBack(u64),
}

/// The largest count: what a Redis integer holds.
pub const COUNT_MAX: u64 = i64::MAX as u64;

/// The answer to one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The counter's value after the operation.
    pub after: u64,
}

impl Batch {
    /// An empty batch of that moment.
    pub fn new(now: Timestamp) -> Self {
        Self { now, ..Self::default() }
    }

    /// Adds an operation whose key `write` appends to the buffer.
    pub fn push(
        &mut self,
        limit: u64,
        window: Window,
        action: Action,
        write: impl FnOnce(&mut SmallVec<[u8; 256]>),
    ) {
        let start = self.keys.len() as u32;
        write(&mut self.keys);
        let key = start..self.keys.len() as u32;
        self.operations.push(Operation { key, limit, window, action });
    }

    /// The operations, in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The counter key of one of this batch's operations, without its window.
    pub fn key(&self, operation: &Operation) -> &[u8] {
        &self.keys[operation.key.start as usize..operation.key.end as usize]
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

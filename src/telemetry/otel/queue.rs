//! Items on their way to a collector: bounded, and whoever adds one never waits for more than
//! another who does.
//!
//! The thread that sends is woken when a whole portion waits, not by each item.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::counter::Counter;
use super::Batching;

/// A bounded queue.
pub(super) struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    ready: Notify,
    pub(super) batching: Batching,
    /// What found no place, or could not be sent.
    pub(super) dropped: Counter,
}

impl<T> Queue<T> {
    pub(super) fn new(batching: Batching) -> Self {
        let (items, ready, dropped) = Default::default();
        Self { items, ready, batching, dropped }
    }

    /// Adds an item, or counts it as dropped.
    pub(super) fn push(&self, item: T) {
        let mut items = self.items.lock();
        if items.len() >= self.batching.max_queue {
            drop(items);
            self.dropped.add(1);
            return;
        }
        items.push_back(item);
        let is_portion = items.len() == self.batching.max_batch;
        drop(items);
        if is_portion {
            self.ready.notify_one();
        }
    }

    /// Waits until a portion is there, or may be.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// The next portion.
    pub(super) fn take(&self) -> Vec<T> {
        let mut items = self.items.lock();
        let count = items.len().min(self.batching.max_batch);
        items.drain(..count).collect()
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("batching", &self.batching).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_finds_no_place_is_counted() {
        let batching = Batching { max_queue: 5, max_batch: 2, delay: Duration::ZERO };
        let queue = Queue::new(batching);
        (0..9).for_each(|item| queue.push(item));
        assert_eq!(queue.dropped.get(), 4);
        assert_eq!([queue.take(), queue.take(), queue.take()], [vec![0, 1], vec![2, 3], vec![4]]);
        assert!(queue.take().is_empty());
    }
}

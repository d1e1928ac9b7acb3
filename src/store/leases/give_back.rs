//! Giving back what is not spent: when demand falls or ends, when a limit changes, when the
//! process ends.
//!
//! Only windows: the tokens of a bucket come back by themselves, and giving them back would
//! repay the debts of others sooner than they know. What is given back is undone, as of the
//! moment it was counted: it weighs nothing in the window it was taken in, nor in the next.
//! Each is sent once; if its outcome is unknown it stays spent.

use std::time::Duration;

use futures_util::future::join_all;

use super::Leases;
use super::block::{Block, Moment};
use crate::clock::Timestamp;
use crate::limiter::{Action, Batch, Meter, NewOperation};
use crate::rules::Algorithm;
use crate::store::Store;

/// How many shards are looked through before others get a turn.
const SHARDS_AT_ONCE: usize = 8;
/// How many counters one batch gives back to.
const TOGETHER: usize = 250;

/// Hits on their way back.
#[derive(Debug)]
pub(super) struct Return {
    key: Box<[u8]>,
    meter: Meter,
    pub(super) hits: u64,
    /// When they were counted, by the store's clock and before that by ours.
    at: Timestamp,
    sent: Timestamp,
}

impl Return {
    /// What is left of a block.
    pub(super) fn new(key: &[u8], meter: Meter, block: &Block) -> Self {
        let Block { unspent: hits, at, sent, .. } = *block;
        Self { key: key.into(), meter, hits, at, sent: sent.now }
    }

    /// Whether it still matters to its counter.
    fn matters(&self, now: Timestamp) -> bool {
        let window = self.meter.window;
        match self.meter.algorithm {
            Algorithm::FixedWindow => window.start(now) == window.start(self.sent),
            Algorithm::SlidingWindow => now.since(self.sent).as_secs() / 2 <= window.as_secs(),
            Algorithm::TokenBucket { .. } => false,
        }
    }
}

impl<S: Store> Leases<S> {
    /// Gives back what is not needed, and forgets what is not asked for. To be called every
    /// [`tending_interval`](super::LeaseTable::tending_interval).
    pub async fn tend(&self, now: Timestamp) {
        let Some(table) = &self.table else { return };
        for shard in table.shards() {
            table.sweep(shard, &Moment::of(now));
            if shard % SHARDS_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        self.send_returns(now).await;
    }

    /// Takes no more blocks and gives everything back, as far as that goes `within` a time.
    /// Requests that come later are counted exactly.
    pub async fn give_back_all(&self, now: Timestamp, within: Duration) {
        let Some(table) = &self.table else { return };
        table.close();
        table.shards().for_each(|shard| table.empty(shard));
        // What is not answered by then is lost.
        let _ = tokio::time::timeout(within, self.send_returns(now)).await;
    }

    async fn send_returns(&self, now: Timestamp) {
        let Some(table) = &self.table else { return };
        let _turn = table.sending.lock().await;
        let mut returns = std::mem::take(&mut *table.returns.lock());
        returns.retain(|one| one.matters(now));
        join_all(returns.chunks(TOGETHER).map(|some| self.send(some, now))).await;
    }

    async fn send(&self, returns: &[Return], now: Timestamp) {
        let Some(table) = &self.table else { return };
        let mut batch = Batch::new(now);
        for (set, one) in (0..).zip(returns) {
            let action = Action::Undo { hits: one.hits, since: one.at };
            batch.push(NewOperation::alone(one.meter, action, set), |key| {
                key.extend_from_slice(&one.key);
            });
        }
        let counts = self.store.apply(&batch).await;
        for (one, count) in returns.iter().zip(&counts) {
            match count {
                Ok(_) => table.figures.given_back.add(one.hits),
                Err(_) => table.figures.lost.add(one.hits),
            }
        }
    }
}

//! Group commit: while a call is under way, whoever comes waits, and all of them go as the
//! next call.
//!
//! There is no timer: without a call under way the next one starts at once, so a lone
//! caller waits for nobody. Order is that of arrival. Each caller has a deadline of its own
//! from when it came; who goes away before its operations are sent is left out, afterwards
//! its answer is dropped. An error of the call is the error of all in it.
//!
//! How batches become one call stands in `call`; what becomes of the connection in `link`.

mod call;

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;

use parking_lot::Mutex;
use redis::Script;
use tokio::sync::{Notify, oneshot};

pub(super) use call::{Call, Place};

use super::node::Node;
use super::reply::Reply;
use super::{RedisConfig, ScriptClock};
use crate::limiter::Batch;
use crate::store::{Counts, StoreError};

/// How many operations go into one call. Redis does nothing else meanwhile, which is about
/// a millisecond. (One batch may have more.)
const OPERATIONS: usize = 1000;
/// How many batches may wait.
const WAITING: usize = 16 * 1024;

/// Callers of one server.
pub(super) struct Group {
    node: Node,
    script: Script,
    config: Arc<RedisConfig>,
    waiting: Mutex<VecDeque<Waiter>>,
    arrived: Notify,
}

struct Waiter {
    /// Apart, as it is large and waiters move.
    batch: Box<Batch>,
    answer: oneshot::Sender<Counts>,
}

impl Group {
    /// Callers of `node`. [`Group::serve`] answers them.
    pub(super) fn new(node: Node, script: Script, config: Arc<RedisConfig>) -> Self {
        Self { node, script, config, waiting: Mutex::default(), arrived: Notify::new() }
    }

    /// The server.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// Applies a batch, together with what others want meanwhile.
    pub(super) async fn apply(&self, batch: &Batch) -> Counts {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.len() >= WAITING {
                let reason = format!("{WAITING} requests are waiting for Redis");
                return all(batch, &StoreError::Unavailable(reason));
            }
            waiting.push_back(Waiter { batch: Box::new(batch.clone()), answer });
        }
        self.arrived.notify_one();
        match tokio::time::timeout(self.config.timeout, answered).await {
            Ok(Ok(counts)) => counts,
            Ok(Err(_)) => all(batch, &StoreError::Broken("the store has ended".into())),
            Err(_) => all(batch, &StoreError::Timeout(self.config.timeout)),
        }
    }

    /// Sends calls for as long as it is polled.
    pub(super) async fn serve(self: Arc<Self>) {
        let mut members = Vec::new();
        loop {
            self.gather(&mut members);
            if members.is_empty() {
                self.arrived.notified().await;
                continue;
            }
            let batches = members.iter().map(|waiter: &Waiter| &*waiter.batch);
            let call = Call::new(&self.script, batches, &self.config);
            let value = self.node.eval(self.config.timeout, &call.command).await;
            let reply = value.and_then(|value| Reply::read(&call, value));
            let mut places = &*call.places;
            for Waiter { batch, answer } in members.drain(..) {
                let (own, others) = places.split_at(batch.operations().len());
                places = others;
                let counts = match &reply {
                    Ok(reply) => reply.counts(&batch, own),
                    Err(error) => all(&batch, error),
                };
                // Who does not wait any more need not know.
                let _ = answer.send(counts);
            }
        }
    }

    /// Takes the members of the next call.
    fn gather(&self, members: &mut Vec<Waiter>) {
        let mut operations = 0;
        let mut waiting = self.waiting.lock();
        while let Some(next) = waiting.pop_front() {
            if next.answer.is_closed() {
                continue;
            }
            operations += next.batch.operations().len();
            let fits = members.first().is_none_or(|first| {
                let is_alike = match self.config.clock {
                    ScriptClock::Server => true,
                    ScriptClock::Batch => first.batch.now == next.batch.now,
                };
                is_alike && operations <= OPERATIONS
            });
            if !fits {
                waiting.push_front(next);
                break;
            }
            members.push(next);
        }
    }
}

/// The same error for every operation.
pub(super) fn all(batch: &Batch, error: &StoreError) -> Counts {
    iter::repeat_n(Err(error.clone()), batch.operations().len()).collect()
}

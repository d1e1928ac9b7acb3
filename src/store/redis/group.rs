//! Group commit: while calls to a server are under way, whoever comes waits, and all of them
//! go together.
//!
//! There is no timer: without a call under way the next one starts at once, so a lone
//! caller waits for nobody. Order is that of arrival. Each caller has a deadline of its own
//! from when it came, which may be sooner than that of the call; who goes away before its operations are sent is left out, afterwards
//! its answer is dropped. An error of the call is the error of all in it.
//!
//! A node of a cluster has a group as a single server has one. What goes to one slot is one
//! call, as a script may touch no more than that, and all calls that are due travel in one
//! write. (With a queue for each slot, of which there are thousands, most writes would carry
//! one call.) Each call has its own reply: one that is sent elsewhere delays no other.
//!
//! One round of calls is under way at a time. Two would be exact as well, as Redis runs them
//! in the order sent and each splits its own replies; but when it was measured they cost no
//! less and got no more requests through, and order of arrival would be harder to see.
//!
//! How batches become one call stands in `call`; what becomes of the connection in `link`.

mod call;

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;

use parking_lot::Mutex;
use redis::{Script, ServerError, Value};
use tokio::sync::{Notify, oneshot};
use tokio_util::task::AbortOnDropHandle;

pub(super) use call::{Call, Place};

use super::node::{Node, Round};
use super::reply::Reply;
use super::script;
use super::{RedisConfig, ScriptClock, Traffic};
use crate::limiter::Batch;
use crate::store::{Counts, StoreError};

/// A server and its callers.
pub(super) struct Group {
    queue: Arc<Queue>,
    _server: AbortOnDropHandle<()>,
}

/// What became of a batch. An error is a refusal of the call as a whole, of which nothing
/// was executed.
pub(super) type Answer = Result<Counts, ServerError>;

/// Batches of one lane may share a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    /// The slot of all counters, in a cluster.
    pub(super) slot: u16,
    pub(super) manner: Manner,
}

/// How a batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Manner {
    /// With others.
    Shared,
    /// As a call of its own.
    Alone,
    /// As a call of its own, to where its slot is moving.
    Asking,
}

struct Queue {
    node: Node,
    script: Script,
    config: Arc<RedisConfig>,
    waiting: Mutex<VecDeque<Waiter>>,
    arrived: Notify,
}

struct Waiter {
    lane: Lane,
    /// Apart, as it is large and waiters move.
    batch: Box<Batch>,
    answer: oneshot::Sender<Answer>,
}

impl Lane {
    /// The only one of a server that is no cluster.
    pub(super) const WHOLE: Self = Self { slot: 0, manner: Manner::Shared };
}

impl Group {
    /// Callers of `node`.
    pub(super) fn new(node: Node, config: Arc<RedisConfig>) -> Self {
        let queue = Arc::new(Queue {
            node,
            script: script::script(),
            config,
            waiting: Mutex::default(),
            arrived: Notify::new(),
        });
        let server = tokio::spawn(Arc::clone(&queue).serve());
        Self { queue, _server: AbortOnDropHandle::new(server) }
    }

    /// The server.
    pub(super) fn node(&self) -> &Node {
        &self.queue.node
    }

    /// What was sent to the server.
    pub(super) fn traffic(&self) -> Traffic {
        self.queue.node.link().traffic(self.queue.waiting.lock().len())
    }

    /// Applies a batch, together with what others want meanwhile.
    pub(super) async fn apply(&self, lane: Lane, batch: &Batch) -> Answer {
        let Queue { config, waiting, arrived, .. } = &*self.queue;
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = waiting.lock();
            if waiting.len() >= config.max_waiting {
                let reason = format!("{} requests are waiting for Redis", waiting.len());
                return Ok(all(batch, &StoreError::Unavailable(reason)));
            }
            waiting.push_back(Waiter { lane, batch: Box::new(batch.clone()), answer });
        }
        arrived.notify_one();
        let wait = batch.wait(config.timeout);
        match tokio::time::timeout(wait, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Ok(all(batch, &StoreError::Broken("the store has ended".into()))),
            Err(_) => Ok(all(batch, &StoreError::Timeout(wait))),
        }
    }
}

impl Queue {
    /// Sends calls for as long as it is polled.
    async fn serve(self: Arc<Self>) {
        let mut members: Vec<Waiter> = Vec::new();
        loop {
            self.gather(&mut members);
            if members.is_empty() {
                self.arrived.notified().await;
                continue;
            }
            // Within a lane they stay in the order in which they came.
            members.sort_by_key(|member| member.lane);
            let mut round = Round::default();
            let mut calls = Vec::new();
            for sharing in members.chunk_by(may_share) {
                let batches = sharing.iter().map(|member| &*member.batch);
                let (command, call) = Call::new(&self.script, batches, &self.config);
                match sharing[0].lane.manner {
                    Manner::Shared | Manner::Alone => round.add(command),
                    Manner::Asking => round.add_asking(command),
                }
                calls.push((sharing.len(), call));
            }
            let commands = round.len();
            let served = members.iter().map(|m| (m.batch.trace, m.batch.operations().len()));
            let trip = self.config.round_trips.begin(self.node.link().name(), served);
            let replies = self.node.eval(self.config.timeout, round).await;
            if let Some(trip) = trip {
                trip.end(calls.len(), replies.as_ref().err().map(StoreError::kind));
            }
            if !matches!(replies, Err(StoreError::Unavailable(_))) {
                let calls = calls.iter().map(|(batches, call)| (*batches, call.places.len()));
                self.node.link().meter().sent(commands, calls);
            }
            let mut replies = replies.map(Vec::into_iter);
            for (sharing, call) in calls {
                let reply = match &mut replies {
                    Ok(replies) => Ok(replies.next().unwrap_or(Value::Nil)),
                    Err(error) => Err(error.clone()),
                };
                answer(members.drain(..sharing), &call, reply);
            }
        }
    }

    /// Takes the members of the next calls.
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
                is_alike && operations <= self.config.max_operations_per_call
            });
            if !fits {
                waiting.push_front(next);
                break;
            }
            members.push(next);
        }
    }
}

fn may_share(one: &Waiter, other: &Waiter) -> bool {
    one.lane == other.lane && one.lane.manner == Manner::Shared
}

/// Answers those who shared a call, each with what is its own.
fn answer(members: impl Iterator<Item = Waiter>, call: &Call, reply: Result<Value, StoreError>) {
    let reply = match reply {
        Ok(Value::ServerError(refusal)) => Err(refusal),
        reply => Ok(reply.and_then(|value| Reply::read(call, value))),
    };
    let mut places = &*call.places;
    for Waiter { batch, answer, .. } in members {
        let (own, others) = places.split_at(batch.operations().len());
        places = others;
        let counts = match &reply {
            Ok(Ok(reply)) => Ok(reply.counts(&batch, own)),
            Ok(Err(error)) => Ok(all(&batch, error)),
            Err(refusal) => Err(refusal.clone()),
        };
        // Who does not wait any more need not know.
        let _ = answer.send(counts);
    }
}

/// The same error for every operation.
pub(super) fn all(batch: &Batch, error: &StoreError) -> Counts {
    iter::repeat_n(Err(error.clone()), batch.operations().len()).collect()
}

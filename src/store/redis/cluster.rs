//! Redis Cluster: counters spread over nodes by hash slot.
//!
//! A batch goes to each slot as one call, all at once; calls to one node follow each other
//! on its connection without waiting. Who owns which slot is a map that one background
//! task keeps (`learn`); callers only read it.
//!
//! A call that a node refuses because the slot is elsewhere was not executed, and follows
//! the slot, a few times and within its deadline. What timed out or broke may have been
//! executed and is answered with an error, never repeated. While slots move, a call on
//! several counters of which only some have moved is tried again for a moment and then
//! refused. After the death of a primary its slots are refused until the cluster has
//! promoted a replica; hits that the primary had not replicated by then are forgotten, as
//! by any Redis with replicas.

mod learn;
mod nodes;

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::{Cmd, Script, Value};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use nodes::{Map, Nodes, Owner};

use super::address::Address;
use super::config::RedisConfig;
use super::dial::Dialer;
use super::group::{Call, all};
use super::reply::Reply;
use super::slots::slot;
use super::topology::Direction;
use super::{Circuit, RedisStats, script};
use crate::limiter::{Batch, Operation};
use crate::store::refusals::Listener;
use crate::store::split::Shards;
use crate::store::{Counts, StoreError};

/// How often a call follows its slot without a wait: to where it has moved, and further to
/// where it is moving.
const HOPS: usize = 2;
/// The waits of a call whose slot is nowhere for now, or that is sent to and fro; after the
/// last one it is an error.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(20), Duration::from_millis(40)];
/// How long a call that was sent to a node without a connection waits for one, at most.
const ARRIVAL: Duration = Duration::from_millis(250);

/// The nodes of a cluster and what they own.
pub(super) struct Cluster {
    config: Arc<RedisConfig>,
    seeds: Vec<Address>,
    script: Script,
    map: ArcSwap<Map>,
    nodes: Nodes,
    /// The map is out of date.
    stale: Notify,
    /// A connection came or went.
    changed: Arc<Notify>,
    up: watch::Sender<bool>,
    /// Hears while all owners are heard.
    listener: Option<Mutex<Listener>>,
}

/// Where a call goes next.
struct Way {
    owner: Owner,
    /// The slot is only on its way there.
    asking: bool,
}

impl Cluster {
    /// Nodes yet to be found, which [`Cluster::keep`] does.
    pub(super) fn new(dialer: Arc<Dialer>, config: Arc<RedisConfig>, seeds: Vec<Address>) -> Self {
        let changed = Arc::new(Notify::new());
        let listener = dialer.refusals.as_ref().map(|refusals| Mutex::new(refusals.listener()));
        Self {
            listener,
            config,
            seeds,
            script: script::script(),
            map: ArcSwap::from_pointee(Map::default()),
            nodes: Nodes::new(dialer, Arc::clone(&changed)),
            stale: Notify::new(),
            changed,
            up: watch::Sender::new(false),
        }
    }

    /// Whether every slot has an owner and all owners are connected, now and later.
    pub(super) fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Connections to all nodes taken together; no errors, which are not counted here.
    pub(super) fn stats(&self) -> RedisStats {
        let (opened, active) = self.nodes.connections();
        RedisStats { opened, active, errors: 0 }
    }

    /// The circuits to all nodes.
    pub(super) fn circuits(&self) -> Vec<Circuit> {
        self.nodes.circuits()
    }

    /// Asks all owners of slots for a sign of life.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        let map = self.map.load_full();
        let pings = map.owners().map(|owner| owner.node.ping(self.config.timeout));
        let answers = join_all(pings).await;
        if answers.iter().any(Result::is_err) {
            self.stale.notify_one();
        }
        answers.into_iter().collect::<Result<(), _>>()?;
        if map.is_complete() { Ok(()) } else { Err(unowned()) }
    }

    /// Sends the call of a slot to whoever has it.
    async fn follow(&self, slot: u16, call: &Cmd) -> Result<Value, StoreError> {
        let deadline = Instant::now() + self.config.timeout;
        let late = |_| StoreError::Timeout(self.config.timeout);
        let mut waits = iter::repeat_n(Duration::ZERO, HOPS).chain(PAUSES);
        let mut way = self.way(slot)?;
        let mut reply = self.send(&way, call).await?;
        while let Some(direction) = Direction::read(&reply, &way.owner.address) {
            if !matches!(direction, Direction::Ask(_)) {
                self.stale.notify_one();
            }
            let wait = match &direction {
                Direction::Later(_) => waits.find(|wait| !wait.is_zero()),
                Direction::Moved(_) | Direction::Ask(_) => waits.next(),
            };
            let wait = wait.ok_or_else(|| StoreError::Unavailable(direction.to_string()))?;
            let again = async {
                tokio::time::sleep(wait).await;
                way = self.turn(slot, direction).await?;
                self.send(&way, call).await
            };
            reply = tokio::time::timeout_at(deadline, again).await.map_err(late)??;
        }
        Ok(reply)
    }

    /// The way to a slot after a node has refused its call.
    async fn turn(&self, slot: u16, direction: Direction) -> Result<Way, StoreError> {
        let way = match direction {
            Direction::Moved(address) => Way { owner: self.join(&address)?, asking: false },
            Direction::Ask(address) => Way { owner: self.join(&address)?, asking: true },
            Direction::Later(_) => self.way(slot)?,
        };
        // The node may be new to us; without a connection the call fails at once.
        let mut up = way.owner.node.link().up();
        let _ = tokio::time::timeout(ARRIVAL, up.wait_for(|up| *up)).await;
        Ok(way)
    }

    async fn send(&self, way: &Way, call: &Cmd) -> Result<Value, StoreError> {
        let Way { owner: Owner { node, .. }, asking } = way;
        let reply = match asking {
            true => node.eval_asking(self.config.timeout, call).await,
            false => node.eval(self.config.timeout, call).await,
        };
        if reply.is_err() {
            self.stale.notify_one();
        }
        reply
    }

    /// The way to a slot by the map.
    fn way(&self, slot: u16) -> Result<Way, StoreError> {
        match self.map.load().owner(slot) {
            Some(owner) => Ok(Way { owner: owner.clone(), asking: false }),
            None => {
                self.stale.notify_one();
                Err(unowned())
            }
        }
    }

    /// The node at an address that another node has named.
    fn join(&self, address: &Address) -> Result<Owner, StoreError> {
        let full = || StoreError::Unavailable("the cluster names too many nodes".into());
        self.nodes.join(address).ok_or_else(full)
    }
}

impl Shards for Cluster {
    type Shard = u16;

    fn shard(&self, batch: &Batch, operation: &Operation) -> u16 {
        slot(&script::key(batch, operation))
    }

    async fn call(&self, shard: u16, batch: &Batch) -> Counts {
        let call = Call::new(&self.script, iter::once(batch), &self.config);
        let reply = self.follow(shard, &call.command).await;
        match reply.and_then(|value| Reply::read(&call, value)) {
            Ok(reply) => reply.counts(batch, &call.places),
            Err(error) => all(batch, &error),
        }
    }

    fn timeout(&self) -> Duration {
        self.config.timeout
    }
}

fn unowned() -> StoreError {
    StoreError::Unavailable("no known node of the cluster has this slot".into())
}

//! Redis Cluster: counters spread over nodes by hash slot.
//!
//! What of a batch belongs to a slot goes to the node of that slot, all at once, and joins
//! there what others want of it meanwhile (`group`). Who owns which slot is a map that one
//! background task keeps (`learn`); callers only read it.
//!
//! A call that a node refuses because the slot is elsewhere was not executed. Each of those
//! who shared it follows the slot by itself, until it is late, and joins others where it
//! arrives. What timed out or broke may have been executed and is answered with an error,
//! never repeated. While slots move, a call on several counters of which only some have moved
//! is taken apart; what wants several such counters at once is tried again until it is late.
//! After the death of a primary its slots are refused until the cluster has promoted a
//! replica; hits that the primary had not replicated by then are forgotten, as by any Redis
//! with replicas.

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
use super::group::{Answer, Lane, Manner, all};
use super::slots::slot;
use super::topology::Direction;
use super::{Circuit, RedisStats, Traffic, refused, script};
use crate::limiter::{Batch, Operation};
use crate::store::refusals::Listener;
use crate::store::split::Shards;
use crate::store::{Counts, StoreError};

/// How often a call follows its slot without a wait: to where it has moved, and further to
/// where it is moving.
const HOPS: usize = 2;
/// The first waits of a call whose slot is nowhere for now, or that is sent to and fro; the
/// last one is repeated until the call is late.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(20), Duration::from_millis(40)];
/// How long a call that was sent to a node without a connection waits for one, at most.
const ARRIVAL: Duration = Duration::from_millis(250);

/// The nodes of a cluster and what they own.
pub(super) struct Cluster {
    config: Arc<RedisConfig>,
    seeds: Vec<Address>,
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

/// Where a batch goes next, and how.
struct Way {
    owner: Owner,
    lane: Lane,
}

impl Cluster {
    /// Nodes yet to be found, which [`Cluster::keep`] does.
    pub(super) fn new(dialer: Arc<Dialer>, config: Arc<RedisConfig>, seeds: Vec<Address>) -> Self {
        let changed = Arc::new(Notify::new());
        let listener = dialer.refusals.as_ref().map(|refusals| Mutex::new(refusals.listener()));
        Self {
            listener,
            nodes: Nodes::new(dialer, Arc::clone(&config), Arc::clone(&changed)),
            config,
            seeds,
            map: ArcSwap::from_pointee(Map::default()),
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

    /// What was sent to all nodes.
    pub(super) fn traffic(&self) -> Vec<Traffic> {
        self.nodes.traffic()
    }

    /// Asks all owners of slots for a sign of life.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        let map = self.map.load_full();
        let pings = map.owners().map(|owner| owner.node().ping(self.config.timeout));
        let answers = join_all(pings).await;
        if answers.iter().any(Result::is_err) {
            self.stale.notify_one();
        }
        answers.into_iter().collect::<Result<(), _>>()?;
        if map.is_complete() { Ok(()) } else { Err(unowned()) }
    }

    /// Calls a script for one key where that is, as far as is known.
    pub(super) async fn evaluate(
        &self,
        key: &[u8],
        script: &Script,
        call: &Cmd,
    ) -> Result<Value, StoreError> {
        let way = self.way(slot(key), Manner::Alone)?;
        let reply = way.owner.node().evaluate(self.config.timeout, script, call).await;
        if matches!(reply, Ok(Value::ServerError(_)) | Err(_)) {
            // The slot may be elsewhere: the next call finds it there.
            self.stale.notify_one();
        }
        reply
    }

    /// Sends what belongs to a slot to whoever has it.
    async fn follow(&self, slot: u16, batch: &Batch) -> Result<Counts, StoreError> {
        let wait = batch.wait(self.config.timeout);
        let deadline = Instant::now() + wait;
        let late = |_| StoreError::Timeout(wait);
        let mut waits =
            iter::repeat_n(Duration::ZERO, HOPS).chain(PAUSES).chain(iter::repeat(PAUSES[2]));
        let mut way = self.way(slot, Manner::Shared)?;
        let mut answer = self.send(&way, batch).await;
        while let Err(refusal) = &answer {
            let Some(direction) = Direction::read(refusal, &way.owner.address) else {
                return Err(refused(refusal));
            };
            if !matches!(direction, Direction::Ask(_)) {
                self.stale.notify_one();
            }
            let wait = match (&direction, way.lane.manner) {
                // It may be due to the counters of those who shared the call.
                (Direction::Later(_), Manner::Shared) => Some(Duration::ZERO),
                (Direction::Later(_), _) => waits.find(|wait| !wait.is_zero()),
                (Direction::Moved(_) | Direction::Ask(_), _) => waits.next(),
            };
            let wait = wait.ok_or_else(|| StoreError::Unavailable(direction.to_string()))?;
            let again = async {
                tokio::time::sleep(wait).await;
                way = self.turn(way.lane, direction).await?;
                Ok(self.send(&way, batch).await)
            };
            answer = tokio::time::timeout_at(deadline, again).await.map_err(late)??;
        }
        answer.map_err(|refusal| refused(&refusal))
    }

    /// The way to a slot after a node has refused a call of that lane.
    async fn turn(&self, lane: Lane, direction: Direction) -> Result<Way, StoreError> {
        let to =
            |address, manner| Ok(Way { owner: self.join(address)?, lane: Lane { manner, ..lane } });
        let way = match &direction {
            Direction::Moved(address) if lane.manner == Manner::Shared => {
                to(address, Manner::Shared)?
            }
            Direction::Moved(address) => to(address, Manner::Alone)?,
            Direction::Ask(address) => to(address, Manner::Asking)?,
            Direction::Later(_) => self.way(lane.slot, Manner::Alone)?,
        };
        // The node may be new to us; without a connection the call fails at once.
        let mut up = way.owner.node().link().up();
        let _ = tokio::time::timeout(ARRIVAL, up.wait_for(|up| *up)).await;
        Ok(way)
    }

    async fn send(&self, way: &Way, batch: &Batch) -> Answer {
        let answer = way.owner.group.apply(way.lane, batch).await;
        // A caller in a hurry says nothing of the node.
        let is_lost = |count: &Result<_, StoreError>| match count {
            Err(StoreError::Unavailable(_) | StoreError::Broken(_)) => true,
            Err(StoreError::Timeout(waited)) => *waited >= self.config.timeout,
            _ => false,
        };
        if answer.as_ref().is_ok_and(|counts| counts.first().is_some_and(is_lost)) {
            self.stale.notify_one();
        }
        answer
    }

    /// The way to a slot by the map.
    fn way(&self, slot: u16, manner: Manner) -> Result<Way, StoreError> {
        match self.map.load().owner(slot) {
            Some(owner) => Ok(Way { owner: owner.clone(), lane: Lane { slot, manner } }),
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
        self.follow(shard, batch).await.unwrap_or_else(|error| all(batch, &error))
    }

    fn timeout(&self) -> Duration {
        self.config.timeout
    }
}

fn unowned() -> StoreError {
    StoreError::Unavailable("no known node of the cluster has this slot".into())
}

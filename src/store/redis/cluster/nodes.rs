//! The nodes that are known by address, and the map from slots to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::store::redis::address::Address;
use crate::store::redis::config::RedisConfig;
use crate::store::redis::dial::Dialer;
use crate::store::redis::group::Group;
use crate::store::redis::link::{Circuit, Target};
use crate::store::redis::node::Node;
use crate::store::redis::slots::SLOTS;
use crate::store::redis::topology::View;
use crate::store::redis::traffic::Traffic;

/// The most nodes that are held; the specification advises at most as many.
const NODES_MAX: usize = 1000;
/// How long a node is kept that owns nothing any more: slots on their way may be asked for
/// there, and answers may be under way.
const KEPT: Duration = Duration::from_secs(60);

/// A node and where it is.
#[derive(Clone)]
pub(super) struct Owner {
    pub(super) address: Address,
    pub(super) group: Arc<Group>,
}

/// All nodes with a connection or an attempt at one.
pub(super) struct Nodes {
    dialer: Arc<Dialer>,
    config: Arc<RedisConfig>,
    changed: Arc<Notify>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// With the moment until which a node is kept.
    nodes: HashMap<Address, (Arc<Group>, Instant)>,
    /// Connections that were opened to nodes which are no longer held.
    opened: u64,
}

/// Who owns which slot.
#[derive(Default)]
pub(super) struct Map {
    owners: Vec<Owner>,
    /// By slot, the index of its owner; empty before anything is known.
    slots: Vec<Option<u16>>,
}

impl Owner {
    /// The server.
    pub(super) fn node(&self) -> &Node {
        self.group.node()
    }
}

impl Nodes {
    /// None yet. Whenever a connection to one comes or goes, `changed` is told.
    pub(super) fn new(dialer: Arc<Dialer>, config: Arc<RedisConfig>, changed: Arc<Notify>) -> Self {
        Self { dialer, config, changed, held: Mutex::default() }
    }

    /// The node at an address, which is connected from now on. `None` where that would be
    /// too many.
    pub(super) fn join(&self, address: &Address) -> Option<Owner> {
        let mut held = self.held.lock();
        let (room, until) = (held.nodes.len() < NODES_MAX, Instant::now() + KEPT);
        if let Some((group, kept)) = held.nodes.get_mut(address) {
            *kept = until;
            return Some(Owner { address: address.clone(), group: Arc::clone(group) });
        }
        if !room {
            return None;
        }
        let target = Target::Fixed(address.clone());
        let node = Node::connect(target, Arc::clone(&self.dialer), Arc::clone(&self.changed), None);
        let group = Arc::new(Group::new(node, Arc::clone(&self.config)));
        held.nodes.insert(address.clone(), (Arc::clone(&group), until));
        Some(Owner { address: address.clone(), group })
    }

    /// Lets nodes go that have not been named for a while.
    pub(super) fn forget_old(&self) {
        let now = Instant::now();
        let mut held = self.held.lock();
        let Held { nodes, opened } = &mut *held;
        nodes.retain(|_, (group, until)| {
            let kept = *until > now;
            *opened += if kept { 0 } else { group.node().link().opened() };
            kept
        });
    }

    /// Those that are connected.
    pub(super) fn connected(&self) -> Vec<Owner> {
        let held = self.held.lock();
        let up = held.nodes.iter().filter(|(_, (group, _))| group.node().is_up());
        up.map(|(address, (group, _))| Owner { address: address.clone(), group: Arc::clone(group) })
            .collect()
    }

    /// How many connections were opened, and how many are open.
    pub(super) fn connections(&self) -> (u64, u64) {
        let held = self.held.lock();
        held.nodes.values().fold((held.opened, 0), |(opened, active), (group, _)| {
            let link = group.node().link();
            (opened + link.opened(), active + u64::from(link.is_connected()))
        })
    }

    /// The circuits to those that are held.
    pub(super) fn circuits(&self) -> Vec<Circuit> {
        self.held.lock().nodes.values().map(|(group, _)| group.node().link().circuit()).collect()
    }

    /// What was sent to those that are held.
    pub(super) fn traffic(&self) -> Vec<Traffic> {
        self.held.lock().nodes.values().map(|(group, _)| group.traffic()).collect()
    }

    /// The map that a view describes.
    pub(super) fn map(&self, view: &View) -> Map {
        let mut map = Map { owners: Vec::new(), slots: vec![None; usize::from(SLOTS)] };
        let mut places: HashMap<&Address, u16> = HashMap::new();
        for (first, last, address) in &view.owners {
            let place = match places.get(address) {
                Some(place) => *place,
                None => {
                    let Some(owner) = self.join(address) else { continue };
                    let place = map.owners.len() as u16;
                    map.owners.push(owner);
                    places.insert(address, place);
                    place
                }
            };
            if let Some(slots) = map.slots.get_mut(usize::from(*first)..=usize::from(*last)) {
                slots.fill(Some(place));
            }
        }
        map
    }
}

impl Map {
    /// Who owns a slot, as far as is known.
    pub(super) fn owner(&self, slot: u16) -> Option<&Owner> {
        let place = (*self.slots.get(usize::from(slot))?)?;
        self.owners.get(usize::from(place))
    }

    /// All owners.
    pub(super) fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.owners.iter()
    }

    /// Whether every slot has an owner.
    pub(super) fn is_complete(&self) -> bool {
        !self.slots.is_empty() && self.slots.iter().all(Option::is_some)
    }

    /// Whether it is complete and all owners are connected.
    pub(super) fn is_up(&self) -> bool {
        self.is_complete() && self.owners.iter().all(|owner| owner.node().is_up())
    }

    /// Whether all owners tell of what other processes give back.
    pub(super) fn hears(&self) -> bool {
        self.is_up() && self.owners.iter().all(|owner| owner.node().hears())
    }

    /// The owners' addresses, for the log.
    pub(super) fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> =
            self.owners.iter().map(|owner| owner.address.to_string()).collect();
        addresses.sort();
        addresses
    }
}

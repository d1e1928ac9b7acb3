//! The servers: a list in an order that all replicas share, fixed or as DNS says.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio_util::task::AbortOnDropHandle;

use super::backoff::Backoff;
use super::config::SrvQuery;
use super::key;
use super::link::{Dialing, Link};
use super::srv;
use crate::store::StoreError;
use crate::store::redis::Address;

/// The servers in use.
pub(super) struct Fleet {
    state: ArcSwap<State>,
    dialing: Dialing,
}

/// Servers, at least one; or why they are not known.
type State = Result<Vec<Arc<Server>>, String>;

/// A server and the task that keeps the connection to it.
pub(super) struct Server {
    pub(super) link: Arc<Link>,
    _keeper: AbortOnDropHandle<()>,
}

/// The servers as they are at one moment. They stay connected for as long as this lives.
pub(super) struct Snapshot(Arc<State>);

impl Fleet {
    /// No servers yet.
    pub(super) fn new(dialing: Dialing) -> Self {
        let state = ArcSwap::from_pointee(Err("the servers are not known yet".to_owned()));
        Self { state, dialing }
    }

    /// The servers now.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot(self.state.load_full())
    }

    /// Takes these servers in place of those before; connections to those that stay do too.
    pub(super) fn replace(&self, addresses: &[Address]) {
        let before = self.state.load();
        let servers = addresses.iter().map(|address| {
            kept(&before, address).unwrap_or_else(|| Arc::new(self.connect(address.clone())))
        });
        self.state.store(Arc::new(Ok(servers.collect())));
    }

    /// Asks DNS for the servers, until it answers and then as often as `query` says.
    pub(super) async fn follow(self: Arc<Self>, query: SrvQuery) {
        let mut backoff = Backoff::new();
        let mut told = false;
        loop {
            match srv::servers(&query).await {
                Ok(addresses) => {
                    if !self.is(&addresses) {
                        let servers = addresses.len();
                        tracing::info!(name = query.name, servers, "memcached servers by DNS");
                        self.replace(&addresses);
                    }
                    told = false;
                    if query.refresh.is_zero() {
                        return;
                    }
                    backoff.reset();
                    tokio::time::sleep(query.refresh).await;
                }
                Err(reason) => {
                    if !told {
                        tracing::warn!(name = query.name, %reason, "no memcached servers by DNS");
                    }
                    told = true;
                    // Servers that are known stay in use.
                    if self.state.load().is_err() {
                        self.state.store(Arc::new(Err(reason)));
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    fn is(&self, addresses: &[Address]) -> bool {
        match &**self.state.load() {
            Ok(servers) => servers.iter().map(|server| server.link.address()).eq(addresses),
            Err(_) => false,
        }
    }

    fn connect(&self, address: Address) -> Server {
        let link = Arc::new(Link::new(address));
        let keeper = tokio::spawn(Arc::clone(&link).keep(self.dialing.clone()));
        Server { link, _keeper: AbortOnDropHandle::new(keeper) }
    }
}

/// The server at that address, if it is among them.
fn kept(state: &Guard<Arc<State>>, address: &Address) -> Option<Arc<Server>> {
    let servers = state.as_ref().as_ref().ok()?;
    servers.iter().find(|server| server.link.address() == address).map(Arc::clone)
}

impl Snapshot {
    /// The server that holds `key`.
    pub(super) fn holder(&self, key: &[u8]) -> Result<&Link, StoreError> {
        let servers = self.all()?;
        let server = servers.get(key::place(key, servers.len()));
        server.map(|server| &*server.link).ok_or_else(|| unknown("there are none"))
    }

    /// All of them.
    pub(super) fn all(&self) -> Result<&[Arc<Server>], StoreError> {
        match &*self.0 {
            Ok(servers) => Ok(servers),
            Err(reason) => Err(unknown(reason)),
        }
    }
}

fn unknown(reason: &str) -> StoreError {
    StoreError::Unavailable(format!("no memcached servers: {reason}"))
}

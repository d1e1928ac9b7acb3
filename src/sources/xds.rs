//! Rules from a management server: xDS, aggregated, state of the world.
//!
//! The server sends the whole set of resources whenever it changes. A set is judged by
//! whoever takes it, and the server is told the verdict. Whatever happens to the server
//! or the stream, the rules in force stay; the stream is opened again, for ever.
//!
//! What a set says is not known here, nor how it is put into force.

mod backoff;
mod dial;
mod resources;
mod stream;
mod target;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use backoff::Backoff;
pub use resources::ResourceSet;
pub use target::{ALLOWED as ALLOWED_TARGETS, Scheme, Target, WrongTarget};

use self::backoff::{Try, Waits};
use self::stream::Session;
use super::Outcome;
use crate::clock::Clock;
use crate::health::{Health, XdsFacts};
use crate::store::secret::Secret;
use crate::tls::ClientTls;
use crate::wire::discovery::{DiscoveryError, Node};

/// Which management server, and how it is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Where it is.
    pub target: Target,
    /// Who asks.
    pub node: Node,
    /// Headers of the stream, names in lower case; values may be credentials.
    pub headers: Vec<(String, Secret)>,
    /// TLS, unless it is spoken to in plain text.
    pub tls: Option<ClientTls>,
    /// The largest answer, in bytes.
    pub max_message_bytes: usize,
    /// How often a silent server is asked for a sign of life.
    pub keepalive: Duration,
    /// How long to wait when it fails.
    pub backoff: Backoff,
}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    /// The server cannot be reached.
    #[error("it cannot be reached: {0}")]
    Unreached(String),
    /// The stream ended.
    #[error("the stream broke: {0}")]
    Ended(String),
    /// The process shall read its rules again.
    #[error("the rules are asked for again")]
    Reload,
}

/// Follows a management server.
#[derive(Debug)]
pub struct XdsSource {
    options: Arc<Options>,
    health: Arc<Health>,
    clock: Clock,
    /// When the server was last reached.
    connected_at: Instant,
    /// The last answer and what became of it.
    judged: Option<(Result<u128, DiscoveryError>, Outcome)>,
}

impl XdsSource {
    /// A source that tells `health` how it fares; nothing is dialled yet.
    pub fn new(options: Options, health: Arc<Health>, clock: Clock) -> Self {
        let facts = XdsFacts { server: options.target.to_string(), ..XdsFacts::default() };
        health.update(|all| all.rules.xds = Some(facts));
        Self {
            options: Arc::new(options),
            health,
            clock,
            connected_at: Instant::now(),
            judged: None,
        }
    }

    /// Calls `on_set` for every set that differs from the last one and for everything that
    /// is none, until `cancel`, and waits for what it says about it.
    ///
    /// A notice on `reload_now` asks the server anew, and judges what it sends in any case.
    pub async fn watch<F: Future<Output = Outcome>>(
        self,
        reload_now: Arc<Notify>,
        cancel: CancellationToken,
        on_set: impl FnMut(Result<ResourceSet, DiscoveryError>) -> F,
    ) {
        cancel.run_until_cancelled_owned(self.run(reload_now, on_set)).await;
    }

    async fn run<F: Future<Output = Outcome>>(
        mut self,
        reload_now: Arc<Notify>,
        mut on_set: impl FnMut(Result<ResourceSet, DiscoveryError>) -> F,
    ) {
        let mut waits = Waits::default();
        let mut told = None;
        loop {
            let fault = self.follow(&reload_now, &mut on_set).await;
            let tried = match &fault {
                Fault::Reload => {
                    self.judged = None;
                    continue;
                }
                Fault::Unreached(_) => Try::Unreached,
                Fault::Ended(_) => Try::Lasted(self.connected_at.elapsed()),
            };
            let wait = waits.after(tried, &self.options.backoff, fastrand::f64());
            self.tell_lost(&fault, wait, &mut told);
            tokio::select! {
                () = reload_now.notified() => self.judged = None,
                () = sleep(wait) => {}
            }
        }
    }

    /// One stream, until it ends.
    async fn follow<F: Future<Output = Outcome>>(
        &mut self,
        reload_now: &Notify,
        on_set: &mut impl FnMut(Result<ResourceSet, DiscoveryError>) -> F,
    ) -> Fault {
        let opened = tokio::select! {
            biased;
            () = reload_now.notified() => return Fault::Reload,
            opened = self.open() => opened,
        };
        let mut session = match opened {
            Ok(session) => session,
            Err(fault) => return fault,
        };
        loop {
            let response = tokio::select! {
                biased;
                () = reload_now.notified() => return Fault::Reload,
                response = session.next() => response,
            };
            let answered = match response {
                Ok(response) => session.answer(response, self, on_set).await,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = answered {
                return fault;
            }
        }
    }

    async fn open(&mut self) -> Result<Session, Fault> {
        let channel = dial::channel(&self.options).await?;
        self.connected_at = Instant::now();
        self.tell_connected();
        Session::open(channel, &self.options).await
    }

    fn tell(&self, change: impl FnOnce(&mut XdsFacts)) {
        self.health.update(|facts| {
            if let Some(xds) = &mut facts.rules.xds {
                change(xds);
            }
        });
    }

    fn tell_connected(&self) {
        let server = self.options.target.to_string();
        tracing::info!(server, node = self.options.node.id, "connected to the management server");
        self.tell(|xds| (xds.is_connected, xds.fault) = (true, None));
    }

    fn tell_judged(&self, version: &str, outcome: &Outcome) {
        let now = self.clock.now();
        tracing::debug!(version, ?outcome, "the management server sent rules");
        self.tell(|xds| {
            xds.contact = Some(now);
            match outcome {
                Outcome::InForce => {
                    xds.accepted += 1;
                    version.clone_into(&mut xds.version);
                }
                Outcome::Refused(_) => xds.rejected += 1,
            }
        });
    }

    /// The log hears of each lost stream, and once of a server that is not there.
    fn tell_lost(&self, fault: &Fault, wait: Duration, told: &mut Option<Fault>) {
        if matches!(fault, Fault::Ended(_)) || told.as_ref() != Some(fault) {
            let server = self.options.target.to_string();
            tracing::warn!(server, %fault, ?wait, "no management server: rules stay as they are");
            *told = Some(fault.clone());
        }
        let fault = fault.to_string();
        self.tell(|xds| (xds.is_connected, xds.fault) = (false, Some(fault)));
    }
}

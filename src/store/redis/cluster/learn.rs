//! Keeping the map true: one task asks nodes who owns what, for as long as it is polled.
//!
//! It asks every few seconds, at once when a caller was sent elsewhere or lost a reply or a
//! connection went, and again and again while something is wrong. A few connected nodes
//! are asked; if none of them takes the cluster for working, the configured seeds too,
//! resolved anew: so a cluster is found again that was replaced node by node or as a whole.
//! A node is believed that takes the cluster for working, and among such the one that has
//! seen most of its changes; if no node does, the one that has seen most.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::Cluster;
use super::nodes::Owner;
use crate::store::redis::address::Address;
use crate::store::redis::dial;
use crate::store::redis::topology::{View, questions};

/// How long what was learnt is taken for true, shortened at random by up to a half.
const FRESH: Duration = Duration::from_secs(5);
/// Waits while something is wrong, and between reasons to ask anew: doubling.
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How long one node may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many connected nodes are asked, at random.
const ASKED: usize = 3;

impl Cluster {
    /// Keeps the map true.
    pub(in crate::store::redis) async fn keep(self: Arc<Self>) {
        let mut wait = WAIT_MIN;
        let mut told = None;
        loop {
            let trouble = self.learn().await.err();
            if let Some(reason) = trouble.as_ref().filter(|reason| told.as_ref() != Some(*reason)) {
                tracing::warn!(%reason, "cannot learn who owns what in the Redis cluster");
            }
            told = trouble;
            let is_fine = self.tell() && told.is_none();
            let asked = Instant::now();
            if is_fine && self.rest(asked + jittered(FRESH)).await {
                wait = WAIT_MIN;
                continue;
            }
            // Callers that are sent elsewhere all the time do not make it ask all the time.
            let pause = asked + jittered(wait);
            while Instant::now() < pause {
                tokio::select! {
                    () = tokio::time::sleep_until(pause) => {}
                    () = self.changed.notified() => { self.tell(); }
                }
            }
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    /// Rests until then; ends earlier, and says false, when there is a reason to ask.
    async fn rest(&self, until: Instant) -> bool {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return true,
                () = self.stale.notified() => return false,
                () = self.changed.notified() => if !self.tell() { return false },
            }
        }
    }

    /// Tells the world whether all slots can be reached.
    fn tell(&self) -> bool {
        let map = self.map.load();
        let is_up = map.is_up();
        if let Some(listener) = &self.listener {
            listener.lock().set(map.hears());
        }
        self.up.send_if_modified(|up| std::mem::replace(up, is_up) != is_up);
        is_up
    }

    async fn learn(&self) -> Result<(), String> {
        let mut known = self.nodes.connected();
        fastrand::shuffle(&mut known);
        known.truncate(ASKED);
        let known = join_all(known.iter().map(|owner| self.ask(owner))).await;
        let mut best = best(known);
        if !best.as_ref().is_ok_and(|view| view.standing.0) {
            let seeds = join_all(self.seeds.iter().map(|seed| self.ask_seed(seed))).await;
            best = self::best(seeds.into_iter().chain([best]));
        }
        let map = self.nodes.map(&best?);
        let nodes = map.addresses();
        if nodes != self.map.load().addresses() {
            tracing::info!(?nodes, "the primaries of the Redis cluster");
        }
        self.map.store(Arc::new(map));
        self.nodes.forget_old();
        Ok(())
    }

    async fn ask(&self, owner: &Owner) -> Result<View, String> {
        let replies = owner.node().query(self.patience(), &questions()).await;
        read(&replies.map_err(|error| error.to_string())?, &owner.address)
    }

    /// Asks by a connection for this once.
    async fn ask_seed(&self, seed: &Address) -> Result<View, String> {
        let questions = questions();
        let asking = async {
            let (mut connection, _driver) = dial::connect(seed, &self.config.dialing).await?;
            connection.send_packed_commands(&questions, 0, questions.len()).await
        };
        let replies = tokio::time::timeout(self.patience(), asking).await;
        let replies = replies.map_err(|_| format!("{seed}: no answer in time"))?;
        read(&replies.map_err(|error| format!("{seed}: {error}"))?, seed)
    }

    fn patience(&self) -> Duration {
        self.config.dialing.connect_timeout.min(PATIENCE)
    }
}

fn read(replies: &[redis::Value], asked: &Address) -> Result<View, String> {
    View::read(replies, asked).map_err(|reason| format!("{asked}: {reason}"))
}

/// The view of highest standing, else the last reason why there is none.
fn best(views: impl IntoIterator<Item = Result<View, String>>) -> Result<View, String> {
    let none = Err("no node is known and no seed is configured".to_owned());
    views.into_iter().fold(none, |best, view| match (best, view) {
        (Ok(best), Ok(view)) if view.standing > best.standing => Ok(view),
        (Ok(best), _) => Ok(best),
        (Err(_), view) => view,
    })
}

fn jittered(span: Duration) -> Duration {
    span.mul_f64(1.0 - fastrand::f64() / 2.0)
}

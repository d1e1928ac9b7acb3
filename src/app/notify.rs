//! Tells the service manager (systemd) how the process is, if one listens at `NOTIFY_SOCKET`:
//! ready, reloading, stopping, a status line for people, and signs of life.
//!
//! A sign of life is given only when every worker has just done something. Sockets that the
//! manager opened are not taken: that takes `unsafe`, and two processes can share a port.

use std::fmt::Write as _;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Signals;
use crate::health::{Facts, Health, Level, Overall};

/// How long a reload may take until it is told to be over, come what may.
const RELOAD: Duration = Duration::from_secs(10);

/// Letters of a status line.
const LONGEST: usize = 200;

/// Tells of readiness and reloads from now on. It stands between the signal and the reload,
/// so that the manager hears of one before it begins.
pub(super) fn start(signals: &mut Signals, health: &Health, tasks: &mut JoinSet<()>) {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        let asked = mem::take(&mut signals.reload);
        tasks.spawn(tell_all(health.watch(), asked, Arc::clone(&signals.reload)));
    }
}

/// Tells that the end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Gives signs of life for ever, if the manager waits for them. Once the process drains,
/// workers may end, and it is enough that this one runs.
pub(super) async fn live(workers: Vec<Handle>, drain: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else {
        return;
    };
    let mut ticks = interval(period / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if answer(&workers, period / 2).await || drain.is_cancelled() {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("a worker does not answer: the service manager gets no sign of life");
        }
    }
}

/// Whether each of them does something in that time.
async fn answer(workers: &[Handle], patience: Duration) -> bool {
    let answers = join_all(workers.iter().map(|worker| worker.spawn(async {})));
    let answers = timeout(patience, answers).await;
    answers.is_ok_and(|answers| answers.iter().all(Result::is_ok))
}

async fn tell_all(mut facts: watch::Receiver<Facts>, asked: Arc<Notify>, reload: Arc<Notify>) {
    let (mut is_ready, mut told) = (false, String::new());
    loop {
        let (overall, status) = {
            let facts = facts.borrow_and_update();
            (facts.overall(), describe(&facts))
        };
        let mut news = Vec::new();
        if !is_ready && overall.is_serving() {
            is_ready = true;
            news.push(NotifyState::Ready);
        }
        if status != told {
            news.push(NotifyState::Status(&status));
        }
        tell(&news);
        told = status;
        tokio::select! {
            changed = facts.changed() => if changed.is_err() { return },
            // Who is not ready has not promised anything that a reload could take back.
            () = asked.notified() => match is_ready {
                true => tell_reload(&mut facts, &reload).await,
                false => reload.notify_one(),
            },
        }
    }
}

/// Reloads, and tells of the beginning and the end: new rules, or an error.
async fn tell_reload(facts: &mut watch::Receiver<Facts>, reload: &Notify) {
    let outcome = |facts: &Facts| (facts.rules.loaded_at, facts.rules.last_error.clone());
    let before = outcome(&facts.borrow());
    let since = NotifyState::monotonic_usec_now().ok();
    tell(&[NotifyState::Reloading].into_iter().chain(since).collect::<Vec<_>>());
    reload.notify_one();
    let _ = timeout(RELOAD, facts.wait_for(|facts| outcome(facts) != before)).await;
    // The status line comes with what has changed.
    facts.mark_changed();
    tell(&[NotifyState::Ready]);
}

/// How it is, in a line.
fn describe(facts: &Facts) -> String {
    let mut line = match facts.overall() {
        Overall::Ready | Overall::Degraded => {
            let (limits, domains) = (facts.rules.limits, facts.rules.domains);
            format!("serving {limits} limits of {domains} domains")
        }
        Overall::NotReady => "not ready".to_owned(),
        Overall::Draining => return "draining".to_owned(),
    };
    for part in facts.components().iter().filter(|part| part.level != Level::Up) {
        let _ = write!(line, "; {}: {}", part.name, part.reason);
    }
    // A line that goes on would be another message.
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

fn tell(news: &[NotifyState<'_>]) {
    if news.is_empty() {
        return;
    }
    if let Err(error) = sd_notify::notify(news) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::health::{RulesFacts, StoreFacts};

    #[tokio::test]
    async fn a_worker_that_does_nothing_is_found_out() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build();
        let here = Handle::current();
        let idle = runtime().unwrap();
        let (one, other) = (here.clone(), idle.handle().clone());
        assert!(answer(&[here.clone(), here], Duration::from_secs(20)).await);
        assert!(!answer(&[one.clone(), other.clone()], Duration::from_millis(20)).await);
        idle.shutdown_background();
        assert!(!answer(&[one, other], Duration::from_secs(20)).await, "it has ended");
    }

    #[test]
    fn the_status_is_one_line_that_tells_what_is_wrong() {
        let check = |change: fn(&mut Facts), expected: &str| {
            let mut facts = Facts {
                rules: RulesFacts {
                    loaded_at: Some(Timestamp::from_secs(1)),
                    limits: 6,
                    domains: 1,
                    ..Default::default()
                },
                store: StoreFacts { has_answered: true, ..Default::default() },
                listening: true,
                ..Facts::default()
            };
            change(&mut facts);
            assert_eq!(describe(&facts), expected);
        };
        check(|_| (), "serving 6 limits of 1 domains");
        check(|f| f.draining = true, "draining");
        check(
            |f| f.store.fault = Some("gone\nREADY=1".into()),
            "serving 6 limits of 1 domains; store: gone READY=1",
        );
        check(|f| f.listening = false, "not ready; listeners: not open yet");
    }
}

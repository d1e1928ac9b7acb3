//! The end of each schedule: faults end, and all is as it was made to be.

use std::sync::Arc;
use std::time::Duration;

use tidegate::limiter::{Meter, Verdict};
use tidegate::rules::{Algorithm, Limit};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::callers::Question;
use super::link::{State, Weather};
use super::replica::Replica;
use super::rules::Kind;
use super::world::{MS, World};

/// Longer than any bucket takes to be full again.
const LONG: Duration = Duration::from_secs(30);

impl World {
    /// All callers are answered. Then, with the faults gone: what is owed has been told, a
    /// fresh counter admits exactly its limit, nobody stands in for the store any more, and
    /// no task is left.
    pub(super) async fn end(&mut self) -> Result<(), String> {
        self.answered().await?;
        *self.shared.weather.lock() = Weather::FINE;
        self.shared.redis.come_back();
        self.put_all(State::Up);
        for wait in [2 * MS, LONG, 2 * MS] {
            self.replicas.iter().for_each(|replica| replica.set_clock(0));
            for replica in &self.replicas {
                tokio::spawn(Arc::clone(replica).tend());
            }
            sleep(wait).await;
        }
        self.checked()?;
        for replica in &self.replicas {
            let owed = replica.stack.reserve.stats().owed;
            if owed > 0 {
                return Err(format!("{owed} hits are owed for ever"));
            }
        }
        self.admits_again().await?;
        self.checked()?;
        self.replicas.clear();
        sleep(Duration::from_secs(1)).await;
        match Handle::current().metrics().num_alive_tasks() {
            0 => Ok(()),
            tasks => Err(format!("{tasks} tasks are left")),
        }
    }

    async fn admits_again(&mut self) -> Result<(), String> {
        let simple: Vec<Kind> = self
            .kinds
            .iter()
            .filter(|kind| kind.is_simple && kind.key != "shadow")
            .copied()
            .collect();
        let Some(kind) = self.rng.choice(simple) else { return Ok(()) };
        let at = self.rng.usize(..self.replicas.len());
        let replica = Arc::clone(&self.replicas[at]);
        let before = self.figures();
        let (_, limit) = self.ask(&replica, &kind, 0).await?;
        // Windows of both clocks begin anew.
        let window = Meter::of(&limit).window;
        sleep(window.left(self.shared.redis.now()) + MS).await;
        if limit.algorithm == Algorithm::FixedWindow {
            sleep(window.left(replica.now()) + MS).await;
        }
        let size = u64::from(Meter::of(&limit).size());
        let mut admitted = 0;
        while admitted < size {
            // Large ones at first, so that there are not too many.
            let left = size - admitted;
            let hits = if left * 2 > size { (size / 10).max(1) } else { 1 };
            let (passes, _) = self.ask(&replica, &kind, hits).await?;
            if !passes {
                return Err(format!("{hits} hits on {admitted} of {size} are refused: {kind:?}"));
            }
            admitted += hits;
        }
        if self.ask(&replica, &kind, 1).await?.0 {
            return Err(format!("more than {size} are admitted: {kind:?}"));
        }
        let after = self.figures();
        let is_normal = (before.by_share, before.stood_in, before.failed)
            == (after.by_share, after.stood_in, after.failed);
        is_normal.then_some(()).ok_or_else(|| format!("stood in at the end: {after:?}"))
    }

    async fn ask(
        &self,
        replica: &Arc<Replica>,
        kind: &Kind,
        hits: u64,
    ) -> Result<(bool, Limit), String> {
        let question = Question::plain(kind, hits);
        let answer = question.ask(Arc::clone(replica), Arc::clone(&self.shared.oracle)).await;
        let decision = answer.ok_or("no answer at the end")?.decision;
        let applied = decision.statuses[0].applied.as_ref().ok_or("no limit at the end")?;
        // Blocks that were asked for arrive.
        tokio::task::yield_now().await;
        Ok((decision.overall == Verdict::Ok, applied.limit))
    }
}

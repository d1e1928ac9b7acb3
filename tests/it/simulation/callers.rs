//! Those who ask: what, and what they check of the answer.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tidegate::limiter::{Direction, Request, Terms, Verdict};
use tidegate::rules::Entry;
use tidegate::service::{Answer, CheckError};
use tidegate::telemetry::Call;
use tokio::time::{Instant, timeout};

use super::oracle::Oracle;
use super::replica::{Replica, SEEN, Seen};
use super::rules::Kind;

/// Timers are no finer.
const TICKS: Duration = Duration::from_millis(2);

/// A question.
#[derive(Clone, Debug)]
pub(super) struct Question {
    domain: &'static str,
    descriptors: Vec<(&'static str, u64, Direction)>,
    /// How long the caller says that it waits.
    patience: Option<Duration>,
    /// When it goes away without an answer.
    leaves: Option<Duration>,
}

impl Question {
    /// Asks for one thing, and waits.
    pub(super) fn plain(kind: &Kind, hits: u64) -> Self {
        let descriptors = vec![(kind.key, hits, Direction::Spend)];
        Self { domain: kind.domain, descriptors, patience: None, leaves: None }
    }

    /// Asks for one to three of these, which are of one domain.
    pub(super) fn random(kinds: &[Kind], rng: &mut Rng) -> Self {
        let mut chosen = kinds.to_vec();
        rng.shuffle(&mut chosen);
        chosen.truncate(rng.usize(1..=3));
        let mut descriptor = |kind: &Kind| match rng.u8(0..20) {
            0..=3 if kind.gives_back => (kind.key, rng.u64(1..4), Direction::GiveBack),
            0 => (kind.key, 0, Direction::Spend),
            1 => (kind.key, rng.u64(4..12), Direction::Spend),
            _ => (kind.key, rng.u64(1..4), Direction::Spend),
        };
        let descriptors = chosen.iter().map(&mut descriptor).collect();
        let mut sometimes =
            |odds, least| (rng.u8(0..odds) == 0).then(|| Duration::from_millis(rng.u64(least..12)));
        let (patience, leaves) = (sometimes(8, 1), sometimes(15, 0));
        Self { domain: kinds[0].domain, descriptors, patience, leaves }
    }

    fn request(&self) -> Request<'static> {
        let mut request = Request::new(self.domain, 0);
        request.patience = self.patience;
        for (key, hits, direction) in &self.descriptors {
            let (hits, direction) = (Some(*hits), *direction);
            request.push([Entry { key, value: "x" }], Terms { limit: None, hits, direction });
        }
        request
    }

    /// Asks a replica, and checks when and what it answers.
    pub(super) async fn ask(self, replica: Arc<Replica>, oracle: Arc<Oracle>) -> Option<Answer> {
        let asking = async {
            replica.now();
            let request = self.request();
            let began = Instant::now();
            let mut call = Call::unheard();
            let check = replica.core.front.service.check(&request, &mut call);
            let answer = match self.leaves {
                Some(leaves) => timeout(leaves, check).await.ok()?,
                None => check.await,
            };
            let problem =
                self.judge(&answer, (began.elapsed(), replica.deadline), SEEN.with(Cell::get));
            if let Some(problem) = problem {
                oracle.note(format!("{problem}: {self:?}: {answer:?}"));
            }
            answer.ok()
        };
        SEEN.scope(Cell::default(), asking).await
    }

    fn judge(
        &self,
        answer: &Result<Answer, CheckError>,
        (took, deadline): (Duration, Duration),
        seen: Seen,
    ) -> Option<String> {
        // An answer comes within the deadline of the process and the caller's patience.
        let most = self.patience.map_or(deadline, |patience| patience.min(deadline)).max(TICKS);
        if took > most {
            return Some(format!("late: {took:?} of {most:?}"));
        }
        let overall = answer.as_ref().ok().map(|answer| answer.decision.overall);
        match overall {
            // Who passes was admitted by each limit that may refuse it.
            Some(Verdict::Ok) if seen.is_refused => Some("a refused request passes".to_owned()),
            Some(Verdict::Ok) if seen.is_unanswered => {
                Some("nobody knows, and it passes".to_owned())
            }
            // A failure is one of the store, and a definite refusal wins over it.
            None if !seen.is_unanswered => Some("a failure without a reason".to_owned()),
            None if seen.is_refused => Some("a failure in place of a refusal".to_owned()),
            _ => None,
        }
    }
}

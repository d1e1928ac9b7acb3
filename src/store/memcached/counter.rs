//! One operation on one counter: which commands it takes, and what their replies mean.
//!
//! The decision follows from the reply to the increment, which memcached makes in one
//! step: however many replicas ask, no two get the same number. What comes in between two
//! commands is never taken for granted.

use crate::clock::{Clock, Timestamp};
use crate::limiter::{Action, COUNT_MAX, Count, Operation, Refused, State, Step};
use crate::rules::Algorithm;
use crate::store::StoreError;

use super::MemcachedConfig;
use super::command::{Command, Reply};
use super::link::{Deadline, Link};
use super::stats::{Outcome, Tally};

/// A counter that is gone when it should be added to, and there when it should begin, is
/// tried this often.
const ATTEMPTS: u32 = 3;
/// Hits beyond this fill the counter, as memcached's numbers start anew at 2^64. (No limit
/// comes near it: limits have 32 bits.)
const FILLS: u64 = 1 << 54;
/// The longest life that memcached takes as such; what is longer it takes for the second
/// of the end.
const LONGEST_LIFE_SECS: u64 = 30 * 86_400;
/// Memcached's clock ticks once a second and may be late by one more.
const TICKS_SECS: u64 = 2;

/// Whoever asks a server about a counter.
pub(super) struct Counter<'a> {
    pub(super) key: &'a [u8],
    pub(super) link: &'a Link,
    pub(super) deadline: Deadline,
    pub(super) tally: &'a Tally,
    pub(super) config: &'a MemcachedConfig,
}

/// Whether memcached can do it: fixed windows alone, in which every hit counts.
pub(super) fn is_possible(set: &[Operation]) -> bool {
    let [operation] = set else { return false };
    operation.meter.algorithm == Algorithm::FixedWindow
        && (operation.meter.refused == Refused::Spend
            || matches!(operation.action, Action::GiveBack(_) | Action::Undo { .. }))
}

impl Counter<'_> {
    /// Applies an operation that is possible.
    pub(super) async fn apply(
        &self,
        operation: &Operation,
        now: Timestamp,
    ) -> Result<Count, StoreError> {
        let Operation { meter, action, .. } = operation;
        let (count, admitted) = match *action {
            Action::Spend(hits) => {
                let sum = self.spend(hits, operation).await?;
                (sum, sum <= meter.rate.into())
            }
            // The key names the window, so what is taken back is of that window.
            Action::GiveBack(hits) | Action::Undo { hits, .. } => {
                (self.change(Command::decr(self.key, hits)).await?.unwrap_or(0), true)
            }
        };
        let state = State { at: meter.window.start(now), count, previous: 0 };
        let step = Step { state, admitted, spent: true };
        Ok(meter.count(&step, *action, now))
    }

    /// Adds hits and tells the sum.
    async fn spend(&self, hits: u64, operation: &Operation) -> Result<u64, StoreError> {
        if hits > FILLS {
            return self.fill(operation).await;
        }
        for _ in 0..ATTEMPTS {
            match self.increase(hits).await? {
                // It filled up, or began anew beyond.
                Some(sum) if sum > COUNT_MAX || sum < hits => return self.fill(operation).await,
                Some(sum) => return Ok(sum),
                None if hits == 0 => return Ok(0),
                None => {}
            }
            if self.begin(hits, operation).await? {
                return Ok(hits);
            }
        }
        Err(StoreError::Refused("a counter comes and goes, nothing was counted".to_owned()))
    }

    /// Adds to a counter that exists.
    async fn increase(&self, hits: u64) -> Result<Option<u64>, StoreError> {
        let sum = self.change(Command::incr(self.key, hits)).await;
        self.tally.incremented(match &sum {
            Ok(Some(_)) => Outcome::Success,
            Ok(None) => Outcome::Other,
            Err(_) => Outcome::Error,
        });
        sum
    }

    /// Begins the counter, unless it exists.
    async fn begin(&self, hits: u64, operation: &Operation) -> Result<bool, StoreError> {
        let expires = expires(operation, self.config);
        let added = self.link.ask(Command::add(self.key, hits, expires), self.deadline).await;
        self.tally.added(match &added {
            Ok(Reply::Stored) => Outcome::Success,
            Ok(_) => Outcome::Other,
            Err(_) => Outcome::Error,
        });
        Ok(added? == Reply::Stored)
    }

    /// Sets the counter to the most that it can hold.
    async fn fill(&self, operation: &Operation) -> Result<u64, StoreError> {
        let expires = expires(operation, self.config);
        self.link.ask(Command::set(self.key, COUNT_MAX, expires), self.deadline).await?;
        Ok(COUNT_MAX)
    }

    async fn change(&self, command: Command) -> Result<Option<u64>, StoreError> {
        match self.link.ask(command, self.deadline).await? {
            Reply::Number(number) => Ok(Some(number)),
            _ => Ok(None),
        }
    }
}

/// When a counter that begins now shall leave, as memcached wants it told: after its
/// window, the slack for replicas whose clocks are behind, and some jitter so that not all
/// counters of a window leave at once.
fn expires(operation: &Operation, config: &MemcachedConfig) -> u32 {
    let jitter = match config.expiration_jitter_max_secs {
        0 => 0,
        max => fastrand::u64(0..max),
    };
    let window = operation.meter.window.as_secs();
    let lives = window.saturating_add(config.key_slack_secs).saturating_add(jitter);
    // The end is memcached's to keep: it goes by the real time, whatever time is decided by.
    told(lives.saturating_add(TICKS_SECS), Clock::System.now())
}

/// A life in memcached's terms: seconds from now; else the second of its end; zero, which
/// is for ever, where that has too many bits. Then the counter leaves when memory is short.
fn told(lives: u64, now: Timestamp) -> u32 {
    if lives <= LONGEST_LIFE_SECS {
        return lives as u32;
    }
    let end = now.as_secs().saturating_add(lives);
    i32::try_from(end).map_or(0, i32::cast_unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lives_are_told_by_their_end() {
        const DAY: u64 = 86_400;
        let check = |lives, expected| {
            assert_eq!(told(lives, Timestamp::from_secs(1_800_000_000)), expected, "{lives} s");
        };
        check(1, 1);
        check(30 * DAY, 2_592_000);
        check(30 * DAY + 1, 1_802_592_001);
        check(365 * DAY, 1_831_536_000);
        // Beyond the year 2038.
        check(347_483_647, i32::MAX as u32);
        check(347_483_648, 0);
        check(u64::MAX, 0);
    }
}

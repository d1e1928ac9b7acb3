//! The roll: how many replicas there are, as Redis can tell.
//!
//! Each process says every few seconds that it is here, in one key that all share, and is told
//! how many are. One that has said nothing for three of its periods is gone; one that ends
//! says so. It is called beside the requests, and nobody waits for it.
//!
//! Limits are divided by that number while Redis is away, so it must not be too small, and
//! what is told may be: Redis comes back empty, or after so long that all are taken for gone
//! until they have called again. So what counts is the largest of the last three answers. And
//! a process that has just come knows nothing before its second one: by then all others have
//! been told of it.
//!
//! The key is `tidegate:replicas` after the prefix of counter keys. Those of counters end in
//! digits or a separator, whatever their format, so none is the same. It is read and written by a
//! script that needs no permission that counting does not need.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{Script, Value};

use super::{RedisStore, Servers};
use crate::store::StoreError;

const NAME: &str = "tidegate:replicas";
/// After how many periods of silence a process is gone.
const PERIODS: u32 = 3;
/// How many answers are believed together.
const BELIEVED: usize = 3;
/// How many answers it takes to know anything.
const ENOUGH: usize = 2;
/// The most that may be on a roll, so that it stays small.
const MOST: usize = 10_000;
/// The longest that anybody may be on it without a word.
const LONGEST: Duration = Duration::from_secs(600);

/// A place on the roll.
pub struct Roll {
    key: Vec<u8>,
    id: String,
    period: Duration,
    script: Script,
    answers: Mutex<VecDeque<u32>>,
    has_left: AtomicBool,
}

impl Roll {
    /// A new process of those that count under `prefix`, which calls once in a `period` of at
    /// most two minutes.
    pub fn new(prefix: &str, period: Duration) -> Self {
        Self {
            key: format!("{prefix}{NAME}").into_bytes(),
            id: format!("{:032x}", fastrand::u128(..)),
            period,
            script: Script::new(include_str!("script/roll.lua")),
            answers: Mutex::default(),
            has_left: AtomicBool::new(false),
        }
    }

    /// How often it is to be called.
    pub fn period(&self) -> Duration {
        self.period
    }

    fn believe(&self, answer: u32) -> Option<u32> {
        let mut answers = self.answers.lock();
        answers.truncate(BELIEVED - 1);
        answers.push_front(answer);
        answers.iter().copied().max().filter(|_| answers.len() >= ENOUGH)
    }
}

impl std::fmt::Debug for Roll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Roll").field("id", &self.id).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Says that this process is here, and tells how many are; `None` while that is not known
    /// well enough.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; what was known before goes on to hold.
    pub async fn call_roll(&self, roll: &Roll) -> Result<Option<u32>, StoreError> {
        let life = match roll.has_left.load(Ordering::SeqCst) {
            true => Duration::ZERO,
            false => roll.period * PERIODS,
        };
        Ok(roll.believe(self.call(roll, life).await?.max(1)))
    }

    /// Says that it is here no longer.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; it is missed soon all the same.
    pub async fn leave_roll(&self, roll: &Roll) -> Result<(), StoreError> {
        roll.has_left.store(true, Ordering::SeqCst);
        self.call(roll, Duration::ZERO).await.map(drop)
    }

    async fn call(&self, roll: &Roll, life: Duration) -> Result<u32, StoreError> {
        let mut call = redis::cmd("EVALSHA");
        call.arg(roll.script.get_hash()).arg(1).arg(&roll.key).arg(&roll.id);
        call.arg(millis(life)).arg(MOST).arg(millis(LONGEST));
        let (timeout, script) = (self.config.timeout, &roll.script);
        let reply = match &self.servers {
            Servers::One(group) => group.node().evaluate(timeout, script, &call).await?,
            Servers::Cluster { cluster, .. } => cluster.evaluate(&roll.key, script, &call).await?,
        };
        match reply {
            Value::Int(count) => Ok(u32::try_from(count).unwrap_or(0)),
            Value::ServerError(error) => Err(StoreError::Refused(error.to_string())),
            _ => Err(StoreError::Refused("the roll has another answer than a number".to_owned())),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_the_last_three_is_believed_once_there_are_two() {
        let roll = Roll::new("", Duration::from_secs(1));
        let answers = [(1, None), (2, Some(2)), (1, Some(2)), (1, Some(2)), (1, Some(1))];
        for (answer, expected) in answers {
            assert_eq!(roll.believe(answer), expected);
        }
        assert_eq!(roll.believe(5), Some(5), "more is believed at once");
    }
}

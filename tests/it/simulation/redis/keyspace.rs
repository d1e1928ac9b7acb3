//! What a Redis holds, and the few commands that the script uses, as Redis 7 has them.

use std::collections::HashMap;

use tidegate::clock::Timestamp;

const NO_INTEGER: &str = "ERR value is not an integer or out of range";
const OVERFLOW: &str = "ERR increment or decrement would overflow";

/// Keys, their values, and when they end.
#[derive(Default)]
pub(super) struct Keyspace(HashMap<Vec<u8>, Held>);

struct Held {
    value: Vec<u8>,
    ends: Option<Timestamp>,
}

/// What a command answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Nothing,
    Done,
    Number(i64),
    Text(Vec<u8>),
    Texts(Vec<Vec<u8>>),
    Error(String),
}

impl Keyspace {
    /// The value of a key, if it has one at that moment.
    pub(super) fn get(&mut self, key: &[u8], now: Timestamp) -> Option<&mut Vec<u8>> {
        if self.0.get(key).is_some_and(|held| held.ends.is_some_and(|ends| ends <= now)) {
            self.0.remove(key);
        }
        self.0.get_mut(key).map(|held| &mut held.value)
    }

    /// Does what a command says; publishing is for others to do.
    pub(super) fn call(&mut self, words: &[&[u8]], now: Timestamp) -> Answer {
        let answer = match words {
            [b"GET", key] => {
                Ok(self.get(key, now).map_or(Answer::Nothing, |value| Answer::Text(value.clone())))
            }
            [b"SET", key, value, b"EX", seconds] => self.set(key, value, (seconds, now)),
            [b"INCRBY", key, amount] => self.add(key, integer(amount), now),
            [b"DECRBY", key, amount] => {
                self.add(key, integer(amount).and_then(i64::checked_neg), now)
            }
            [b"EXPIRE", key, seconds] => self.expire(key, (seconds, now)),
            [b"SETRANGE", key, b"0", text] => Ok(self.overwrite(key, text, now)),
            [b"TIME"] => {
                let micros = now.as_micros();
                let parts = [micros / 1_000_000, micros % 1_000_000];
                Ok(Answer::Texts(parts.map(|part| part.to_string().into_bytes()).into()))
            }
            _ => Err(format!("ERR unknown command: {words:?}")),
        };
        answer.unwrap_or_else(Answer::Error)
    }

    fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        (seconds, now): (&[u8], Timestamp),
    ) -> Result<Answer, String> {
        let ends = integer(seconds).filter(|seconds| *seconds > 0);
        let ends = ends.ok_or("ERR invalid expire time in 'set' command")?;
        let ends = Some(after(now, ends));
        self.0.insert(key.to_vec(), Held { value: value.to_vec(), ends });
        Ok(Answer::Done)
    }

    fn add(&mut self, key: &[u8], amount: Option<i64>, now: Timestamp) -> Result<Answer, String> {
        let amount = amount.ok_or(NO_INTEGER)?;
        let before = match self.get(key, now) {
            Some(value) => integer(value).ok_or(NO_INTEGER)?,
            None => 0,
        };
        let sum = before.checked_add(amount).ok_or(OVERFLOW)?;
        let held = self.0.entry(key.to_vec()).or_insert(Held { value: Vec::new(), ends: None });
        held.value = sum.to_string().into_bytes();
        Ok(Answer::Number(sum))
    }

    fn expire(&mut self, key: &[u8], (seconds, now): (&[u8], Timestamp)) -> Result<Answer, String> {
        let seconds = integer(seconds).ok_or(NO_INTEGER)?;
        let exists = self.get(key, now).is_some();
        if let Some(held) = self.0.get_mut(key) {
            held.ends = Some(after(now, seconds));
        }
        Ok(Answer::Number(exists.into()))
    }

    fn overwrite(&mut self, key: &[u8], text: &[u8], now: Timestamp) -> Answer {
        let mut value = text.to_vec();
        if let Some(before) = self.get(key, now) {
            value.extend_from_slice(before.get(text.len()..).unwrap_or_default());
            *before = value.clone();
        } else {
            self.0.insert(key.to_vec(), Held { value: value.clone(), ends: None });
        }
        Answer::Number(value.len() as i64)
    }

    /// The keys that stay for ever, which none of ours does.
    pub(super) fn endless(&self) -> Option<&[u8]> {
        self.0.iter().find(|(_, held)| held.ends.is_none()).map(|(key, _)| &**key)
    }
}

/// A number as Redis reads it: no sign before others, no zero, no space.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_add_signed(seconds.saturating_mul(1_000_000)))
}

#[test]
fn commands_are_those_of_redis() {
    let check = |keys: &mut Keyspace, at: u64, words: &str, expected: Answer| {
        let list: Vec<_> = words.split(' ').map(str::as_bytes).collect();
        assert_eq!(keys.call(&list, Timestamp::from_secs(at)), expected, "{words} at {at}");
    };
    let text = |text: &str| Answer::Text(text.into());
    let error = |text: &str| Answer::Error(text.to_owned());
    let mut keys = Keyspace::default();
    for (at, words, expected) in [
        (100, "GET a", Answer::Nothing),
        (100, "INCRBY a 5", Answer::Number(5)),
        (100, "EXPIRE a 10", Answer::Number(1)),
        (109, "DECRBY a 7", Answer::Number(-2)),
        (109, "GET a", text("-2")),
        (110, "GET a", Answer::Nothing),
        (110, "EXPIRE a 10", Answer::Number(0)),
        (110, "SET b 07 EX 5", Answer::Done),
        (110, "INCRBY b 1", error(NO_INTEGER)),
        (115, "INCRBY b 9223372036854775807", Answer::Number(i64::MAX)),
        (115, "INCRBY b 1", error(OVERFLOW)),
        (115, "SETRANGE b 0 12", Answer::Number(19)),
        (115, "GET b", text("1223372036854775807")),
        (115, "TIME", Answer::Texts(vec![b"115".to_vec(), b"0".to_vec()])),
    ] {
        check(&mut keys, at, words, expected);
    }
}

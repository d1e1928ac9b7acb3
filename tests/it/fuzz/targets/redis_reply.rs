//! Bytes as what a Redis server says: to a call of the script, of its cluster, as a
//! sentinel.

use redis::Value;
use tidegate::clock::Timestamp;
use tidegate::limiter::{Action, Batch, COUNT_MAX, Meter, NewOperation, Part, Refused, Window};
use tidegate::rules::Algorithm;
use tidegate::store::redis::{Address, RedisConfig, SocketType, fuzz};

use super::{Outcome, resp};

/// Reads the bytes after the first, which says what was asked, as each kind of answer.
pub(crate) fn run(bytes: &[u8]) -> Outcome {
    let Some((&asked, bytes)) = bytes.split_first() else { return Outcome::Refused };
    let value = resp::value(bytes);
    let is_answer = check_counts(asked, |_| value.clone());
    let is_fitting = check_counts(asked, |keys| fitted(&value, keys + 1));
    let is_topology = check_topology(&resp::values(bytes), &value);
    match is_answer || is_fitting || is_topology {
        true => Outcome::Taken,
        false => Outcome::Refused,
    }
}

/// A list of that length, of what the value lists over and over again.
fn fitted(value: &Value, length: usize) -> Value {
    match value {
        Value::Array(elements) if !elements.is_empty() => {
            let elements: Vec<Value> = elements.iter().cycle().take(length).cloned().collect();
            let first = match elements[0] {
                Value::Int(_) | Value::BulkString(_) => elements[0].clone(),
                _ => Value::Int(1_700_000_123_456_789),
            };
            Value::Array([first].into_iter().chain(elements.into_iter().skip(1)).collect())
        }
        other => other.clone(),
    }
}

const RATES: [u32; 4] = [10, 0, 1, u32::MAX];
const WINDOWS: [u64; 4] = [60, 1, 3600, 5 * 31_536_000];

/// More than any limit.
const MANY: u64 = 1 << 33;

/// Operations of every kind in two batches. The first counter is asked for three times, which
/// makes one sum.
fn batches(asked: u8) -> [Batch; 2] {
    let rate = RATES[usize::from(asked) % RATES.len()];
    let window = Window::from_secs(WINDOWS[usize::from(asked >> 2) % WINDOWS.len()]);
    let now = Timestamp::from_micros(if asked >= 128 { 0 } else { 1_700_000_123_456_789 });
    let meter = |algorithm, refused| Meter { algorithm, rate, window, refused };
    let fixed = meter(Algorithm::FixedWindow, Refused::Spend);
    let spared = meter(Algorithm::FixedWindow, Refused::Spare);
    let sliding = meter(Algorithm::SlidingWindow, Refused::Spare);
    let bucket = meter(Algorithm::TokenBucket { burst: rate.max(1) }, Refused::Spare);
    let mut batches = [Batch::new(now), Batch::new(now)];
    let alone = [
        (0, "a", fixed, Action::Spend(1)),
        (0, "a", fixed, Action::Spend(7)),
        (0, "b", fixed, Action::GiveBack(2)),
        (0, "s", sliding, Action::Spend(1)),
        (0, "t", bucket, Action::Spend(1)),
        (1, "a", fixed, Action::Spend(MANY)),
        (1, "c", fixed, Action::Spend(0)),
        (1, "t", bucket, Action::Spend(u64::MAX)),
        (1, "t", bucket, Action::Undo { hits: 3, since: Timestamp::default() }),
        (1, "d", spared, Action::Spend(3)),
    ];
    for (set, (batch, key, meter, action)) in alone.into_iter().enumerate() {
        let new = NewOperation::alone(meter, action, set as u16);
        batches[batch].push(new, |out| out.extend_from_slice(key.as_bytes()));
    }
    for (group, meter) in [spared, sliding, bucket].into_iter().enumerate() {
        let part = Part { group: group as u16, quota: asked.is_multiple_of(3) };
        let new = NewOperation { part, ..NewOperation::alone(meter, Action::Spend(2), 100) };
        batches[1].push(new, |out| out.extend_from_slice(b"together"));
    }
    batches
}

/// Whether any operation got a count. Each gets one answer.
fn check_counts(asked: u8, reply: impl FnOnce(usize) -> Value) -> bool {
    let batches = batches(asked);
    let config = RedisConfig::new("localhost", SocketType::Tcp, None).expect("an address");
    let mut said = Value::Nil;
    let all = fuzz::counts(&batches, &config, |keys| {
        said = reply(keys);
        said.clone()
    });
    assert_eq!(all.len(), batches.len());
    let (mut is_any, mut admitted) = (false, 0);
    for (batch, counts) in batches.iter().zip(&all) {
        assert_eq!(counts.len(), batch.operations().len(), "one answer per operation");
        for (operation, count) in batch.operations().iter().zip(counts) {
            let Ok(count) = count else { continue };
            is_any = true;
            let Action::Spend(hits) = operation.action else { continue };
            let meter = operation.meter;
            if meter.algorithm == Algorithm::FixedWindow && meter.refused == Refused::Spend {
                assert_eq!(count.admitted, count.after <= meter.rate.into(), "{count:?}");
                assert!(count.after <= COUNT_MAX);
            }
            if batch.key(operation) == b"a" && count.admitted {
                admitted += i128::from(hits);
            }
        }
    }
    let rate = i128::from(RATES[usize::from(asked) % RATES.len()]);
    // What others have written below zero is theirs to answer for.
    if let Some(before) = before(&said).filter(|before| *before >= 0 && admitted > 0) {
        assert!(before + admitted <= rate, "{before} and {admitted} of {rate}: {said:?}");
    }
    is_any
}

/// What an answer says that the first counter held before: in a list, or as what it holds
/// after all hits.
fn before(said: &Value) -> Option<i128> {
    let number = |value: &Value| match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    };
    let Value::Array(elements) = said else { return None };
    match elements.get(1)? {
        Value::Array(before) => number(before.first()?),
        after => Some(number(after)? - i128::from(1 + 7 + MANY)),
    }
}

/// Whether a node or a sentinel says something that can be used.
fn check_topology(replies: &[Value], value: &Value) -> bool {
    let asked = Address::Tcp("seed".to_owned(), 7000);
    let owners = fuzz::owners(replies, &asked);
    for (first, last, _) in owners.iter().flatten() {
        assert!(*first < 16384 && *last < 16384);
    }
    if let Err(reason) = &owners {
        assert!(!reason.is_empty());
    }
    let direction = fuzz::direction(value, &asked);
    let primary = fuzz::primary(replies.to_vec(), "primary");
    if let Ok((_, sentinels)) = &primary {
        assert!(sentinels.len() <= 32, "{}", sentinels.len());
    }
    owners.is_ok() || direction.is_some() || primary.is_ok()
}

//! Values that a Redis server may say: in its protocol, or made up of bytes.

use redis::{Value, parse_redis_value};

/// The value that bytes are in RESP, else one made up of them.
pub(super) fn value(bytes: &[u8]) -> Value {
    parse_redis_value(bytes).unwrap_or_else(|_| made_up(&mut bytes.iter().copied(), 0))
}

/// All values that stand one behind the other, as far as they are any.
pub(super) fn values(bytes: &[u8]) -> Vec<Value> {
    bytes.split(|byte| *byte == b'\x1e').take(4).map(value).collect()
}

/// A value whose kinds and numbers are what the bytes say.
fn made_up(bytes: &mut impl Iterator<Item = u8>, depth: usize) -> Value {
    let kind = bytes.next().unwrap_or(0);
    let mut list = || -> Vec<Value> {
        let length = if depth < 4 { bytes.next().unwrap_or(0) % 8 } else { 0 };
        (0..length).map(|_| inner(bytes, depth)).collect()
    };
    match kind % 16 {
        0 => Value::Nil,
        1 | 2 => Value::Int(number(bytes)),
        3 | 4 => Value::BulkString(number(bytes).to_string().into_bytes()),
        5 => Value::BulkString(bytes.take(usize::from(kind) / 16).collect()),
        6..=10 => Value::Array(list()),
        11 => Value::Set(list()),
        12 => Value::Double(number(bytes) as f64 / 3.0),
        13 => Value::Boolean(kind > 127),
        14 => parse_redis_value(b"-MOVED 866 127.0.0.1:7000\r\n").unwrap_or(Value::Okay),
        _ => Value::Map(list().into_iter().map(|value| (Value::Int(1), value)).collect()),
    }
}

/// As [`made_up`], without a type that holds itself.
fn inner(bytes: &mut impl Iterator<Item = u8>, depth: usize) -> Value {
    let mut bytes: Box<dyn Iterator<Item = u8> + '_> = Box::new(bytes);
    made_up(&mut bytes, depth + 1)
}

/// A number near one of those where something changes.
fn number(bytes: &mut impl Iterator<Item = u8>) -> i64 {
    const NEAR: [i64; 12] = [
        0,
        10,
        1_000_000,
        1_700_000_000,
        1_700_000_123_456_789,
        u32::MAX as i64,
        1 << 53,
        i64::MAX,
        i64::MIN,
        -1_000_000,
        i64::MAX / 1_000_000,
        60_000_000,
    ];
    let (which, away) = (bytes.next().unwrap_or(0), bytes.next().unwrap_or(0));
    NEAR[usize::from(which) % NEAR.len()].saturating_add(i64::from(away as i8))
}

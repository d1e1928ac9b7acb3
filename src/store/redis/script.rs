//! The one command of a batch: a script call out, one reply per operation back.
//!
//! What the script does to a counter stands in `count.lua`; how a command travels, and
//! what its failure means for the connection, stands in `link`.

use std::io::Write;

use redis::{Cmd, RedisWrite, Script, Value};

use super::RedisConfig;
use crate::limiter::{Action, Batch, COUNT_MAX, Count, Operation};
use crate::store::StoreError;

/// Times to live stay below what Redis accepts, however long a window is.
const TTL_MAX_SECS: u64 = 1 << 40;

/// The script, hashed once.
pub(super) fn count() -> Script {
    Script::new(include_str!("count.lua"))
}

/// The call that applies a batch.
pub(super) fn call(script: &Script, batch: &Batch, config: &RedisConfig) -> Cmd {
    let operations = batch.operations();
    let mut command = Cmd::with_capacity(3 + 3 * operations.len(), 64 + 128 * operations.len());
    command.arg("EVALSHA").arg(script.get_hash()).arg(operations.len());
    for operation in operations {
        write_key(&mut command, batch, operation);
    }
    for operation in operations {
        match operation.action {
            Action::Spend(hits) => command.write_arg_fmt(hits.min(COUNT_MAX)),
            Action::GiveBack(hits) => {
                command.write_arg_fmt(format_args!("-{}", hits.min(COUNT_MAX)));
            }
        }
        command.write_arg_fmt(ttl(operation, config));
    }
    command
}

/// Writes the counter key and, in decimal, the start of the window.
fn write_key(command: &mut Cmd, batch: &Batch, operation: &Operation) {
    let start = operation.meter.window.start(batch.now);
    let mut out = command.writer_for_next_arg();
    // What writes to a command grows it and cannot fail.
    let _ = out.write_all(batch.key(operation)).and_then(|()| write!(out, "{start}"));
}

/// Seconds a counter lives from its first hit: its window, the slack for replicas whose
/// clocks are behind, and some jitter so that not all counters of a window leave at once.
fn ttl(operation: &Operation, config: &RedisConfig) -> u64 {
    let jitter = match config.expiration_jitter_max_secs {
        0 => 0,
        max => fastrand::u64(0..max),
    };
    let lives = operation.meter.window.as_secs().saturating_add(config.key_slack_secs);
    lives.saturating_add(jitter).min(TTL_MAX_SECS)
}

/// The answer in one element of the script's reply.
pub(super) fn answer(reply: Value) -> Result<Count, StoreError> {
    let after = match reply {
        Value::Int(after) => Some(after),
        Value::BulkString(text) => std::str::from_utf8(&text).ok().and_then(|it| it.parse().ok()),
        Value::ServerError(error) => return Err(StoreError::Refused(error.to_string())),
        _ => None,
    };
    // Below zero stands what others have written there; nothing of it is spent.
    let count = |after: i64| Count {
        after: u64::try_from(after).unwrap_or(0),
        admitted: true,
        spent: true,
        wait: None,
    };
    after.map(count).ok_or_else(|| StoreError::Refused("a reply that is no count".into()))
}

//! The script, and how it is told what to do.
//!
//! What the script does to a counter stands in `script/*.lua`, the twins of the limiter's
//! steps. Which operations go into one call stands in `group`; what the script answers is
//! read in `reply`; how a command travels, and what its failure means for the connection,
//! stands in `link`.

use std::fmt::Display;
use std::io::{self, Write};

use redis::{Cmd, RedisWrite, Script};
use smallvec::SmallVec;

use super::RedisConfig;
use crate::limiter::{Action, Batch, COUNT_MAX, Operation, Refused, RefusedSets};
use crate::rules::Algorithm;

/// Times to live stay below what Redis accepts, however long a window is.
const TTL_MAX_SECS: u64 = 1 << 40;
/// The largest number of the script that is exact.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// The script, hashed once. Its parts are joined so that a batch runs only the definitions
/// that it needs: making a function costs as much as counting.
pub(super) fn script() -> Script {
    Script::new(concat!(
        include_str!("script/arguments.lua"),
        include_str!("script/sums.lua"),
        "local function steps()\n",
        include_str!("script/states.lua"),
        "local MAKE = {}\nfunction MAKE.w()\n",
        include_str!("script/fixed_window.lua"),
        "end\nfunction MAKE.s()\n",
        include_str!("script/sliding_window.lua"),
        "end\nfunction MAKE.b()\n",
        include_str!("script/token_bucket.lua"),
        "end\n",
        include_str!("script/sets.lua"),
        "end\n",
        include_str!("script/batch.lua"),
    ))
}

/// Whether a set is one operation that needs no step: it counts whatever the counter
/// holds, and the answer follows from the sum. Such a counter is envoyproxy's to the byte.
pub(super) fn needs_no_step(set: &[Operation]) -> bool {
    match set {
        [operation] => {
            operation.meter.algorithm == Algorithm::FixedWindow
                && (operation.meter.refused == Refused::Spend
                    || matches!(operation.action, Action::GiveBack(_) | Action::Undo { .. }))
        }
        _ => false,
    }
}

/// Writes what the script is to do with a sum: hits that several operations on one counter
/// add together, or one takes back.
pub(super) fn write_sum(command: &mut Cmd, amount: impl Display, ttl: u64) {
    command.write_arg(b"f");
    command.write_arg_fmt(amount);
    command.write_arg_fmt(ttl);
}

/// Writes what the script is to do with a set of operations that take steps.
pub(super) fn write_set(
    command: &mut Cmd,
    set: &[Operation],
    refused: RefusedSets,
    config: &RedisConfig,
) {
    match refused {
        RefusedSets::SpendWhatIsOver if set.len() > 1 => {
            command.write_arg_fmt(format_args!("-{}", set.len()));
        }
        _ => command.write_arg_fmt(set.len()),
    }
    for operation in set {
        if set.len() > 1 {
            command.write_arg_fmt(operation.part.group);
            command.write_arg_fmt(u8::from(operation.part.quota));
        }
        write_step(command, operation, config);
    }
}

/// The Redis key of an operation's counter.
pub(super) fn key(batch: &Batch, operation: &Operation) -> SmallVec<[u8; 128]> {
    let mut key = SmallVec::new();
    let _ = write_key(&mut key, batch, operation);
    key
}

/// Writes the counter key. A fixed window has a key of its own, which ends in the second
/// of its start; the other algorithms keep all they know under one.
pub(super) fn write_key(
    out: &mut impl Write,
    batch: &Batch,
    operation: &Operation,
) -> io::Result<()> {
    out.write_all(batch.key(operation))?;
    if operation.meter.algorithm == Algorithm::FixedWindow {
        write!(out, "{}", operation.meter.window.start(batch.now))?;
    }
    Ok(())
}

fn write_step(command: &mut Cmd, operation: &Operation, config: &RedisConfig) {
    let Operation { meter, action, .. } = operation;
    let since = match (meter.algorithm, action) {
        // The key names the window, so what is taken back is of that window.
        (Algorithm::FixedWindow, _) => None,
        (_, Action::Undo { since, .. }) => Some(since),
        _ => None,
    };
    let (word, hits) = match *action {
        Action::Spend(hits) if hits > meter.size().into() => ("never", hits),
        Action::Spend(hits) => ("spend", hits),
        Action::GiveBack(hits) => ("give", hits),
        Action::Undo { hits, .. } => (if since.is_some() { "undo" } else { "give" }, hits),
    };
    let mut head = |kind: &str| {
        command.write_arg(kind.as_bytes());
        command.write_arg(word.as_bytes());
        command.write_arg_fmt(ttl(operation, config));
        command.write_arg_fmt(u8::from(meter.refused == Refused::Spend));
        command.write_arg_fmt(meter.rate);
        if let Some(since) = since {
            command.write_arg_fmt(since.as_micros());
        }
    };
    match meter.algorithm {
        Algorithm::FixedWindow => {
            head("w");
            command.write_arg_fmt(hits.min(COUNT_MAX));
        }
        Algorithm::SlidingWindow => {
            head("s");
            write_all(command, [hits.min(EXACT_MAX), meter.window.as_secs()]);
        }
        Algorithm::TokenBucket { .. } => {
            head("b");
            for span in [meter.refill(hits), meter.refill(meter.size().into())] {
                write_all(command, [span.micros, span.fraction]);
            }
        }
    }
}

fn write_all<const N: usize>(command: &mut Cmd, numbers: [impl Display; N]) {
    numbers.iter().for_each(|number| command.write_arg_fmt(number));
}

/// Seconds a counter lives: as long as it matters, the slack for replicas whose clocks are
/// behind, and some jitter so that not all counters of a window leave at once. To a bucket
/// the script adds the time until it is full.
pub(super) fn ttl(operation: &Operation, config: &RedisConfig) -> u64 {
    let jitter = match config.expiration_jitter_max_secs {
        0 => 0,
        max => fastrand::u64(0..max),
    };
    let window = operation.meter.window.as_secs();
    let matters = match operation.meter.algorithm {
        Algorithm::FixedWindow => window,
        Algorithm::SlidingWindow => window.saturating_mul(2),
        Algorithm::TokenBucket { .. } => 1,
    };
    let lives = matters.saturating_add(config.key_slack_secs);
    lives.saturating_add(jitter).min(TTL_MAX_SECS)
}

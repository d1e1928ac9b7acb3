//! Variables of the reference that are accepted and have no effect.

use crate::settings::reader::{Declared, Reader};
use crate::settings::value::same;

/// Declares all of them, with a warning for each that asks for something.
pub(super) fn note_all(r: &mut Reader<'_>) {
    REPLACED.iter().for_each(|replaced| note(replaced, r));
}

/// A variable of the reference that is accepted and has no effect.
struct Replaced {
    name: &'static str,
    /// The value that asks for nothing, and so needs no warning.
    nothing: &'static str,
    /// What is done instead.
    instead: &'static str,
}

const POOL: &str = "One connection to each server carries the commands of all callers, one behind \
                    the other without waiting for replies: there is no pool to size.";
const EMPTY: &str = "One connection to each server is shared by all callers: there is no pool that \
                     could be empty.";
const PIPELINE: &str = "Callers who come while a call is under way share the next one, and nobody \
                        waits for a timer: there is nothing to collect or to limit.";
const SHARDS: &str = "The shards of a cluster are always asked in parallel.";
const START: &str = "Listeners open at once, and attempts to connect go on for ever, twice a \
                     second or more often; the process does not exit.";
const READ_ONLY: &str = "A connection to a server that has become read-only is always replaced.";

macro_rules! replaced {
    ($($name:literal, $nothing:literal, $instead:expr;)*) => {
        [$(Replaced { name: $name, nothing: $nothing, instead: $instead }),*]
    };
}

const REPLACED: [Replaced; 14] = replaced! {
    "REDIS_POOL_SIZE", "10", POOL;
    "REDIS_POOL_ON_EMPTY_BEHAVIOR", "WAIT", EMPTY;
    "REDIS_PIPELINE_WINDOW", "0", PIPELINE;
    "REDIS_PIPELINE_LIMIT", "0", PIPELINE;
    "REDIS_CLUSTER_PIPELINE_PARALLELISM", "1", SHARDS;
    "REDIS_PERSECOND_POOL_SIZE", "10", POOL;
    "REDIS_PERSECOND_POOL_ON_EMPTY_BEHAVIOR", "WAIT", EMPTY;
    "REDIS_PERSECOND_PIPELINE_WINDOW", "0", PIPELINE;
    "REDIS_PERSECOND_PIPELINE_LIMIT", "0", PIPELINE;
    "REDIS_PERSECOND_CLUSTER_PIPELINE_PARALLELISM", "1", SHARDS;
    "REDIS_STARTUP_INITIAL_INTERVAL", "1s", START;
    "REDIS_STARTUP_MAX_INTERVAL", "30s", START;
    "REDIS_STARTUP_MAX_ELAPSED_TIME", "0", START;
    "REDIS_CLOSE_CONNECTION_ON_READONLY_ERROR", "true", READ_ONLY;
};

/// Declares a variable and says what is done instead, if it asks for something.
fn note(replaced: &Replaced, r: &mut Reader<'_>) {
    let declared = Declared {
        name: replaced.name,
        default: String::new(),
        allowed: String::new(),
        help: replaced.instead,
        group: "Not needed for Redis: a warning at start",
    };
    if r.noted(declared).is_some_and(|text| !same(&text, replaced.nothing)) {
        let why = replaced.instead.trim_end_matches('.');
        r.warn(format!("{} is set but has no effect: {why}", replaced.name));
    }
}

//! What servers say, read as the store reads it, for those who make servers say anything
//! (`tests/it/fuzz`).
//!
//! Pure. Nothing here is used by the process, and nothing here is promised to stay.

use redis::{Script, Value};

use super::group::Call;
use super::reply::Reply;
use super::topology::{Direction, View};
use super::{Address, RedisConfig, sentinel};
use crate::limiter::Batch;
use crate::store::Counts;

/// The answers to batches that share one call, to which the server says what `reply` makes
/// of the number of its keys.
pub fn counts(
    batches: &[Batch],
    config: &RedisConfig,
    reply: impl FnOnce(usize) -> Value,
) -> Vec<Counts> {
    let (_, call) = Call::new(&Script::new(""), batches.iter(), config);
    let reply = match reply(call.keys()) {
        Value::ServerError(refusal) => Err(super::refused(&refusal)),
        value => Reply::read(&call, value),
    };
    let mut places = &*call.places;
    let answers = batches.iter().map(|batch| {
        let (own, others) = places.split_at(batch.operations().len());
        places = others;
        match &reply {
            Ok(reply) => reply.counts(batch, own),
            Err(error) => super::group::all(batch, error),
        }
    });
    answers.collect()
}

/// The slots and their owners that a node of a cluster names.
pub fn owners(replies: &[Value], asked: &Address) -> Result<Vec<(u16, u16, Address)>, String> {
    View::read(replies, asked).map(|view| view.owners)
}

/// Where a node of a cluster sends a command, if it does.
pub fn direction(reply: &Value, asked: &Address) -> Option<String> {
    let Value::ServerError(refusal) = reply else { return None };
    Direction::read(refusal, asked).map(|direction| direction.to_string())
}

/// The primary and the sentinels that a sentinel names.
pub fn primary(replies: Vec<Value>, name: &str) -> Result<(Address, Vec<Address>), String> {
    let answer = sentinel::read(replies, name).map_err(|error| error.to_string())?;
    Ok((answer.primary, answer.sentinels))
}

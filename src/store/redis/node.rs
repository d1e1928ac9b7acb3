//! A server and the link to it: what one can be asked.

use std::ops::Range;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Script, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::time::Duration;
use tokio_util::task::AbortOnDropHandle;

use super::dial::Dialer;
use super::link::{Link, Target};
use super::script;
use crate::store::StoreError;
use crate::store::refusals::Listener;

/// A server. Its connection is kept for as long as this lives.
pub(super) struct Node {
    link: Arc<Link>,
    script: Script,
    _keeper: AbortOnDropHandle<()>,
}

/// Calls of the script that travel together.
#[derive(Default)]
pub(super) struct Round {
    commands: Pipeline,
    /// Where each call stands among the commands; the last of its own is the one that counts.
    calls: Vec<Range<usize>>,
}

impl Node {
    /// Connects in the background; whenever the connection comes or goes, `changed` is told.
    /// The `listener` hears while there is one.
    pub(super) fn connect(
        target: Target,
        dialer: Arc<Dialer>,
        changed: Arc<Notify>,
        listener: Option<Listener>,
    ) -> Self {
        let link = Link::new(target.to_string(), dialer.dialing.breaking, listener);
        let link = Arc::new(link);
        let probe = Arc::clone(&link).probe();
        let mut up = link.up();
        let keeper = Arc::clone(&link).keep(target, dialer);
        let tell = async move {
            while up.changed().await.is_ok() {
                changed.notify_one();
            }
        };
        let keeper = tokio::spawn(async move {
            tokio::join!(keeper, tell, probe);
        });
        Self { link, script: script::script(), _keeper: AbortOnDropHandle::new(keeper) }
    }

    /// The link, to be watched.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Whether it tells of what other processes give back.
    pub(super) fn hears(&self) -> bool {
        self.link.hears()
    }

    /// Whether there is a connection that may be asked.
    pub(super) fn is_up(&self) -> bool {
        *self.link.up().borrow()
    }

    /// Makes calls of the script, all in one write, and gives their replies. A restart or
    /// `SCRIPT FLUSH` may have removed the script. Redis refuses before it counts then, so
    /// calling again is safe.
    pub(super) async fn eval(
        &self,
        timeout: Duration,
        round: Round,
    ) -> Result<Vec<Value>, StoreError> {
        let ask = async |mut connection: MultiplexedConnection| {
            let mut replies = round.send(&mut connection).await?;
            let refused: Vec<usize> =
                (0..replies.len()).filter(|&call| is_without_script(&replies[call])).collect();
            if !refused.is_empty() {
                self.script.load_async(&mut connection).await?;
                let again = round.only(&refused).send(&mut connection).await?;
                for (call, reply) in refused.into_iter().zip(again) {
                    replies[call] = reply;
                }
            }
            Ok(Value::Array(replies))
        };
        self.link.decide(timeout, ask).await.map(elements)
    }

    /// Calls a script that does not count, and again if it has to be loaded.
    pub(super) async fn evaluate(
        &self,
        timeout: Duration,
        script: &Script,
        call: &Cmd,
    ) -> Result<Value, StoreError> {
        let ask = async |mut connection: MultiplexedConnection| {
            let reply = connection.send_packed_command(call).await?;
            if !is_without_script(&reply) {
                return Ok(reply);
            }
            script.load_async(&mut connection).await?;
            connection.send_packed_command(call).await
        };
        self.link.call(timeout, ask).await
    }

    /// Sends commands that do not count and gives their replies.
    pub(super) async fn query(
        &self,
        timeout: Duration,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, StoreError> {
        let count = commands.len();
        let ask = async |mut connection: MultiplexedConnection| {
            connection.send_packed_commands(commands, 0, count).await.map(Value::Array)
        };
        self.link.call(timeout, ask).await.map(elements)
    }

    /// Asks for a sign of life.
    pub(super) async fn ping(&self, timeout: Duration) -> Result<(), StoreError> {
        let ping = redis::cmd("PING");
        let ask = async |mut connection: MultiplexedConnection| {
            connection.send_packed_command(&ping).await
        };
        match self.link.call(timeout, ask).await? {
            Value::ServerError(error) => Err(StoreError::Refused(error.to_string())),
            _ => Ok(()),
        }
    }
}

impl Round {
    /// Adds a call.
    pub(super) fn add(&mut self, call: Cmd) {
        let at = self.commands.len();
        self.commands.add_command(call);
        self.calls.push(at..at + 1);
    }

    /// Adds a call for counters that are on their way to this server.
    pub(super) fn add_asking(&mut self, call: Cmd) {
        let at = self.commands.len();
        // It holds for the next command of the connection.
        self.commands.cmd("ASKING").add_command(call);
        self.calls.push(at..at + 2);
    }

    /// How many commands it is.
    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    async fn send(&self, connection: &mut MultiplexedConnection) -> RedisResult<Vec<Value>> {
        let count = self.commands.len();
        let mut replies = connection.send_packed_commands(&self.commands, 0, count).await?;
        if self.calls.len() < count {
            let mut ends = self.calls.iter().map(|call| call.end).peekable();
            let mut at = 0;
            replies.retain(|_| {
                at += 1;
                ends.next_if_eq(&at).is_some()
            });
        }
        Ok(replies)
    }

    /// A round of some of the calls.
    fn only(&self, calls: &[usize]) -> Self {
        let mut some = Self::default();
        for call in calls.iter().map(|&call| self.calls[call].clone()) {
            let at = some.commands.len();
            for command in self.commands.cmd_iter().take(call.end).skip(call.start) {
                some.commands.add_command(command.clone());
            }
            some.calls.push(at..some.commands.len());
        }
        some
    }
}

fn elements(reply: Value) -> Vec<Value> {
    match reply {
        Value::Array(elements) => elements,
        other => vec![other],
    }
}

fn is_without_script(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(e) if e.kind() == Some(ServerErrorKind::NoScript))
}

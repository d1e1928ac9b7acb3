//! A server and the link to it: what one can be asked.

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

    /// Calls the script, which a restart or `SCRIPT FLUSH` may have removed. Redis refuses
    /// before it counts then, so calling again is safe.
    pub(super) async fn eval(&self, timeout: Duration, call: &Cmd) -> Result<Value, StoreError> {
        let ask = async |mut connection: MultiplexedConnection| {
            let reply = connection.send_packed_command(call).await?;
            if !is_without_script(&reply) {
                return Ok(reply);
            }
            self.script.load_async(&mut connection).await?;
            connection.send_packed_command(call).await
        };
        self.link.decide(timeout, ask).await
    }

    /// Like [`Node::eval`], for counters that are on their way to this server.
    pub(super) async fn eval_asking(
        &self,
        timeout: Duration,
        call: &Cmd,
    ) -> Result<Value, StoreError> {
        // It holds for the next command of the connection: both travel as one.
        let mut both = Pipeline::with_capacity(2);
        both.cmd("ASKING").add_command(call.clone());
        let ask = async |mut connection: MultiplexedConnection| {
            let reply = last(connection.send_packed_commands(&both, 0, 2).await);
            if !reply.as_ref().is_ok_and(is_without_script) {
                return reply;
            }
            self.script.load_async(&mut connection).await?;
            last(connection.send_packed_commands(&both, 0, 2).await)
        };
        self.link.decide(timeout, ask).await
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
        match self.link.call(timeout, ask).await? {
            Value::Array(replies) => Ok(replies),
            other => Ok(vec![other]),
        }
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

fn last(replies: RedisResult<Vec<Value>>) -> RedisResult<Value> {
    replies.map(|mut replies| replies.pop().unwrap_or(Value::Nil))
}

fn is_without_script(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(e) if e.kind() == Some(ServerErrorKind::NoScript))
}

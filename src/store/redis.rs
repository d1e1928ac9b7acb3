//! Counters in Redis: shared by all replicas, one round trip for a batch.
//!
//! The Redis key of a fixed window is its counter key followed by the start of the window
//! in decimal; the other algorithms keep one key for all windows. One script call applies a
//! whole batch; each set stands alone, so an error of one does not hide the others. A
//! counter gets its end with the write that begins it: no lost reply leaves one that stays
//! for ever.

mod address;
mod config;
mod dial;
mod link;
mod login;
mod race;
mod reply;
mod script;
mod sentinel;

use std::fmt;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, Script, ServerErrorKind, Value};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

pub use address::{Address, RedisConfigError, SocketType};
pub use config::{Dialing, RedisConfig, ScriptClock, Topology};
use link::{Link, Target};
pub use login::{Credentials, Login};

use super::{Counts, Store, StoreError};
use crate::limiter::Batch;

/// Counters in one Redis, or whatever speaks its protocol and runs its scripts.
///
/// It never counts an operation twice: what timed out or broke is answered with an error
/// and not repeated, though it may have been counted. Without a connection every answer
/// is [`StoreError::Unavailable`] and comes at once; a background task, which ends with
/// the store, connects again, twice a second or more often.
pub struct RedisStore {
    config: Arc<RedisConfig>,
    script: Script,
    link: Arc<Link>,
    errors: AtomicU64,
    _keeper: AbortOnDropHandle<()>,
}

/// Facts for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisStats {
    /// Connections opened since the start.
    pub opened: u64,
    /// Connections open now: 0 or 1.
    pub active: u64,
    /// Operations answered with an error since the start.
    pub errors: u64,
}

impl RedisStore {
    /// A store that connects in the background; an absent Redis is no error here.
    ///
    /// To be called within a Tokio runtime.
    pub fn connect(config: RedisConfig) -> Self {
        let (config, link) = (Arc::new(config), Arc::new(Link::new()));
        let target = Target::new(&config.topology, &config.dialing);
        let keeper = Arc::clone(&link).keep(target, Arc::new(config.dialing.clone()));
        let keeper = tokio::spawn(keeper);
        Self {
            config,
            script: script::script(),
            link,
            errors: AtomicU64::new(0),
            _keeper: AbortOnDropHandle::new(keeper),
        }
    }

    /// The address without credentials, for logs.
    pub fn describe(&self) -> String {
        self.config.describe()
    }

    /// Whether there is a connection, now and whenever that changes.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.link.up()
    }

    /// Facts for metrics, as of now.
    pub fn stats(&self) -> RedisStats {
        RedisStats {
            opened: self.link.opened(),
            active: u64::from(*self.link.up().borrow()),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }

    async fn run(&self, batch: &Batch) -> Result<Value, StoreError> {
        let command = script::call(&self.script, batch, &self.config);
        let ask = |connection| self.ask(connection, &command);
        self.link.call(self.config.timeout, ask).await
    }

    /// Calls the script, which a restart or `SCRIPT FLUSH` may have removed. Redis refuses
    /// before it counts then, so calling again is safe.
    async fn ask(&self, mut connection: MultiplexedConnection, call: &Cmd) -> RedisResult<Value> {
        let reply = connection.send_packed_command(call).await?;
        match &reply {
            Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript) => {
                self.script.load_async(&mut connection).await?;
                connection.send_packed_command(call).await
            }
            _ => Ok(reply),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Store for RedisStore {
    async fn apply(&self, batch: &Batch) -> Counts {
        if batch.is_empty() {
            return Counts::new();
        }
        let counts = self.run(batch).await.and_then(|value| reply::counts(batch, value));
        let all = |error| iter::repeat_n(Err(error), batch.operations().len()).collect();
        let counts: Counts = counts.unwrap_or_else(all);
        let errors = counts.iter().filter(|count| count.is_err()).count() as u64;
        if errors > 0 {
            self.errors.fetch_add(errors, Ordering::Relaxed);
        }
        counts
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let ping = redis::cmd("PING");
        let ask = async |mut connection: MultiplexedConnection| {
            connection.send_packed_command(&ping).await
        };
        match self.link.call(self.config.timeout, ask).await? {
            Value::ServerError(error) => Err(StoreError::Refused(error.to_string())),
            _ => Ok(()),
        }
    }

    fn name(&self) -> &'static str {
        "redis"
    }
}

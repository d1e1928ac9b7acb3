//! The primary that sentinels know: where it is, and when it is somewhere else.
//!
//! One sentinel at a time is asked, over a connection that is kept. If it fails, or leads to
//! a server that is no primary, others are asked. Sentinels tell of further ones, so that
//! the loss of all that are configured is survived; those are always tried as well.

use std::fmt;
use std::io;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, RedisResult, Value};

use super::address::Address;
use super::config::Dialing;
use super::dial::{self, Dialer, Driver, Line};
use super::race::{race, within};

/// What a sentinel may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The lead that one sentinel has over the next.
const HEAD_START: Duration = Duration::from_millis(100);
/// How often a sentinel is asked whether the primary is still the same.
const WATCH: Duration = Duration::from_millis(500);
/// How many sentinels are learnt of.
const LEARNT: usize = 32;

/// The sentinels of a primary.
pub(super) struct Sentinels {
    name: String,
    configured: Vec<Address>,
    learnt: Vec<Address>,
    /// Who is asked first; it moves on with every doubt.
    turn: usize,
    kept: Option<Kept>,
    dialing: Dialing,
}

/// A connection to a sentinel.
struct Kept {
    connection: MultiplexedConnection,
    _driver: Driver,
}

/// What a sentinel says.
pub(super) struct Answer {
    pub(super) primary: Address,
    pub(super) sentinels: Vec<Address>,
}

impl Sentinels {
    /// Sentinels that call the primary `name`; `dialing` is how they are reached.
    pub(super) fn new(name: String, configured: Vec<Address>, dialing: Dialing) -> Self {
        Self { name, configured, learnt: Vec::new(), turn: 0, kept: None, dialing }
    }

    /// Opens a connection to the primary.
    pub(super) async fn open(&mut self, dialer: &Dialer) -> RedisResult<(Address, Line)> {
        let address = self.locate().await?;
        match dialer.open(&address).await {
            Ok(line) => Ok((address, line)),
            Err(error) => Err(failed(format!("the primary at {address}: {error}"))),
        }
    }

    /// Where the primary is said to be.
    async fn locate(&mut self) -> RedisResult<Address> {
        let answer = match self.ask_kept().await {
            Some(answer) => answer,
            None => self.ask_all().await?,
        };
        self.learn(answer.sentinels);
        Ok(answer.primary)
    }

    /// Takes note of what is new. A sentinel does not name itself, so what was learnt before
    /// stays while there is room.
    fn learn(&mut self, mut sentinels: Vec<Address>) {
        let known = std::mem::take(&mut self.learnt);
        let known: Vec<_> = known.into_iter().filter(|one| !sentinels.contains(one)).collect();
        sentinels.extend(known);
        sentinels.truncate(LEARNT);
        self.learnt = sentinels;
    }

    /// What was located is no primary: somebody else is asked next.
    pub(super) fn doubt(&mut self) {
        self.kept = None;
        self.turn = self.turn.wrapping_add(1);
    }

    /// Ends when the primary is no longer at `from` but at another address, and says so
    /// itself. An old primary may live on, and a sentinel that was cut off may still believe
    /// in it.
    pub(super) async fn moved(&mut self, from: &Address, dialer: &Dialer) -> Address {
        let mut told = false;
        loop {
            tokio::time::sleep(WATCH).await;
            match self.locate().await {
                Ok(primary) if primary == *from => told = false,
                Ok(primary) => match dialer.open(&primary).await {
                    Ok(_) => return primary,
                    Err(_) => self.doubt(),
                },
                Err(reason) => {
                    if !told {
                        tracing::warn!(primary = self.name, %reason, "no sentinel answers");
                    }
                    told = true;
                }
            }
        }
    }

    async fn ask_kept(&mut self) -> Option<Answer> {
        let mut connection = self.kept.as_ref()?.connection.clone();
        let answer = within(PATIENCE, ask(&mut connection, &self.name)).await.ok();
        if answer.is_none() {
            self.doubt();
        }
        answer
    }

    async fn ask_all(&mut self) -> RedisResult<Answer> {
        let attempts: Vec<_> = self.order().map(|address| self.attempt(address)).collect();
        let (kept, answer) = race(attempts, HEAD_START).await?;
        self.kept = Some(kept);
        Ok(answer)
    }

    fn attempt(
        &self,
        address: Address,
    ) -> impl Future<Output = RedisResult<(Kept, Answer)>> + use<> {
        let (name, dialing) = (self.name.clone(), self.dialing.clone());
        async move {
            let asked = async {
                let (mut connection, driver) = dial::connect(&address, &dialing).await?;
                let answer = within(PATIENCE, ask(&mut connection, &name)).await?;
                Ok((Kept { connection, _driver: driver }, answer))
            };
            let answer = within(dialing.connect_timeout, asked).await;
            answer.map_err(|error| failed(format!("the sentinel at {address}: {error}")))
        }
    }

    /// All sentinels, each once, from the one whose turn it is.
    fn order(&self) -> impl Iterator<Item = Address> {
        let learnt = self.learnt.iter().filter(|one| !self.configured.contains(one));
        let mut all: Vec<Address> = self.configured.iter().chain(learnt).cloned().collect();
        let turn = self.turn % all.len().max(1);
        all.rotate_left(turn);
        all.into_iter()
    }
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sentinel {}", self.name)
    }
}

/// Asks a sentinel for the primary and for the other sentinels.
async fn ask(connection: &mut MultiplexedConnection, name: &str) -> RedisResult<Answer> {
    let mut questions = Pipeline::with_capacity(2);
    questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    questions.cmd("SENTINEL").arg("SENTINELS").arg(name);
    read(connection.send_packed_commands(&questions, 0, 2).await?, name)
}

/// What a sentinel has answered.
pub(super) fn read(answers: Vec<Value>, name: &str) -> RedisResult<Answer> {
    let mut answers = answers.into_iter();
    let primary = match answers.next() {
        Some(Value::Array(parts)) => match &parts[..] {
            [host, port] => address(host, port),
            _ => None,
        },
        Some(Value::Nil) => return Err(failed(format!("knows no primary called {name:?}"))),
        Some(Value::ServerError(error)) => return Err(failed(error.to_string())),
        _ => None,
    };
    let primary = primary.ok_or_else(|| failed("says where the primary is in no known form"))?;
    let sentinels = match answers.next() {
        Some(Value::Array(all)) => all.iter().filter_map(sentinel).take(LEARNT).collect(),
        _ => Vec::new(),
    };
    Ok(Answer { primary, sentinels })
}

/// The address in the list of names and values that describes a sentinel.
fn sentinel(described: &Value) -> Option<Address> {
    let Value::Array(parts) = described else { return None };
    let get = |name: &[u8]| {
        let is_it = |pair: &&[Value]| matches!(&pair[0], Value::BulkString(word) if word == name);
        parts.chunks_exact(2).find(is_it).map(|pair| &pair[1])
    };
    address(get(b"ip")?, get(b"port")?)
}

fn address(host: &Value, port: &Value) -> Option<Address> {
    let (Value::BulkString(host), Value::BulkString(port)) = (host, port) else { return None };
    let host = std::str::from_utf8(host).ok()?.to_owned();
    let port = std::str::from_utf8(port).ok()?.parse().ok()?;
    Some(Address::Tcp(host, port))
}

fn failed(reason: impl Into<String>) -> RedisError {
    io::Error::other(reason.into()).into()
}

//! Opening one connection: socket, TLS, greeting, script, role.
//!
//! No step gets more than a second, so that a server that takes packets without an answer
//! does not hold up the next attempt, which may find another. Only the resolution of names
//! may take longer, as resolvers wait for seconds before they ask another.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::{
    AsyncConnectionConfig, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo,
    RedisError, RedisResult, Value,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use super::address::Address;
use super::config::Dialing;
use super::login::Login;
use super::race::{race, within};
use super::script;
use crate::store::refusals::Refusals;

/// What each step may take. Servers that need longer would answer no batch in time.
const STEP: Duration = Duration::from_secs(1);
/// The lead that one address of a name has over the next.
const HEAD_START: Duration = Duration::from_millis(100);
/// How many addresses of a name are tried.
const ADDRESSES: usize = 16;
/// Rounds of calls and questions that may wait for the socket. A group sends few at a time
/// and bounds who waits for it, so this is never reached.
const QUEUE: usize = 64;

/// What other processes give back is published here by the script (`script/sums.lua`).
const GIVEN_BACK: &str = "tidegate:given-back";

/// Opens connections to the servers that count.
pub(super) struct Dialer {
    /// How.
    pub(super) dialing: Dialing,
    /// Whoever wants to know what other processes give back.
    pub(super) refusals: Option<Arc<Refusals>>,
}

/// A connection to a server that can be asked.
pub(super) struct Line {
    pub(super) connection: MultiplexedConnection,
    pub(super) driver: Driver,
    /// Whether it tells of what other processes give back.
    pub(super) hears: bool,
}

/// The task that moves the bytes of a connection; each ends with the other.
pub(super) type Driver = AbortOnDropHandle<()>;

impl Dialer {
    /// Opens a connection to a server that can be asked: the script is loaded, and it does
    /// not call itself a replica.
    pub(super) async fn open(&self, address: &Address) -> RedisResult<Line> {
        let (mut connection, mut driver) = self.greeted(address).await?;
        let prepared = async {
            prepare(&mut connection).await?;
            Ok(self.refusals.is_some() && subscribe(&mut connection).await)
        };
        let hears = tokio::select! {
            biased;
            prepared = within(STEP, prepared) => prepared?,
            _ = &mut driver => return Err(broken()),
        };
        Ok(Line { connection, driver, hears })
    }

    /// Messages come between replies where the server speaks RESP3; an old one does not.
    async fn greeted(&self, address: &Address) -> RedisResult<(MultiplexedConnection, Driver)> {
        if let Some(refusals) = &self.refusals {
            let refusals = Arc::clone(refusals);
            let hear = move |push: PushInfo| {
                if let (PushKind::Message, [_, Value::BulkString(key)]) = (push.kind, &*push.data) {
                    refusals.forget(key);
                }
                Ok::<(), SendError>(())
            };
            let settings = settings().set_push_sender(hear);
            let opened = connect_as(address, &self.dialing, (ProtocolVersion::RESP3, settings));
            match opened.await {
                Err(error) if is_answer(&error) => {}
                opened => return opened,
            }
        }
        connect(address, &self.dialing).await
    }
}

/// Opens a connection and introduces us.
pub(super) async fn connect(
    address: &Address,
    dialing: &Dialing,
) -> RedisResult<(MultiplexedConnection, Driver)> {
    connect_as(address, dialing, (ProtocolVersion::RESP2, settings())).await
}

/// How a connection speaks.
type Speech = (ProtocolVersion, AsyncConnectionConfig);

async fn connect_as(
    address: &Address,
    dialing: &Dialing,
    speech: Speech,
) -> RedisResult<(MultiplexedConnection, Driver)> {
    let login = dialing.login.read().await?;
    let greeting = greeting(dialing, login).set_protocol(speech.0);
    let speech = (greeting, speech.1);
    if let Some(stream) = dialing.wiring.open(address).await? {
        return greet(speech, stream).await;
    }
    match address {
        Address::Tcp(host, port) => {
            // Files that cannot be read are worth a word, whether the server is there or not.
            let connector = match &dialing.tls {
                Some(tls) => Some(tls.connector(&[]).await.map_err(io::Error::other)?),
                None => None,
            };
            let stream = tcp(host, *port).await?;
            // A batch is one small write that should leave at once.
            stream.set_nodelay(true)?;
            let Some(connector) = connector else { return greet(speech, stream).await };
            let session = async { Ok(connector.connect(host, stream).await?) };
            greet(speech, within(STEP, session).await?).await
        }
        Address::Unix(path) => greet(speech, UnixStream::connect(path).await?).await,
    }
}

async fn tcp(host: &str, port: u16) -> RedisResult<TcpStream> {
    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.take(ADDRESSES).collect();
    let attempts = addresses
        .into_iter()
        .map(|address| within(STEP, async move { Ok(TcpStream::connect(address).await?) }));
    race(attempts, HEAD_START).await
}

async fn greet<S>(
    (greeting, settings): (RedisConnectionInfo, AsyncConnectionConfig),
    stream: S,
) -> RedisResult<(MultiplexedConnection, Driver)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = MultiplexedConnection::new_with_config(&greeting, stream, settings);
    let (connection, driver) = within(STEP, connection).await?;
    Ok((connection, AbortOnDropHandle::new(tokio::spawn(driver))))
}

/// Deadlines are the caller's.
fn settings() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE)
}

/// What a new connection says first.
fn greeting(dialing: &Dialing, login: Login) -> RedisConnectionInfo {
    let mut greeting = RedisConnectionInfo::default()
        .set_db(dialing.db)
        .set_lib_name("tidegate", env!("CARGO_PKG_VERSION"));
    if let Some(user) = login.user {
        greeting = greeting.set_username(user);
    }
    if let Some(password) = login.password {
        greeting = greeting.set_password(password.expose());
    }
    greeting
}

async fn prepare(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    script::script().load_async(connection).await?;
    // Who may not say what it is shows it with its first answer.
    match connection.send_packed_command(&redis::cmd("ROLE")).await? {
        Value::Array(role) if role.first().is_some_and(is_slave) => {
            Err(io::Error::other("the server is a read-only replica").into())
        }
        _ => Ok(()),
    }
}

/// Whether what other processes give back will be heard. Not everybody may subscribe.
async fn subscribe(connection: &mut MultiplexedConnection) -> bool {
    let subscribed = connection.subscribe(GIVEN_BACK).await;
    if let Err(error) = &subscribed {
        tracing::warn!(
            %error,
            "LOCAL_CACHE_SIZE_IN_BYTES has no effect: Redis does not tell what is given back"
        );
    }
    subscribed.is_ok()
}

/// Whether the error came as a reply: the connection works.
pub(super) fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

fn is_slave(word: &Value) -> bool {
    matches!(word, Value::BulkString(word) if word == b"slave")
}

fn broken() -> RedisError {
    io::Error::from(io::ErrorKind::UnexpectedEof).into()
}

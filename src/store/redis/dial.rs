//! Opening one connection: socket, TLS, greeting, script, role.
//!
//! No step gets more than a second, so that a server that takes packets without an answer
//! does not hold up the next attempt, which may find another. Only the resolution of names
//! may take longer, as resolvers wait for seconds before they ask another.

use std::io;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, RedisResult, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use super::address::Address;
use super::config::Dialing;
use super::login::Login;
use super::race::{race, within};
use super::script;

/// What each step may take. Servers that need longer would answer no batch in time.
const STEP: Duration = Duration::from_secs(1);
/// The lead that one address of a name has over the next.
const HEAD_START: Duration = Duration::from_millis(100);
/// How many addresses of a name are tried.
const ADDRESSES: usize = 16;
/// Commands that may wait for the socket; further callers wait under their deadlines.
const QUEUE: usize = 1024;

/// The task that moves the bytes of a connection; each ends with the other.
pub(super) type Driver = AbortOnDropHandle<()>;

/// Opens a connection to a server that can be asked: the script is loaded, and it does not
/// call itself a replica.
pub(super) async fn open(
    address: &Address,
    dialing: &Dialing,
) -> RedisResult<(MultiplexedConnection, Driver)> {
    let (mut connection, mut driver) = connect(address, dialing).await?;
    tokio::select! {
        prepared = within(STEP, prepare(&mut connection)) => prepared?,
        _ = &mut driver => return Err(broken()),
    }
    Ok((connection, driver))
}

/// Opens a connection and introduces us.
pub(super) async fn connect(
    address: &Address,
    dialing: &Dialing,
) -> RedisResult<(MultiplexedConnection, Driver)> {
    let login = dialing.login.read().await?;
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
            let Some(connector) = connector else { return greet(dialing, login, stream).await };
            let session = async { Ok(connector.connect(host, stream).await?) };
            greet(dialing, login, within(STEP, session).await?).await
        }
        Address::Unix(path) => greet(dialing, login, UnixStream::connect(path).await?).await,
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
    dialing: &Dialing,
    login: Login,
    stream: S,
) -> RedisResult<(MultiplexedConnection, Driver)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Deadlines are the caller's.
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE);
    let greeting = greeting(dialing, login);
    let connection = MultiplexedConnection::new_with_config(&greeting, stream, settings);
    let (connection, driver) = within(STEP, connection).await?;
    Ok((connection, AbortOnDropHandle::new(tokio::spawn(driver))))
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

fn is_slave(word: &Value) -> bool {
    matches!(word, Value::BulkString(word) if word == b"slave")
}

fn broken() -> RedisError {
    io::Error::from(io::ErrorKind::UnexpectedEof).into()
}

//! Opening one connection: socket, TLS, greeting, script.

use std::io;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use super::config::{Address, Dialing};
use super::script;

/// Commands that may wait for the socket; further callers wait under their deadlines.
const QUEUE: usize = 1024;

/// The task that moves the bytes of a connection; each ends with the other.
pub(super) type Driver = AbortOnDropHandle<()>;

/// Opens a connection over which the script is loaded: Redis answers and may be asked.
pub(super) async fn open(
    address: &Address,
    dialing: &Dialing,
) -> RedisResult<(MultiplexedConnection, Driver)> {
    let (mut connection, mut driver) = connect(address, dialing).await?;
    let script = script::script();
    tokio::select! {
        loaded = script.load_async(&mut connection) => loaded.map(drop)?,
        _ = &mut driver => return Err(broken()),
    }
    Ok((connection, driver))
}

/// Opens a connection and introduces us.
pub(super) async fn connect(
    address: &Address,
    dialing: &Dialing,
) -> RedisResult<(MultiplexedConnection, Driver)> {
    match address {
        Address::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            // A batch is one small write that should leave at once.
            stream.set_nodelay(true)?;
            let Some(tls) = &dialing.tls else { return greet(dialing, stream).await };
            let connector = tls.connector(&[]).await.map_err(io::Error::other)?;
            greet(dialing, connector.connect(host, stream).await?).await
        }
        Address::Unix(path) => greet(dialing, UnixStream::connect(path).await?).await,
    }
}

async fn greet<S>(dialing: &Dialing, stream: S) -> RedisResult<(MultiplexedConnection, Driver)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Deadlines are the caller's.
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE);
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&greeting(dialing), stream, settings).await?;
    Ok((connection, AbortOnDropHandle::new(tokio::spawn(driver))))
}

/// What a new connection says first.
fn greeting(dialing: &Dialing) -> RedisConnectionInfo {
    let mut greeting = RedisConnectionInfo::default()
        .set_db(dialing.db)
        .set_lib_name("tidegate", env!("CARGO_PKG_VERSION"));
    if let Some(user) = &dialing.login.user {
        greeting = greeting.set_username(user);
    }
    if let Some(password) = &dialing.login.password {
        greeting = greeting.set_password(password.expose());
    }
    greeting
}

fn broken() -> RedisError {
    io::Error::from(io::ErrorKind::UnexpectedEof).into()
}

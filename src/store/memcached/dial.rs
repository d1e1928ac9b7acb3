//! Opening one connection: socket, TLS, a first answer.

use std::io;

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
};
use tokio::io::{BufReader, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};

use super::command::{self, Command, MAX_LINE, Reply, Verb};
use crate::store::redis::Address;
use crate::tls::ClientTls;

/// A connection that has answered once.
pub(super) struct Connection {
    pub(super) reader: BufReader<ReadHalf<Box<dyn Stream>>>,
    pub(super) writer: WriteHalf<Box<dyn Stream>>,
}

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens a connection to a server that speaks memcached.
pub(super) async fn open(address: &Address, tls: Option<&ClientTls>) -> io::Result<Connection> {
    let stream = connect(address, tls).await?;
    let (reader, writer) = tokio::io::split(stream);
    let mut connection = Connection { reader: BufReader::new(reader), writer };
    connection.greet().await?;
    Ok(connection)
}

async fn connect(address: &Address, tls: Option<&ClientTls>) -> io::Result<Box<dyn Stream>> {
    match address {
        Address::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            // A command is one small write that should leave at once.
            stream.set_nodelay(true)?;
            let Some(tls) = tls else { return Ok(Box::new(stream)) };
            let connector = tls.connector(&[]).await.map_err(io::Error::other)?;
            Ok(Box::new(connector.connect(host, stream).await?))
        }
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

impl Connection {
    /// Makes sure that the other side is memcached and takes commands.
    async fn greet(&mut self) -> io::Result<()> {
        self.writer.write_all(&Command::version().bytes).await?;
        self.writer.flush().await?;
        let line = read_line(&mut self.reader).await?;
        match command::read(Verb::Version, &line).map_err(io::Error::other)? {
            Reply::Refused(reason) => Err(io::Error::other(reason)),
            _ => Ok(()),
        }
    }
}

/// Reads one line, its end included. A shorter one without end is the last of a connection.
pub(super) async fn read_line(
    reader: &mut BufReader<ReadHalf<Box<dyn Stream>>>,
) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(32);
    if reader.take(MAX_LINE).read_until(b'\n', &mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

//! A peer that speaks HTTP/2 frame by frame, as no library would.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::process::PATIENCE;

/// What a connection begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A connection to a gRPC listener.
pub(crate) struct Peer(TcpStream);

impl Peer {
    /// Connects and says nothing.
    pub(crate) fn silent(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        stream.set_write_timeout(Some(PATIENCE)).expect("a deadline");
        Self(stream)
    }

    /// Connects and begins to speak.
    pub(crate) fn connect(address: &str) -> Self {
        let mut peer = Self::silent(address);
        peer.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).expect("the first words");
        peer
    }

    /// Sends bytes, good or bad. Late in its life the connection may be closed.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// The next frame; `None` at the end of the connection, however it ended.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.read(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Every frame until the connection ends, which it must.
    pub(crate) fn until_closed(mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Reads until there is a frame of that kind.
    pub(crate) fn wait_for(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("closed before a frame {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Sends `bytes` one by one, with a pause after each, until the connection is closed.
    /// Whether it was, before they were all sent.
    pub(crate) fn drip(&mut self, bytes: impl IntoIterator<Item = u8>) -> bool {
        const PAUSE: Duration = Duration::from_millis(20);
        self.0.set_read_timeout(Some(PAUSE)).expect("a deadline");
        let is_closed = bytes.into_iter().any(|byte| {
            // What comes meanwhile is read past; that nothing does is the pause.
            let read = self.0.read(&mut [0; 1024]);
            let is_open = match read {
                Ok(length) => length > 0,
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            };
            !is_open || self.send(&[byte]).is_err()
        });
        self.0.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        is_closed
    }

    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.0.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("nothing comes, and the connection stays open")
            }
            Err(_) => None,
        }
    }
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The header block of a call for a decision, with more fields after its own.
pub(crate) fn call(more: &[(&str, &str)]) -> Vec<u8> {
    // POST, http; what follows are literals that enter no table.
    let mut block = vec![0x83, 0x86];
    let path = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
    for (name, value) in [
        (":path", path),
        (":authority", "a"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .iter()
    .chain(more)
    {
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

/// A text of HPACK: its length in a prefix of seven bits, then its bytes.
fn string(block: &mut Vec<u8>, text: &str) {
    match text.len() {
        short @ 0..127 => block.push(short as u8),
        long => {
            block.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                block.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            block.push(rest as u8);
        }
    }
    block.extend(text.as_bytes());
}

/// A message as gRPC sends it.
pub(crate) fn message(bytes: &[u8], compressed: u8) -> Vec<u8> {
    let mut message = vec![compressed];
    message.extend((bytes.len() as u32).to_be_bytes());
    message.extend(bytes);
    message
}

//! A port that a test keeps to itself while servers come and go on it.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// A port that nobody else can take, whether somebody listens there or not; those of the
/// test who share it (`SO_REUSEPORT`) can.
pub(crate) struct Port(Socket);

impl Port {
    /// A port where nobody listens.
    pub(crate) fn free() -> Self {
        Self(shared(SocketAddr::from(([127, 0, 0, 1], 0))))
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        self.address().port()
    }
}

/// A socket that others of its kind may share its port with.
pub(crate) fn shared(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

//! What carries the bytes of a connection: sockets, or what a simulation gives in their place.
//!
//! Everything above a stream of bytes is the same for both: greeting, script, commands,
//! replies, messages, and what becomes of them when the stream falls silent or ends.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::DuplexStream;

use super::address::Address;

/// How streams to servers are opened.
#[derive(Clone, Default)]
pub struct Wiring(Option<Arc<Open>>);

type Open = dyn Fn(&Address) -> Opening + Send + Sync;
/// A stream that is being opened.
pub type Opening = Pin<Box<dyn Future<Output = io::Result<DuplexStream>> + Send>>;

impl Wiring {
    /// Streams within the process, for simulations. They are not encrypted.
    pub fn within(open: impl Fn(&Address) -> Opening + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(open)))
    }

    /// A stream within the process, unless sockets are used.
    pub(super) async fn open(&self, address: &Address) -> io::Result<Option<DuplexStream>> {
        match &self.0 {
            Some(open) => open(address).await.map(Some),
            None => Ok(None),
        }
    }
}

impl PartialEq for Wiring {
    /// Whether the same streams are opened.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }
}

impl Eq for Wiring {}

impl fmt::Debug for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Wiring::Within" } else { "Wiring::Sockets" })
    }
}

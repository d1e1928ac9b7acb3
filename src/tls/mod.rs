//! TLS: certificates, keys and trust, read from PEM files.
//!
//! Files are read again whenever they are needed anew, so that a rotated certificate is
//! used without a restart. What is spoken over a connection is not known here.

mod client;
mod expiry;
mod files;
mod material;
mod peer;
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client::{ClientTls, Connector, NameCheck};
pub use peer::PeerName;
pub use server::{Acceptor, ClientAuth, ServerTls, TlsStatus};

/// The files that say who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why files do not make a TLS configuration. Contents are never quoted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{path}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Certificate and key do not belong together, or are of a kind that is not known.
    #[error("{} with {}: {error}", .identity.certificate.display(), .identity.key.display())]
    Pair {
        /// The files.
        identity: Identity,
        /// What is wrong.
        error: rustls::Error,
    },
    /// The rest does not make a configuration.
    #[error("{0}")]
    Unusable(#[from] rustls::Error),
}

/// The cryptography of every connection.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

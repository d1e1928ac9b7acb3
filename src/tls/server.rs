//! The server's side: who one is, whom one lets in, and both anew when their files change.
//!
//! What is in force is one configuration, swapped as a whole. A new one begins without the
//! sessions of the old, so nobody resumes what another authority let in.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::material::{Built, Material};
use super::{Identity, PeerName, TlsError};
use crate::clock::Timestamp;

/// How a server proves who it is, and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// What is shown to clients.
    pub identity: Identity,
    /// Clients must show a certificate of this authority; none: they are not asked.
    pub clients: Option<ClientAuth>,
    /// The protocol that is spoken inside, for clients that ask (ALPN).
    pub alpn: &'static str,
}

/// Whom a server lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// The authorities of clients; no others are trusted.
    pub ca: PathBuf,
    /// The name that their certificates must be for; none: any.
    pub name: Option<PeerName>,
}

/// Opens TLS sessions as a server.
pub struct Acceptor {
    tls: ServerTls,
    in_force: ArcSwap<InForce>,
    failed_reloads: AtomicU64,
    failed_handshakes: AtomicU64,
}

/// What an [`Acceptor`] can tell of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsStatus {
    /// The end of the certificate in force; 0 if it cannot be read.
    pub expires: Timestamp,
    /// Changes of the files that could not be used.
    pub failed_reloads: u64,
    /// Clients that did not get a session.
    pub failed_handshakes: u64,
}

struct InForce {
    config: Arc<ServerConfig>,
    expires: Timestamp,
    digest: u128,
}

/// The files as they were at one moment, or why they cannot be read.
struct Sighting {
    digest: u128,
    material: Result<Material, TlsError>,
}

/// The time between two looks at the files. A change counts once two looks agree, so that
/// a pair of which one half is still being written is not taken up.
const LOOK: Duration = Duration::from_millis(500);

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file that cannot be used.
    pub async fn open(tls: ServerTls) -> Result<Self, TlsError> {
        let seen = sight(&tls).await;
        let in_force = InForce::new(seen.material?.build(&tls)?, seen.digest);
        tracing::info!(
            certificate = %tls.identity.certificate.display(),
            expires = %date(in_force.expires),
            client_ca = tls.clients.as_ref().map(|c| c.ca.display().to_string()),
            "TLS is on"
        );
        Ok(Self {
            tls,
            in_force: ArcSwap::from_pointee(in_force),
            failed_reloads: AtomicU64::new(0),
            failed_handshakes: AtomicU64::new(0),
        })
    }

    /// Shakes hands over `stream`, for no longer than `limit`.
    ///
    /// # Errors
    ///
    /// The stream broke or was silent, or the client cannot be let in.
    pub async fn accept<S>(&self, stream: S, limit: Duration) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = Arc::clone(&self.in_force.load().config);
        let handshake = timeout(limit, TlsAcceptor::from(config).accept(stream)).await;
        let session = handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        session.inspect_err(|_| {
            self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Reads the files again whenever they change, for ever. Files that cannot be used
    /// leave what is in force; each such state is told once.
    pub async fn watch(self: Arc<Self>) {
        let mut last = self.in_force.load().digest;
        let mut judged = last;
        loop {
            sleep(LOOK).await;
            let seen = sight(&self.tls).await;
            let has_settled = seen.digest == std::mem::replace(&mut last, seen.digest);
            if has_settled && seen.digest != judged {
                judged = seen.digest;
                self.judge(seen);
            }
        }
    }

    /// What it is like now.
    pub fn status(&self) -> TlsStatus {
        TlsStatus {
            expires: self.in_force.load().expires,
            failed_reloads: self.failed_reloads.load(Ordering::Relaxed),
            failed_handshakes: self.failed_handshakes.load(Ordering::Relaxed),
        }
    }

    fn judge(&self, seen: Sighting) {
        if seen.digest == self.in_force.load().digest {
            tracing::info!("the TLS files are again what is in force");
            return;
        }
        match seen.material.and_then(|material| material.build(&self.tls)) {
            Ok(built) => {
                let new = InForce::new(built, seen.digest);
                tracing::info!(expires = %date(new.expires), "TLS files loaded");
                self.in_force.store(Arc::new(new));
            }
            Err(error) => {
                self.failed_reloads.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "TLS files not loaded: the old certificate stays in force");
            }
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl InForce {
    fn new(built: Built, digest: u128) -> Self {
        Self { config: Arc::new(built.config), expires: built.expires, digest }
    }
}

async fn sight(tls: &ServerTls) -> Sighting {
    let tls = tls.clone();
    let read = tokio::task::spawn_blocking(move || Material::read(&tls)).await;
    let interrupted = |_| Err(rustls::Error::General("interrupted".into()).into());
    let material = read.unwrap_or_else(interrupted);
    Sighting { digest: Material::digest(&material), material }
}

fn date(moment: Timestamp) -> impl fmt::Display {
    let since = Duration::from_secs(moment.as_secs());
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since)
}

//! The bytes of a server's files, and the configuration made of them.

use std::fs::File;
use std::hash::Hash;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{Error, RootCertStore, ServerConfig};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::peer::Named;
use super::{ClientAuth, ServerTls, TlsError, expiry, files, provider};
use crate::clock::Timestamp;

/// What the files of a server held at one moment.
pub(super) struct Material {
    certificate: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
}

/// What a server works with.
pub(super) struct Built {
    pub(super) config: ServerConfig,
    pub(super) expires: Timestamp,
}

/// The largest file that is read; bundles of all public authorities have a quarter of it.
const MAX_BYTES: u64 = 1 << 20;

impl Material {
    pub(super) fn read(tls: &ServerTls) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(&tls.identity.certificate)?,
            key: read(&tls.identity.key)?,
            ca: tls.clients.as_ref().map_or_else(|| Ok(Vec::new()), |clients| read(&clients.ca))?,
        })
    }

    /// Tells one state of the files from another; an error is one, too.
    pub(super) fn digest(state: &Result<Self, TlsError>) -> u128 {
        let mut hasher = SipHasher13::new();
        match state {
            Ok(Self { certificate, key, ca }) => (certificate, key, ca).hash(&mut hasher),
            Err(error) => error.to_string().hash(&mut hasher),
        }
        hasher.finish128().as_u128()
    }

    /// The configuration; TLS 1.2 and 1.3 are spoken.
    pub(super) fn build(&self, tls: &ServerTls) -> Result<Built, TlsError> {
        let (certificate, key) = (&tls.identity.certificate, &tls.identity.key);
        let chain = files::certificates_in(certificate, &self.certificate)?;
        let key = files::key_in(key, &self.key)?;
        let expires = expiry::not_after(&chain[0]).unwrap_or_default();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = match &tls.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(self.verifier(clients)?),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::Pair { identity: tls.identity.clone(), error })?;
        config.alpn_protocols = vec![tls.alpn.as_bytes().to_vec()];
        Ok(Built { config, expires })
    }

    /// Who is let in. The authorities of the system are not: a certificate that anybody
    /// can get proves nothing here.
    fn verifier(&self, clients: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in files::certificates_in(&clients.ca, &self.ca)? {
            roots.add(certificate)?;
        }
        let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(match &clients.name {
            None => chains,
            Some(name) => Arc::new(Named { chains, name: name.clone() }),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    let read = read.and_then(|length| match length as u64 <= MAX_BYTES {
        true => Ok(bytes),
        false => Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes"))),
    });
    read.map_err(|error| TlsError::File { path: path.to_owned(), reason: error.to_string() })
}

//! The client's side: whom to trust, and who one is.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Identity, TlsError, files, provider};

/// How a client trusts servers and proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Authorities that are trusted beside those of the system.
    pub ca: Option<PathBuf>,
    /// What is shown to servers that ask.
    pub identity: Option<Identity>,
    /// The name that the server's certificate must be for, if not that of the host.
    pub server_name: Option<String>,
    /// Whether that name is looked at.
    pub name_check: NameCheck,
}

/// What is checked of a server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameCheck {
    /// Its name, and the chain to an authority that is trusted.
    #[default]
    Verify,
    /// The chain: any name will do.
    Skip,
    /// Nothing: for who asks its own process, trusts it with nothing, and must not fail for
    /// want of an authority.
    SkipAll,
}

/// Opens TLS sessions as a client.
#[derive(Clone)]
pub struct Connector {
    connector: TlsConnector,
    server_name: Option<String>,
}

impl ClientTls {
    /// Reads the files as they are now; `alpn` are the protocols offered, best first.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file that cannot be used.
    pub async fn connector(&self, alpn: &[&[u8]]) -> Result<Connector, TlsError> {
        let tls = self.clone();
        let read = tokio::task::spawn_blocking(move || tls.config()).await;
        let mut config =
            read.unwrap_or_else(|_| Err(Error::General("interrupted".into()).into()))?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Connector {
            connector: TlsConnector::from(Arc::new(config)),
            server_name: self.server_name.clone(),
        })
    }

    fn config(&self) -> Result<ClientConfig, TlsError> {
        let roots = Arc::new(self.roots()?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let verifier: Arc<dyn ServerCertVerifier> = match self.name_check {
            NameCheck::Verify => verifier,
            NameCheck::Skip => Arc::new(Lenient { chains: verifier, passes: Passes::AnyName }),
            NameCheck::SkipAll => Arc::new(Lenient { chains: verifier, passes: Passes::Anybody }),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Ok(match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = files::pair(identity)?;
                builder.with_client_auth_cert(chain, key)?
            }
        })
    }

    /// The authorities of the system, those that cannot be read left out, and our own.
    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &self.ca {
            for certificate in files::certificates(path)? {
                roots.add(certificate)?;
            }
        }
        Ok(roots)
    }
}

impl Connector {
    /// Shakes hands over `stream` with the server at `host`, a name or an IP address.
    ///
    /// # Errors
    ///
    /// The host is no name, the stream broke, or the server cannot be trusted.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        self.connector.connect(name, stream).await
    }
}

/// Checks less of a server than its whole certificate; that it has the key is always checked.
#[derive(Debug)]
struct Lenient {
    chains: Arc<WebPkiServerVerifier>,
    passes: Passes,
}

/// Who passes.
#[derive(Debug)]
enum Passes {
    /// Any name, if the chain is good.
    AnyName,
    /// Any certificate.
    Anybody,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if matches!(self.passes, Passes::Anybody) {
            return Ok(ServerCertVerified::assertion());
        }
        // The name is looked at last: who fails there has passed the rest.
        let verified = self.chains.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

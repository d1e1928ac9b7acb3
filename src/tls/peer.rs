//! Which clients a server lets in: those of an authority, and of them those of a name.

use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::EndEntityCert;

use rustls::client::danger::HandshakeSignatureValid;

/// The name that a client's certificate must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// A DNS name or an IP address; certificates with wildcards match as for servers.
    Host(ServerName<'static>),
    /// A URI such as `spiffe://cluster.local/ns/envoy`, compared as it is.
    Uri(String),
}

impl PeerName {
    /// The name that `text` is; none if it is no name.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((scheme, rest)) = text.split_once("://") {
            let is_plain = !scheme.is_empty() && !rest.is_empty();
            let is_plain = is_plain && text.bytes().all(|byte| byte.is_ascii_graphic());
            return is_plain.then(|| Self::Uri(text.to_owned()));
        }
        ServerName::try_from(text.to_owned()).ok().map(Self::Host)
    }

    /// The name as [`PeerName::parse`] reads it.
    pub fn text(&self) -> String {
        match self {
            Self::Host(name) => name.to_str().into_owned(),
            Self::Uri(uri) => uri.clone(),
        }
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        match self {
            Self::Host(name) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
            }
            Self::Uri(uri) => {
                let parsed = EndEntityCert::try_from(certificate)
                    .map_err(|_| CertificateError::BadEncoding)?;
                match parsed.valid_uri_names().any(|other| other == uri) {
                    true => Ok(()),
                    false => Err(CertificateError::NotValidForName.into()),
                }
            }
        }
    }
}

/// Lets in whom `chains` lets in, if the certificate is for that name.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) chains: Arc<dyn ClientCertVerifier>,
    pub(super) name: PeerName,
}

impl ClientCertVerifier for Named {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chains.verify_client_cert(end_entity, intermediates, now)?;
        self.name.check(end_entity)?;
        Ok(verified)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
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

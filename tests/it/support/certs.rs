//! Certificates of a test's own authority, as PEM files.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use tempfile::TempDir;
use tidegate::tls::Identity;

/// An authority and the directory with its files.
pub(crate) struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority; its certificate is in a file already.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        // OpenSSL takes a certificate whose subject is its issuer's for self-signed.
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    /// The file with the authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// Issues a certificate for `names` (host names or IP addresses), good for servers and
    /// clients, as files that begin with `stem`.
    pub(crate) fn issue(&self, stem: &str, names: &[&str]) -> Identity {
        self.issue_into(self.dir.path(), stem, names)
    }

    /// The same in another directory; files that are there are replaced.
    pub(crate) fn issue_into(&self, dir: &Path, stem: &str, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        self.sign(dir, stem, CertificateParams::new(names).unwrap())
    }

    /// Issues a certificate for a URI.
    pub(crate) fn issue_uri(&self, stem: &str, uri: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        self.sign(self.dir.path(), stem, params)
    }

    /// Issues what `params` ask for; they are good for servers and clients unless they say
    /// otherwise.
    pub(crate) fn sign(&self, dir: &Path, stem: &str, mut params: CertificateParams) -> Identity {
        params.distinguished_name.push(DnType::CommonName, stem);
        if params.extended_key_usages.is_empty() {
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let identity = Identity {
            certificate: dir.join(format!("{stem}.crt")),
            key: dir.join(format!("{stem}.key")),
        };
        std::fs::write(&identity.certificate, certificate.pem()).unwrap();
        std::fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    /// The directory with the authority's files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

//! The variables of TLS to Redis, which all connections share.
//!
//! Files are named, not read: they are read for each connection.

use std::path::PathBuf;

use crate::settings::reader::Reader;
use crate::tls::{ClientTls, Identity, NameCheck};

/// Files and names of TLS, for every connection.
pub(super) struct Tls {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
    name_check: NameCheck,
}

impl Tls {
    /// Declares and reads them.
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        let mut file = |name, help| -> Option<PathBuf> {
            r.optional::<String>(name, help).filter(|path| !path.is_empty()).map(PathBuf::from)
        };
        Self {
            certificate: file(
                "REDIS_TLS_CLIENT_CERT",
                "The file of the certificate that is shown to Redis.",
            ),
            key: file("REDIS_TLS_CLIENT_KEY", "The file of its private key."),
            ca: file(
                "REDIS_TLS_CACERT",
                "A file of authorities that are trusted beside those of the system.",
            ),
            server_name: r
                .optional::<String>(
                    "TIDEGATE_REDIS_TLS_SERVER_NAME",
                    "The name that the certificates of Redis and its sentinels must be for, if \
                     it is not that of the host, which may be an address.",
                )
                .filter(|name| !name.is_empty()),
            name_check: r.read(
                "REDIS_TLS_SKIP_HOSTNAME_VERIFICATION",
                NameCheck::Verify,
                "Take a certificate of Redis for any name, if it comes from an authority that \
                 is trusted.",
            ),
        }
    }

    /// Whether anything is set that has no use without TLS.
    pub(super) fn is_given(&self) -> bool {
        let files = [&self.ca, &self.certificate, &self.key];
        files.iter().any(|file| file.is_some()) || self.server_name.is_some()
    }

    /// How a client trusts and proves itself with them.
    pub(super) fn client(&self, r: &mut Reader<'_>) -> ClientTls {
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                Some(Identity { certificate: certificate.clone(), key: key.clone() })
            }
            (None, None) => None,
            (Some(_), None) => {
                r.refuse("REDIS_TLS_CLIENT_KEY", "nothing", "the key of REDIS_TLS_CLIENT_CERT");
                None
            }
            (None, Some(_)) => {
                let allowed = "the certificate of REDIS_TLS_CLIENT_KEY";
                r.refuse("REDIS_TLS_CLIENT_CERT", "nothing", allowed);
                None
            }
        };
        ClientTls {
            ca: self.ca.clone(),
            identity,
            server_name: self.server_name.clone(),
            name_check: self.name_check,
        }
    }
}

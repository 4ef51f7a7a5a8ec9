//! Mutual TLS towards the agents: both ends present a certificate of the same CA, and the
//! agent's must name [`AGENT_TLS_NAME`].

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nettoll_core::api::AGENT_TLS_NAME;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject},
};

use crate::config::Tls;

/// Why connections to agents cannot be secured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A PEM file cannot be read.
    #[error(
        "cannot read {}: {source}; name a readable file of PEM in the configuration's tls.{key}",
        path.display()
    )]
    Read {
        /// The key that names it.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it is no PEM of that kind.
    #[error("there is no {what} in PEM where one should be: {source}")]
    Pem {
        /// What should be there.
        what: &'static str,
        /// Why it is not.
        source: pem::Error,
    },
    /// What there is does not fit together.
    #[error("the certificates cannot be used: {0}; make new ones of one CA")]
    Unfit(#[from] rustls::Error),
    /// The files of the configuration hold something else.
    #[error(
        "{error}; the configuration's [tls] names {}, {} and {}",
        files.ca.display(), files.certificate.display(), files.key.display()
    )]
    Files {
        /// Which files.
        files: Tls,
        /// What is wrong.
        error: Box<TlsError>,
    },
    /// The agents' name is no name.
    #[error("{AGENT_TLS_NAME} cannot be verified: {0}")]
    Name(#[from] rustls::pki_types::InvalidDnsNameError),
}

/// Connects, verifies and is verified.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(super) tls: tokio_rustls::TlsConnector,
    pub(super) server_name: ServerName<'static>,
}

impl Connector {
    /// Reads the certificates and the key from the files of the configuration.
    pub(crate) fn new(tls: &Tls) -> Result<Self, TlsError> {
        let Tls {
            ca,
            certificate,
            key,
        } = tls;
        let read = |key, path: &Path| {
            fs::read_to_string(path).map_err(|source| TlsError::Read {
                key,
                path: path.to_owned(),
                source,
            })
        };
        let of_files = Self::from_pem(
            &read("ca", ca)?,
            &read("certificate", certificate)?,
            &read("key", key)?,
        );
        of_files.map_err(|error| TlsError::Files {
            files: tls.clone(),
            error: error.into(),
        })
    }

    /// From PEM texts: the CAs to trust, the own certificate with its chain, and its key.
    pub(crate) fn from_pem(ca: &str, certificate: &str, key: &str) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates("certificate of a CA", ca)? {
            roots.add(root)?;
        }
        let own = certificates("certificate", certificate)?;
        let own_key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|source| TlsError::Pem {
                what: "private key",
                source,
            })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(own, own_key)?;
        Ok(Self {
            tls: Arc::new(config).into(),
            server_name: ServerName::try_from(AGENT_TLS_NAME)?,
        })
    }
}

fn certificates(what: &'static str, text: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    all.and_then(|all| {
        if all.is_empty() {
            Err(pem::Error::NoItemsFound)
        } else {
            Ok(all)
        }
    })
    .map_err(|source| TlsError::Pem { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_something_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let tls = Tls {
            ca: file("ca.crt"),
            certificate: file("tls.crt"),
            key: file("tls.key"),
        };
        let told = || Connector::new(&tls).err().unwrap().to_string();
        assert!(told().contains("ca.crt: No such file"), "{}", told());
        assert!(told().ends_with("tls.ca"), "{}", told());
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            fs::write(file(name), "junk").unwrap();
        }
        assert!(
            told().contains("no certificate of a CA in PEM"),
            "{}",
            told()
        );
        assert!(told().contains("tls.key"), "{}", told());
    }
}

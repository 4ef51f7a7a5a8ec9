//! Mutual TLS: the agent shows its certificate and speaks only with the controller.

mod keeper;

use std::{path::Path, sync::Arc};

use nettoll_core::api::{AGENT_TLS_NAME, CONTROLLER_TLS_NAME};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerifier as _},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{Error as PemError, PemObject},
    },
    server::{
        NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::keeper::Keeper;
use crate::config::Tls;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file is missing or holds something else.
    #[error("{file}: {error}; it must hold {what} in PEM")]
    File {
        /// Which.
        file: String,
        /// What was expected in it.
        what: &'static str,
        /// What was found.
        error: PemError,
    },
    /// Nobody would take the certificate.
    #[error(
        "the agent's certificate is no good: {0}; it must be for {AGENT_TLS_NAME}, of the CA beside \
         it, and valid by this node's clock"
    )]
    Certificate(String),
    /// The files do not belong together.
    #[error("the files of [tls] cannot be used: {0}; make a new CA, certificate and key")]
    Unusable(String),
}

/// Reads the files and makes an acceptor that lets in nobody but the controller.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
    let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca, "the CA's certificate")? {
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    let chain = certificates(&tls.certificate, "the agent's certificate")?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(file_error(&tls.key, "the certificate's private key"))?;

    let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
    check(&chain, roots.clone(), provider.clone())?;
    let signed = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|error| unusable(&error))?;
    let controller = ServerName::try_from(CONTROLLER_TLS_NAME).map_err(|error| unusable(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_client_cert_verifier(Arc::new(ControllerOnly { signed, controller }))
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&error))?;
    // Each connection shows its certificate anew.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Looks at the agent's own certificate as the controller will.
fn check(
    chain: &[CertificateDer<'_>],
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<(), TlsError> {
    let no_good = |error: &dyn std::fmt::Display| TlsError::Certificate(error.to_string());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| no_good(&error))?;
    let name = ServerName::try_from(AGENT_TLS_NAME).map_err(|error| no_good(&error))?;
    let Some((own, above)) = chain.split_first() else {
        return Err(no_good(&"there is none"));
    };
    match verifier.verify_server_cert(own, above, &name, &[], UnixTime::now()) {
        Ok(_) => Ok(()),
        // Its own words speak of a peer.
        Err(Error::InvalidCertificate(why)) => Err(no_good(&why)),
        Err(error) => Err(no_good(&error)),
    }
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match all {
        Ok(none) if none.is_empty() => Err(file_error(path, what)(PemError::NoItemsFound)),
        Ok(some) => Ok(some),
        Err(error) => Err(file_error(path, what)(error)),
    }
}

fn file_error(path: &Path, what: &'static str) -> impl Fn(PemError) -> TlsError {
    move |error| TlsError::File {
        file: path.display().to_string(),
        what,
        error,
    }
}

/// Accepts what the CA signed for the controller's name. The CA signs the agents' certificates
/// too, so its signature alone would let every node command every other.
#[derive(Debug)]
struct ControllerOnly {
    signed: Arc<dyn ClientCertVerifier>,
    controller: ServerName<'static>,
}

impl ClientCertVerifier for ControllerOnly {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .signed
            .verify_client_cert(end_entity, intermediates, now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, &self.controller)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

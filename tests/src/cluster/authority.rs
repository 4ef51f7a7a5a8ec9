//! The CA of the cluster's agents, for certificates that the controller would not make.

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use time::{Duration, OffsetDateTime};

use super::{NAMESPACE, kubectl};

/// When one begins whose maker's clock is wrong.
const AHEAD: Duration = Duration::minutes(5);

/// When a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Now.
    Now,
    /// It was.
    Over,
    /// From five minutes from now on.
    Later,
}

/// A certificate and its key.
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The same, PEM.
    pub certificate_pem: String,
    /// Its key, PEM.
    pub key_pem: String,
}

/// A CA.
pub struct Authority {
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The one that the controller made, read as the cluster's administrator.
    ///
    /// # Errors
    /// Where it is not there.
    pub fn of_cluster() -> Result<Self> {
        let certificate = secret("nettoll-ca", "tls.crt")?;
        let key = KeyPair::from_pem(&secret("nettoll-ca", "tls.key")?)?;
        Ok(Self {
            certificate: CertificateDer::from_pem_slice(certificate.as_bytes())?,
            issuer: Issuer::from_ca_cert_pem(&certificate, key)?,
        })
    }

    /// One that nobody knows.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn unknown() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new([])?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Ok(Self {
            certificate: parameters.self_signed(&key)?.der().clone(),
            issuer: Issuer::new(parameters, key),
        })
    }

    /// Signs a certificate for a name.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn sign(&self, name: &str, life: Life) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new([name.to_owned()])?;
        match life {
            Life::Now => {}
            Life::Over => parameters.not_after = date_time_ymd(2021, 1, 1),
            Life::Later => parameters.not_before = OffsetDateTime::now_utc() + AHEAD,
        }
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// A key of one of the product's Secrets, as text.
///
/// # Errors
/// Where it is not there.
pub fn secret(name: &str, key: &str) -> Result<String> {
    let template = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
    kubectl(&["get", "secret", "-n", NAMESPACE, name, "-o", &template])
        .with_context(|| format!("the Secret {name}"))
}

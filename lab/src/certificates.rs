//! Keys and certificates of one lab: a CA, one certificate for the agents and one for the
//! controller, made afresh each time. The CA's key is never written: nobody can sign more.

use std::time::{Duration, SystemTime};

use nettoll_core::api::{AGENT_TLS_NAME, CONTROLLER_TLS_NAME};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use crate::files;

/// For clocks that are set back a little.
const VALID_BEFORE: Duration = Duration::from_secs(10 * 60);
const VALID_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// No certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They could not be made.
    #[error("cannot make the lab's certificates: {0}")]
    Make(#[from] rcgen::Error),
    /// They could not be written.
    #[error(transparent)]
    Write(#[from] files::Error),
}

/// Writes `ca.pem`, and `NAME.pem` and `NAME.key` for `agent` and `controller`.
pub(crate) fn write() -> Result<(), Error> {
    let mut ca = parameters("nettoll lab", &[])?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    files::write("ca.pem", &ca.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(ca, key);
    for (name, tls_name, usage) in [
        ("agent", AGENT_TLS_NAME, ExtendedKeyUsagePurpose::ServerAuth),
        (
            "controller",
            CONTROLLER_TLS_NAME,
            ExtendedKeyUsagePurpose::ClientAuth,
        ),
    ] {
        let mut leaf = parameters(tls_name, &[tls_name])?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![usage];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        files::write(
            &format!("{name}.pem"),
            &leaf.signed_by(&key, &issuer)?.pem(),
        )?;
        files::write(&format!("{name}.key"), &key.serialize_pem())?;
    }
    Ok(())
}

fn parameters(common_name: &str, tls_names: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<_> = tls_names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = SystemTime::now();
    parameters.not_before = (now - VALID_BEFORE).into();
    parameters.not_after = (now + VALID_AFTER).into();
    Ok(parameters)
}

//! The controller's own CA and what it signs, as functions of what there is and of the time.
//!
//! The CA lives a year and is replaced in two steps, so that everybody knows the new one before
//! anything is signed with it: at two thirds of its life a next one is made and told, a day
//! later it signs. The old one is trusted until it ends. Certificates begin ten minutes ago, so
//! that a node whose clock is a little behind takes them.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use x509_parser::{pem::Pem, prelude::GeneralName};

/// How long ago a certificate begins.
const BACKDATED: Duration = Duration::minutes(10);
/// Life of a CA.
const CA_LIFE: Duration = Duration::days(365);
/// Life of what it signs.
const LEAF_LIFE: Duration = Duration::days(30);
/// Between telling a CA and signing with it.
const ANNOUNCED: Duration = Duration::days(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// The cryptography refuses.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate and its key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Public.
    pub(crate) certificate: String,
    /// Secret: never printed.
    pub(crate) key: String,
}

/// The CA in all its generations.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Signs.
    pub(crate) current: Pair,
    /// Will sign.
    pub(crate) next: Option<Pair>,
    /// Signed what may still be in use.
    pub(crate) previous: Option<String>,
}

impl Authority {
    /// What there is to be at this time, from what there was.
    pub(crate) fn advance(
        known: Option<Self>,
        now: OffsetDateTime,
    ) -> Result<Self, CertificateError> {
        let usable = |pair: &Pair| {
            Life::of(&pair.certificate).is_some_and(|life| life.lasts(now))
                && KeyPair::from_pem(&pair.key).is_ok()
        };
        let Some(mut known) = known.filter(|known| usable(&known.current)) else {
            return Ok(Self {
                current: make_ca(now)?,
                next: None,
                previous: None,
            });
        };
        known.next = known.next.filter(usable);
        known.previous = known
            .previous
            .filter(|old| Life::of(old).is_some_and(|life| life.lasts(now)));
        match known.next.take() {
            Some(next) if Life::of(&next.certificate).is_some_and(|life| life.announced(now)) => {
                known.previous = Some(known.current.certificate);
                known.current = next;
            }
            Some(next) => known.next = Some(next),
            None if Life::of(&known.current.certificate).is_some_and(|life| life.due(now)) => {
                known.next = Some(make_ca(now)?);
            }
            None => {}
        }
        Ok(known)
    }

    /// All CAs to trust.
    pub(crate) fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|next| &next.certificate);
        [
            Some(&self.current.certificate),
            next,
            self.previous.as_ref(),
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
    }

    /// The certificate for this name: the known one while it is good, else a new one.
    pub(crate) fn leaf(
        &self,
        known: Option<Pair>,
        name: &str,
        now: OffsetDateTime,
    ) -> Result<Pair, CertificateError> {
        match known.filter(|known| self.is_good(known, name, now)) {
            Some(good) => Ok(good),
            None => self.sign(name, now),
        }
    }

    fn is_good(&self, leaf: &Pair, name: &str, now: OffsetDateTime) -> bool {
        let good = || {
            let life = Life::of(&leaf.certificate)?;
            let (leaf_pem, ca_pem) = (pem(&leaf.certificate)?, pem(&self.current.certificate)?);
            let (certificate, ca) = (leaf_pem.parse_x509().ok()?, ca_pem.parse_x509().ok()?);
            let names = certificate.subject_alternative_name().ok()??;
            let named = names
                .value
                .general_names
                .contains(&GeneralName::DNSName(name));
            let signed = certificate.verify_signature(Some(ca.public_key())).is_ok();
            let own_key = KeyPair::from_pem(&leaf.key).is_ok_and(|key| {
                let public = &certificate.public_key().subject_public_key.data;
                rcgen::PublicKeyData::der_bytes(&key) == public.as_ref()
            });
            Some(life.lasts(now) && !life.due(now) && named && signed && own_key)
        };
        good().unwrap_or(false)
    }

    fn sign(&self, name: &str, now: OffsetDateTime) -> Result<Pair, CertificateError> {
        let signer = KeyPair::from_pem(&self.current.key)?;
        let issuer = Issuer::from_ca_cert_pem(&self.current.certificate, signer)?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = now - BACKDATED;
        params.not_after = now + LEAF_LIFE;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        let key = key.serialize_pem();
        Ok(Pair { certificate, key })
    }
}

fn make_ca(now: OffsetDateTime) -> Result<Pair, CertificateError> {
    let mut params = CertificateParams::new([])?;
    // Generations are told apart by their names: verifiers look issuers up by them.
    let name = format!("nettoll CA {}", now.unix_timestamp());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - BACKDATED;
    params.not_after = now + CA_LIFE;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    let key = key.serialize_pem();
    Ok(Pair { certificate, key })
}

fn pem(text: &str) -> Option<Pem> {
    Pem::iter_from_buffer(text.as_bytes()).next()?.ok()
}

/// From when to when a certificate is good.
#[derive(Clone, Copy)]
struct Life {
    begin: OffsetDateTime,
    end: OffsetDateTime,
}

impl Life {
    fn of(certificate: &str) -> Option<Self> {
        let pem = pem(certificate)?;
        let validity = pem.parse_x509().ok()?.validity().clone();
        Some(Self {
            begin: validity.not_before.to_datetime(),
            end: validity.not_after.to_datetime(),
        })
    }

    /// A certificate of a clock that was ahead has not begun.
    fn lasts(&self, now: OffsetDateTime) -> bool {
        self.begin <= now && now < self.end
    }

    /// Two thirds are over.
    fn due(&self, now: OffsetDateTime) -> bool {
        now >= self.begin + (self.end - self.begin) * 2 / 3
    }

    /// Everybody has had the time to hear of it.
    fn announced(&self, now: OffsetDateTime) -> bool {
        now >= self.begin + BACKDATED + ANNOUNCED
    }
}

#[cfg(test)]
mod tests;

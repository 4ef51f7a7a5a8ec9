//! The three Secrets: the CA, the agents' certificate, and the controller's own.
//!
//! A Secret without the label [`MANAGED_BY`] is somebody else's, cert-manager's for one: it is
//! used as it is. Nothing of a key is ever logged.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, api::PostParams};
use nettoll_core::api::{AGENT_TLS_NAME, CONTROLLER_TLS_NAME};
use time::OffsetDateTime;

use super::{
    certificates::{Authority, CertificateError, Pair},
    client::{ApiError, ask},
};
use crate::agents::{Connector, TlsError};

/// Holds the CA.
const CA: &str = "nettoll-ca";
/// Holds the agents' certificate.
const AGENT: &str = "nettoll-agent-tls";
/// Holds the controller's.
const CONTROLLER: &str = "nettoll-controller-tls";
/// The label of what this controller made.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "nettoll");

const CA_CERTIFICATES: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const PREVIOUS: &str = "previous.crt";

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretsError {
    /// See [`ApiError`].
    #[error(transparent)]
    Api(#[from] ApiError),
    /// See [`CertificateError`].
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// See [`TlsError`].
    #[error("the Secret {CONTROLLER} cannot be used: {0}")]
    Unfit(#[from] TlsError),
}

/// The Secrets of the controller's namespace.
pub(crate) struct Secrets(Api<Secret>);

type Data = BTreeMap<String, String>;

impl Secrets {
    /// Nothing is asked yet.
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }

    /// Makes or renews what is due, and answers what the controller connects to agents with.
    pub(crate) async fn provide(&self, now: OffsetDateTime) -> Result<Material, SecretsError> {
        let agent = self.read(AGENT).await?;
        let controller = self.read(CONTROLLER).await?;
        let foreign = |secret: &Option<Secret>| secret.as_ref().is_some_and(|it| !is_ours(it));
        if !(foreign(&agent) && foreign(&controller)) {
            let authority = self.authority(now).await?;
            self.leaf(AGENT, AGENT_TLS_NAME, agent, &authority, now)
                .await?;
            self.leaf(CONTROLLER, CONTROLLER_TLS_NAME, controller, &authority, now)
                .await?;
        }
        let data = self
            .read(CONTROLLER)
            .await?
            .as_ref()
            .map(data)
            .unwrap_or_default();
        let of = |key| data.get(key).cloned().unwrap_or_default();
        Ok(Material {
            ca: of(CA_CERTIFICATES),
            pair: Pair {
                certificate: of(CERTIFICATE),
                key: of(KEY),
            },
        })
    }

    async fn authority(&self, now: OffsetDateTime) -> Result<Authority, SecretsError> {
        let secret = self.read(CA).await?;
        let known = secret.as_ref().map(data).map(|data| Authority {
            current: pair(&data, CERTIFICATE, KEY),
            next: data
                .contains_key(NEXT_CERTIFICATE)
                .then(|| pair(&data, NEXT_CERTIFICATE, NEXT_KEY)),
            previous: data.get(PREVIOUS).cloned(),
        });
        let authority = Authority::advance(known, now)?;
        let mut wanted = Data::from([
            (
                CERTIFICATE.to_owned(),
                authority.current.certificate.clone(),
            ),
            (KEY.to_owned(), authority.current.key.clone()),
        ]);
        if let Some(next) = &authority.next {
            wanted.insert(NEXT_CERTIFICATE.to_owned(), next.certificate.clone());
            wanted.insert(NEXT_KEY.to_owned(), next.key.clone());
        }
        if let Some(previous) = &authority.previous {
            wanted.insert(PREVIOUS.to_owned(), previous.clone());
        }
        self.write(CA, secret, wanted).await?;
        Ok(authority)
    }

    async fn leaf(
        &self,
        name: &str,
        tls_name: &str,
        secret: Option<Secret>,
        authority: &Authority,
        now: OffsetDateTime,
    ) -> Result<(), SecretsError> {
        if secret.as_ref().is_some_and(|secret| !is_ours(secret)) {
            return Ok(());
        }
        let known = secret
            .as_ref()
            .map(|secret| pair(&data(secret), CERTIFICATE, KEY));
        let Pair { certificate, key } = authority.leaf(known, tls_name, now)?;
        let wanted = Data::from([
            (CA_CERTIFICATES.to_owned(), authority.bundle()),
            (CERTIFICATE.to_owned(), certificate),
            (KEY.to_owned(), key),
        ]);
        Ok(self.write(name, secret, wanted).await?)
    }

    async fn read(&self, name: &str) -> Result<Option<Secret>, ApiError> {
        ask(format!("read the Secret {name}"), self.0.get_opt(name)).await
    }

    /// Writes what is not so already, unless somebody else wrote since it was read.
    async fn write(&self, name: &str, was: Option<Secret>, wanted: Data) -> Result<(), ApiError> {
        let labels = [MANAGED_BY, ("app.kubernetes.io/name", "nettoll")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let bytes = |wanted: Data| {
            let bytes = wanted.into_iter();
            Some(
                bytes
                    .map(|(key, text)| (key, ByteString(text.into_bytes())))
                    .collect(),
            )
        };
        let parameters = PostParams::default();
        match was {
            Some(was) if data(&was) == wanted => return Ok(()),
            Some(was) => {
                let secret = Secret {
                    data: bytes(wanted),
                    ..was
                };
                let replaced = self.0.replace(name, &parameters, &secret);
                ask(format!("renew the Secret {name}"), replaced).await?;
            }
            None => {
                let secret = Secret {
                    metadata: ObjectMeta {
                        name: Some(name.to_owned()),
                        labels: Some(labels.into()),
                        ..ObjectMeta::default()
                    },
                    type_: Some("kubernetes.io/tls".to_owned()),
                    data: bytes(wanted),
                    ..Secret::default()
                };
                let created = self.0.create(&parameters, &secret);
                ask(format!("create the Secret {name}"), created).await?;
            }
        }
        tracing::info!("wrote the Secret {name}");
        Ok(())
    }
}

/// What the controller trusts and shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Material {
    ca: String,
    pair: Pair,
}

impl Material {
    /// Ready for connections.
    pub(crate) fn connector(&self) -> Result<Connector, SecretsError> {
        let Pair { certificate, key } = &self.pair;
        Ok(Connector::from_pem(&self.ca, certificate, key)?)
    }
}

fn is_ours(secret: &Secret) -> bool {
    let (key, value) = MANAGED_BY;
    let labels = secret.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(key))
        .is_some_and(|is| is == value)
}

fn data(secret: &Secret) -> Data {
    let entries = secret.data.iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), String::from_utf8(value.0.clone()).ok()?)))
        .collect()
}

fn pair(data: &Data, certificate: &str, key: &str) -> Pair {
    let of = |key| data.get(key).cloned().unwrap_or_default();
    Pair {
        certificate: of(certificate),
        key: of(key),
    }
}

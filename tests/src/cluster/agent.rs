//! Speaking with the agent of a cluster's node, with any certificate or none.

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nettoll_core::api::{AGENT_PORT, AGENT_TLS_NAME, METRICS_PORT};
use nettoll_lab::netns;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

use super::{
    NETNS, Pod,
    authority::{Authority, Identity},
};
use crate::agent::{receive, send};

/// For one answer.
const ANSWER: Duration = Duration::from_secs(20);
/// To connect.
const CONNECT: Duration = Duration::from_secs(3);

/// A status and a body.
pub type Answer = (u16, String);

/// The agent of a node, as it can be reached over the network.
pub struct NodeAgent {
    address: String,
    roots: Arc<RootCertStore>,
}

impl NodeAgent {
    /// The agent in this pod, whose certificate `authority` signed.
    ///
    /// # Errors
    /// Where the CA's certificate cannot be used.
    pub fn of(pod: &Pod, authority: &Authority) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone())?;
        Ok(Self {
            address: pod.node_address.clone(),
            roots: Arc::new(roots),
        })
    }

    /// Asks with a certificate or without one.
    ///
    /// # Errors
    /// Where the agent cannot be reached or lets nobody in.
    pub fn ask(
        &self,
        identity: Option<&Identity>,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<Answer> {
        let mut stream = self.open(identity)?;
        send(&mut stream, method, path, body)?;
        receive(stream)
    }

    /// The certificate that the agent shows.
    ///
    /// # Errors
    /// Where there is no handshake.
    pub fn shows(&self, identity: &Identity) -> Result<CertificateDer<'static>> {
        let mut stream = self.open(Some(identity))?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let shown = stream.conn.peer_certificates();
        let first = shown.and_then(<[_]>::first).context("no certificate")?;
        Ok(first.clone().into_owned())
    }

    /// Asks the API without TLS.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn ask_plainly(&self, path: &str) -> Result<Answer> {
        let mut stream = self.connect(AGENT_PORT)?;
        send(&mut stream, "GET", path, "")?;
        receive(stream)
    }

    /// A page beside the metrics.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub fn page(&self, path: &str) -> Result<Answer> {
        let mut stream = self.connect(METRICS_PORT)?;
        send(&mut stream, "GET", path, "")?;
        receive(stream)
    }

    fn open(
        &self,
        identity: Option<&Identity>,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone());
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => config.with_client_auth_cert(
                vec![identity.certificate.clone()],
                PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?,
            )?,
        };
        let name = ServerName::try_from(AGENT_TLS_NAME)?;
        let connection = ClientConnection::new(Arc::new(config), name)?;
        Ok(StreamOwned::new(connection, self.connect(AGENT_PORT)?))
    }

    fn connect(&self, port: u16) -> Result<TcpStream> {
        let address = SocketAddr::new(self.address.parse()?, port);
        let stream = netns::within(NETNS, move || TcpStream::connect_timeout(&address, CONNECT))??;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(stream)
    }
}

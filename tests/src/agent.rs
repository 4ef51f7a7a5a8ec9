//! A real agent in the lab, and the controller's way to speak with it: mutual TLS with
//! certificates made for the test.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nettoll_core::api::{AGENT_TLS_NAME, CONTROLLER_TLS_NAME};
use nettoll_lab::plan::{self, Node};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;

/// For an agent to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(60);

/// A CA and what it signed.
pub struct Certificates {
    ca: CertificateDer<'static>,
    controller: (CertificateDer<'static>, Vec<u8>),
    files: TempDir,
}

impl Certificates {
    /// Makes all of them; the agent's are files.
    ///
    /// # Errors
    /// Where they cannot be made or written.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new([])?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca = parameters.self_signed(&key)?;
        let issuer = Issuer::new(parameters, key);
        let sign = |name: &str| -> Result<_> {
            let key = KeyPair::generate()?;
            Ok((
                CertificateParams::new([name.to_owned()])?.signed_by(&key, &issuer)?,
                key,
            ))
        };
        let files = tempfile::tempdir()?;
        let (agent, key) = sign(AGENT_TLS_NAME)?;
        for (name, text) in [
            ("ca.pem", ca.pem()),
            ("agent.pem", agent.pem()),
            ("agent.key", key.serialize_pem()),
        ] {
            fs::write(files.path().join(name), text)?;
        }
        let (controller, key) = sign(CONTROLLER_TLS_NAME)?;
        let controller = (controller.der().clone(), key.serialize_der());
        Ok(Self {
            ca: ca.der().clone(),
            controller,
            files,
        })
    }

    /// Writes the configuration of a lab node's agent, `more` at its beginning.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn configure(&self, node: &Node, more: &str) -> Result<PathBuf> {
        let folder = self.files.path().display();
        let mut text = format!(
            "{more}\nnode = '{}'\naddress = '{}'\nlisten = '{}'\nmetrics_listen = '{}'\n[tls]\n\
             ca = '{folder}/ca.pem'\ncertificate = '{folder}/agent.pem'\nkey = '{folder}/agent.key'\n",
            node.name,
            node.address(),
            node.api(),
            node.metrics()
        );
        for pod in &node.pods {
            let (space, name) = (plan::POD_NAMESPACE, &pod.name);
            text += &format!(
                "[[endpoints]]\nname = 'pod/{space}/{name}'\nnetns = '{}'\n",
                pod.netns()
            );
        }
        let path = self.files.path().join(format!("{}.toml", node.name));
        fs::write(&path, text)?;
        Ok(path)
    }

    fn client(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone())?;
        let (certificate, key) = &self.controller;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.clone()], key)?;
        Ok(Arc::new(config))
    }
}

/// A running agent; it is killed when this is dropped.
pub struct Agent {
    child: Child,
    node: Node,
    tls: Arc<ClientConfig>,
}

impl Agent {
    /// Starts the agent of a lab node and waits until it listens.
    ///
    /// # Errors
    /// Where it does not, and what it said.
    pub fn start(node: &Node, certificates: &Certificates) -> Result<Self> {
        Self::start_with(node, certificates, "")
    }

    /// As [`Self::start`], with more in its configuration.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(node: &Node, certificates: &Certificates, more: &str) -> Result<Self> {
        let child = nettoll_lab::command_in(&node.name, crate::binary("nettoll-agent")?)?
            .args([
                "run".as_ref(),
                "--config".as_ref(),
                certificates.configure(node, more)?.as_os_str(),
            ])
            .stdin(Stdio::null())
            .spawn()?;
        let mut agent = Self {
            child,
            node: node.clone(),
            tls: certificates.client()?,
        };
        let begin = Instant::now();
        while agent.connect(node.api()).is_err() {
            if let Some(status) = agent.child.try_wait()? {
                bail!("the agent of {} ended at once: {status}", node.name);
            }
            ensure!(
                begin.elapsed() < PATIENCE,
                "the agent of {} does not listen",
                node.name
            );
            sleep(Duration::from_millis(20));
        }
        Ok(agent)
    }

    /// Connects from the controller's namespace. The socket stays in it.
    fn connect(&self, address: SocketAddr) -> Result<TcpStream> {
        let netns = plan::netns(plan::CONTROLLER);
        let stream = nettoll_lab::netns::within(&netns, move || TcpStream::connect(address))??;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(stream)
    }

    /// The number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks as the controller, and takes an answer of status 200.
    ///
    /// # Errors
    /// Where the agent cannot be reached or answers an error.
    pub fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let (status, text) = self.request(method, path, body)?;
        ensure!(status == 200, "{method} {path}: {status} {text}");
        serde_json::from_str(&text).with_context(|| format!("{method} {path}: {text}"))
    }

    /// Asks as the controller: status and body.
    ///
    /// # Errors
    /// Where the agent cannot be reached.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(u16, String)> {
        let mut stream = self.open()?;
        send(&mut stream, method, path, &serde_json::to_string(body)?)?;
        receive(stream)
    }

    /// Sends a request and closes the connection without waiting for the answer, after a while.
    ///
    /// # Errors
    /// Where the agent cannot be reached.
    pub fn abandon(
        &self,
        method: &str,
        path: &str,
        body: &impl Serialize,
        after: Duration,
    ) -> Result<()> {
        let mut stream = self.open()?;
        send(&mut stream, method, path, &serde_json::to_string(body)?)?;
        sleep(after);
        Ok(())
    }

    fn open(&self) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from(AGENT_TLS_NAME)?;
        let connection = ClientConnection::new(self.tls.clone(), name)?;
        Ok(StreamOwned::new(connection, self.connect(self.node.api())?))
    }

    /// Fetches a page of the metrics' listener.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub fn page(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = self.connect(self.node.metrics())?;
        send(&mut stream, "GET", path, "")?;
        receive(stream)
    }

    /// Kills it, and waits for no more than its process.
    ///
    /// # Errors
    /// Where it ended before.
    pub fn kill(mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "the agent ended before");
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Errors
    /// Where the agent does not end in time.
    pub fn signal(mut self, signal: i32) -> Result<ExitStatus> {
        let pid = i32::try_from(self.child.id())?;
        crate::signal(pid, signal)?;
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.signal().is_none(),
                    "the agent was killed by {signal}"
                );
                return Ok(status);
            }
            ensure!(
                begin.elapsed() < PATIENCE,
                "the agent does not end on signal {signal}"
            );
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn send(stream: &mut impl Write, method: &str, path: &str, body: &str) -> Result<()> {
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {AGENT_TLS_NAME}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(stream.flush()?)
}

/// Reads an answer to the end of the connection.
pub(crate) fn receive(mut stream: impl Read) -> Result<(u16, String)> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // The agent closes without a TLS goodbye; content-length tells whether all is there.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        read => {
            read?;
        }
    }
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("no end of the answer's head")?;
    let status = head
        .split_whitespace()
        .nth(1)
        .context("no status")?
        .parse()?;
    Ok((status, body.to_owned()))
}

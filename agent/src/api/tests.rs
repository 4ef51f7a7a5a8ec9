//! The API over real mutual TLS on loopback, with certificates made for the test.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use nettoll_core::{
    api::{AGENT_TLS_NAME, AgentInfo, CONTROLLER_TLS_NAME, ErrorBody, Resolved},
    version::AGENT_PRODUCT,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;
use crate::{
    config::Tls,
    http,
    tls::{self, Keeper},
};

struct Ca {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// An agent that serves until it is dropped.
struct Server {
    ca: Ca,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start() -> Self {
        let ca = Ca::new();
        let files = TempDir::new().unwrap();
        let (certificate, key) = ca.sign(AGENT_TLS_NAME);
        let tls = Keeper::new(Tls {
            ca: write(&files, "ca.pem", &ca.certificate.pem()),
            certificate: write(&files, "agent.pem", &certificate.pem()),
            key: write(&files, "agent.key", &key.serialize_pem()),
        });
        let agent = Arc::new(Agent::new(
            "n1".to_owned(),
            BTreeMap::new(),
            Settings::default(),
        ));
        let privileged = Privileged::start().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            http::serve(listener, Some(tls), LIMITS, move |request| {
                handle(agent.clone(), privileged.clone(), request)
            })
            .await;
        });
        Self { ca, address, task }
    }

    /// Sends one request with the certificate of `client`; what goes wrong below HTTP is `Err`.
    async fn ask(
        &self,
        client: Option<(rcgen::Certificate, KeyPair)>,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.certificate.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match client {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
                config
                    .with_client_auth_cert(vec![certificate.der().clone()], key)
                    .unwrap()
            }
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(AGENT_TLS_NAME).unwrap(), stream)
            .await
            .map_err(|error| error.to_string())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| format!("{error:?}"))?;
        let server = response.headers().get(header::SERVER).unwrap();
        let version = server.to_str().unwrap().strip_prefix(AGENT_PRODUCT);
        assert_eq!(version, Some(env!("CARGO_PKG_VERSION")));
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    }

    /// Asks as the controller.
    async fn controller(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> (StatusCode, Bytes) {
        let client = self.ca.sign(CONTROLLER_TLS_NAME);
        self.ask(Some(client), request(method, path, body))
            .await
            .unwrap()
    }

    async fn error(&self, method: Method, path: &str, body: &str) -> (u16, String) {
        let (status, body) = self.controller(method, path, body.to_owned()).await;
        let ErrorBody { error } = serde_json::from_slice(&body).unwrap();
        (status.as_u16(), error)
    }
}

fn write(files: &TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let path = files.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", AGENT_TLS_NAME)
        .body(Full::new(body.into()))
        .unwrap()
}

#[tokio::test]
async fn the_controller_is_answered() {
    let server = Server::start().await;
    let (status, body) = server.controller(Method::GET, "/v1/info", "").await;
    assert_eq!(status, StatusCode::OK);
    let info: AgentInfo = serde_json::from_slice(&body).unwrap();
    assert_eq!(info.context.node, "n1");
    assert_eq!(info.endpoints, ["node/n1".parse().unwrap()]);

    let ask = r#"{"endpoint":"node/n1","local_address":"127.0.0.1","peer_address":"127.0.0.1","peer_node_address":null}"#;
    let (status, body) = server.controller(Method::POST, "/v1/resolve", ask).await;
    assert_eq!(status, StatusCode::OK);
    let resolved: Resolved = serde_json::from_slice(&body).unwrap();
    assert!(
        resolved
            .devices
            .iter()
            .any(|device| device.endpoint && device.name == "lo")
    );
}

#[tokio::test]
async fn nobody_else_gets_in() {
    let server = Server::start().await;
    let info = || request(Method::GET, "/v1/info", "");
    // Another agent's certificate is of the same CA.
    for name in [AGENT_TLS_NAME, "controller.nettoll.example.org", "nettoll"] {
        let client = server.ca.sign(name);
        assert!(server.ask(Some(client), info()).await.is_err(), "{name}");
    }
    let foreign = Ca::new().sign(CONTROLLER_TLS_NAME);
    assert!(
        server.ask(Some(foreign), info()).await.is_err(),
        "a foreign CA"
    );
    assert!(server.ask(None, info()).await.is_err(), "no certificate");
    // And the server still serves.
    assert_eq!(
        server.controller(Method::GET, "/v1/info", "").await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn large_bodies_are_refused_announced_or_not() {
    let server = Server::start().await;
    let large = vec![b' '; nettoll_core::api::MAX_BODY_BYTES + 1];
    let (status, _) = server
        .controller(Method::POST, "/v1/runs", large.clone())
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "announced");
    let mut chunked = request(Method::POST, "/v1/runs", large);
    chunked
        .headers_mut()
        .insert("transfer-encoding", "chunked".parse().unwrap());
    let client = server.ca.sign(CONTROLLER_TLS_NAME);
    let (status, _) = server.ask(Some(client), chunked).await.unwrap();
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "not announced");
}

#[tokio::test]
async fn requests_are_taken_literally() {
    let server = Server::start().await;
    for (method, path, body, status, says) in [
        (Method::GET, "/", "", 404, "nothing at /"),
        (Method::GET, "/v1/resolve", "", 405, "POST"),
        (Method::DELETE, "/v1/runs/a.b", "", 400, "run's id"),
        (Method::POST, "/v1/resolve", "{", 400, "EOF"),
        (
            Method::POST,
            "/v1/resolve",
            r#"{"endpoint":"n1"}"#,
            400,
            "no endpoint",
        ),
        (
            Method::POST,
            "/v1/runs",
            r#"{"idd":"a"}"#,
            400,
            "unknown field `idd`",
        ),
        (
            Method::POST,
            "/v1/runs/none/start",
            "{}",
            400,
            "missing field `protocol`",
        ),
        (
            Method::POST,
            "/v1/runs/none/start",
            "null",
            404,
            "no run 'none'",
        ),
    ] {
        let (actual, error) = server.error(method, path, body).await;
        assert_eq!(actual, status, "{path} {body}: {error}");
        assert!(error.contains(says), "{path} {body}: {error}");
    }
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let files = TempDir::new().unwrap();
    let nowhere = Tls {
        ca: files.path().join("ca.pem"),
        certificate: files.path().join("agent.pem"),
        key: files.path().join("agent.key"),
    };
    let missing = tls::acceptor(&nowhere).err().unwrap().to_string();
    assert!(
        missing.contains("ca.pem") && missing.contains("the CA's certificate"),
        "{missing}"
    );
    write(&files, "ca.pem", "no PEM");
    let empty = tls::acceptor(&nowhere).err().unwrap().to_string();
    assert!(empty.contains("ca.pem"), "{empty}");
    assert!(Path::new(&nowhere.ca).exists());
}

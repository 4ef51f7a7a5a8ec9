//! The client against real TLS servers of its own certificates, on 127.0.0.1.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use http_body_util::Full;
use hyper::{Response, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nettoll_core::{
    api::{AGENT_TLS_NAME, CONTROLLER_TLS_NAME},
    version::AGENT_PRODUCT,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::Tls;

/// A CA and what it signs.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Certificate and key, PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (
            params.signed_by(&key, &self.issuer).unwrap().pem(),
            key.serialize_pem(),
        )
    }

    /// The controller's end.
    pub(crate) fn connector(&self) -> Connector {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (certificate, key) = self.sign(CONTROLLER_TLS_NAME);
        let tls = Tls {
            ca: file("ca", &self.pem),
            certificate: file("certificate", &certificate),
            key: file("key", &key),
        };
        Connector::new(&tls).unwrap()
    }

    /// An agent's end: it has a certificate for `name` and asks for one of this CA.
    pub(crate) fn acceptor(&self, name: &str) -> TlsAcceptor {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
        let (certificate, key) = self.sign(name);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            );
        Arc::new(config.unwrap()).into()
    }
}

/// What an agent of this version answers.
pub(crate) fn agents_answer(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    of_version(env!("CARGO_PKG_VERSION"), body)
}

fn of_version(version: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let server = format!("{AGENT_PRODUCT}{version}");
    let response = Response::builder().header(header::SERVER, server);
    response.body(Full::new(body.into())).unwrap()
}

/// A server that answers every request with this status and body, `requests` of them a
/// connection, and counts connections.
async fn server(
    acceptor: TlsAcceptor,
    status: u16,
    body: impl Into<Bytes>,
    connections: Arc<AtomicUsize>,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let body = body.into();
    let serve = async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(tls) = acceptor.accept(tcp).await else {
                continue;
            };
            connections.fetch_add(1, Ordering::Relaxed);
            let answer = service_fn(|_| {
                let mut response = agents_answer(body.clone());
                *response.status_mut() = status.try_into().unwrap();
                async { Ok::<_, std::convert::Infallible>(response) }
            });
            // One connection at a time is enough for one client.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(tls), answer)
                .await;
        }
    };
    (address, tokio::spawn(serve))
}

fn agent(address: SocketAddr, connector: Connector) -> Agent {
    Agent::new("n1".into(), address, connector)
}

/// What the client says to a server with a certificate of `ca` for `name`.
async fn met(ca: &Ca, name: &str, connector: Connector) -> Result<(), AgentError> {
    let (address, _server) = server(ca.acceptor(name), 200, "null", Arc::default()).await;
    agent(address, connector).start("r", None).await
}

#[tokio::test]
async fn only_an_agent_of_the_own_ca_is_trusted() {
    let (ca, other) = (Ca::new(), Ca::new());
    met(&ca, AGENT_TLS_NAME, ca.connector()).await.unwrap();

    let wrong_name = met(&ca, CONTROLLER_TLS_NAME, ca.connector())
        .await
        .unwrap_err();
    assert!(matches!(wrong_name.fault, Fault::Tls(_)), "{wrong_name}");
    assert!(wrong_name.to_string().contains("node n1"), "{wrong_name}");

    let wrong_issuer = met(&other, AGENT_TLS_NAME, ca.connector())
        .await
        .unwrap_err();
    assert!(
        matches!(wrong_issuer.fault, Fault::Tls(_)),
        "{wrong_issuer}"
    );
}

#[tokio::test]
async fn a_connection_is_kept_and_made_anew_when_it_broke() {
    let ca = Ca::new();
    let connections = Arc::new(AtomicUsize::new(0));
    let (address, first) = server(
        ca.acceptor(AGENT_TLS_NAME),
        200,
        "null",
        connections.clone(),
    )
    .await;
    let agent = agent(address, ca.connector());
    for _ in 0..3 {
        agent.start("r", None).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);

    first.abort();
    let _ = first.await;
    let gone = agent.start("r", None).await.unwrap_err();
    assert!(
        matches!(gone.fault, Fault::Unreachable(_) | Fault::Lost(_)),
        "{gone}"
    );

    let listener = TcpListener::bind(address).await.unwrap();
    let acceptor = ca.acceptor(AGENT_TLS_NAME);
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let answer =
            service_fn(|_| async { Ok::<_, std::convert::Infallible>(agents_answer("null")) });
        let tls = acceptor.accept(tcp).await.unwrap();
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(tls), answer)
            .await;
    });
    agent.start("r", None).await.unwrap();
}

#[tokio::test]
async fn refusals_and_strange_answers_are_told_apart() {
    let ca = Ca::new();
    let asked = async |status: u16, body: Vec<u8>| {
        let acceptor = ca.acceptor(AGENT_TLS_NAME);
        let (address, _server) = server(acceptor, status, body, Arc::default()).await;
        agent(address, ca.connector())
            .start("r", None)
            .await
            .unwrap_err()
            .fault
    };
    let refused = asked(404, br#"{"error":"no such run"}"#.to_vec()).await;
    assert_eq!(refused.to_string(), "no such run (status 404)");
    assert!(matches!(asked(200, b"{".to_vec()).await, Fault::Answer(_)));
    assert!(matches!(
        asked(200, vec![b' '; LIMIT + 1]).await,
        Fault::TooLarge(LIMIT)
    ));
}

#[tokio::test]
async fn a_silent_agent_does_not_hold_anybody_up() {
    let ca = Ca::new();
    // It accepts and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = agent(listener.local_addr().unwrap(), ca.connector());
    let asked = agent
        .ask::<()>(Method::GET, "/", &(), Duration::from_millis(50), LIMIT)
        .await;
    assert!(matches!(asked.unwrap_err().fault, Fault::Deadline(_)));
}

#[tokio::test]
async fn nothing_is_taken_from_an_agent_of_another_version() {
    let ca = Ca::new();
    let asked = async |answer: fn() -> Response<Full<Bytes>>| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = ca.acceptor(AGENT_TLS_NAME);
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let tls = acceptor.accept(tcp).await.unwrap();
            let answer = service_fn(|_| async move { Ok::<_, std::convert::Infallible>(answer()) });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(tls), answer)
                .await;
        });
        agent(address, ca.connector()).start("r", None).await
    };
    asked(|| agents_answer("null")).await.unwrap();
    // Its words may mean something else: even a refusal is not repeated.
    let other = asked(|| of_version("999.0.0", "null")).await.unwrap_err();
    assert!(
        other.to_string().contains("it is nettoll-agent/999.0.0"),
        "{other}"
    );
    let silent = asked(|| Response::new("null".into())).await.unwrap_err();
    assert!(matches!(silent.fault, Fault::Version(_)), "{silent}");
}

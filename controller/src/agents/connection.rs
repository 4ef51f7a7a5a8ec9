//! HTTP/1.1 over mutual TLS to one agent: one connection, kept and made anew when it breaks.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1::{SendRequest, handshake},
    header::{self, HeaderMap},
};
use hyper_util::rt::TokioIo;
use nettoll_core::{
    api::AGENT_TLS_NAME,
    reason,
    version::{AGENT_PRODUCT, understand_each_other},
};
use tokio::{net::TcpStream, sync::Mutex, time::timeout};

use super::{Fault, tls::Connector};

/// How long an agent has to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Most of an agent's version that is told, in characters.
const MAX_VERSION: usize = 64;

/// A request without its addressee.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) body: Bytes,
    /// From the first byte sent to the last byte read, a new connection included.
    pub(super) deadline: Duration,
    /// Most bytes of the answer's body.
    pub(super) limit: usize,
}

/// The connection to one agent.
pub(super) struct Connection {
    address: SocketAddr,
    connector: Connector,
    /// Taken out while a request is under way: one that is dropped or fails takes its
    /// connection with it, so that no answer is ever read as that to another question.
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Connection {
    pub(super) fn new(address: SocketAddr, connector: Connector) -> Self {
        Self {
            address,
            connector,
            idle: Mutex::new(None),
        }
    }

    /// Asks once; the status and the body of the answer.
    pub(super) async fn ask(&self, question: Question<'_>) -> Result<(StatusCode, Bytes), Fault> {
        let deadline = question.deadline;
        timeout(deadline, self.exchange(question))
            .await
            .unwrap_or(Err(Fault::Deadline(deadline)))
    }

    async fn exchange(&self, question: Question<'_>) -> Result<(StatusCode, Bytes), Fault> {
        let Question {
            method,
            path,
            body,
            deadline: _,
            limit,
        } = question;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, AGENT_TLS_NAME)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Fault::Lost(error.to_string()))?;
        let mut sender = self.ready().await?;
        let lost = |error: hyper::Error| Fault::Lost(reason(&error));
        let response = sender.send_request(request).await.map_err(lost)?;
        let (head, body) = response.into_parts();
        understood(&head.headers)?;
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Fault::TooLarge(limit)
            } else {
                Fault::Lost(reason(error.as_ref()))
            }
        })?;
        *self.idle.lock().await = Some(sender);
        Ok((head.status, body.to_bytes()))
    }

    /// The kept connection where it still stands, else a new one.
    async fn ready(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let kept = self.idle.lock().await.take();
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        timeout(CONNECT_DEADLINE, self.connect())
            .await
            .unwrap_or(Err(Fault::Unreachable(format!(
                "no connection in {CONNECT_DEADLINE:?}"
            ))))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let unreachable = |error: std::io::Error| Fault::Unreachable(error.to_string());
        let tcp = TcpStream::connect(self.address)
            .await
            .map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let Connector { tls, server_name } = self.connector.clone();
        let stream = tls
            .connect(server_name, tcp)
            .await
            .map_err(|error| Fault::Tls(error.to_string()))?;
        let (sender, driver) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Fault::Lost(reason(&error)))?;
        // It ends with the sender or with the peer; what broke it is told by the request.
        tokio::spawn(driver);
        Ok(sender)
    }
}

/// Nothing is taken from an agent whose version means something else by it.
fn understood(headers: &HeaderMap) -> Result<(), Fault> {
    let server = headers.get(header::SERVER);
    let server = server.and_then(|server| server.to_str().ok());
    let version = server.and_then(|server| server.strip_prefix(AGENT_PRODUCT));
    if version.is_some_and(|version| understand_each_other(version, env!("CARGO_PKG_VERSION"))) {
        return Ok(());
    }
    let told = server.unwrap_or("of no known version");
    Err(Fault::Version(told.chars().take(MAX_VERSION).collect()))
}

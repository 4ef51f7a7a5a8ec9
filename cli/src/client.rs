//! The connection to the controller: HTTP/1.1 over its Unix socket or loopback.

use std::{io, net::IpAddr, path::PathBuf, str::FromStr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use nettoll_core::api::{ErrorBody, Inventory, Job, JobEvent, JobResult};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::{failure::Failure, lines::Lines};

/// Where the lab's controller listens.
const LAB_SOCKET: &str = "/run/nettoll/lab/controller.sock";
/// Most bytes of an answer that is not a job's stream.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Where a controller listens, as users write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `http://127.0.0.1:PORT`: loopback only, there is no encryption on it.
    Http {
        /// Address or `localhost`.
        host: String,
        /// Port.
        port: u16,
    },
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "'{text}' is no controller; write unix:PATH or http://127.0.0.1:PORT (a \
                 controller listens on loopback only: forward its port to reach a remote one)"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(bad())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(bad)?
            .trim_end_matches('/');
        let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare == "localhost"
            || bare
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        match port.parse() {
            Ok(port) if loopback => Ok(Self::Http {
                host: bare.to_owned(),
                port,
            }),
            _ => Err(bad()),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http { host, port } => write!(f, "http://{host}:{port}"),
        }
    }
}

/// Which controller a command talks to.
#[derive(Debug, clap::Args)]
pub(crate) struct ControllerArgs {
    /// The controller: unix:PATH or http://127.0.0.1:PORT [default: the running lab's]
    #[arg(long, env = "NETTOLL_CONTROLLER", value_name = "ADDRESS")]
    controller: Option<Address>,
}

impl ControllerArgs {
    /// The asked one, else the lab's.
    pub(crate) fn client(self) -> Client {
        Client {
            address: self
                .controller
                .unwrap_or_else(|| Address::Unix(LAB_SOCKET.into())),
        }
    }
}

/// Why a controller did not give what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The socket is there, but not for this user.
    #[error("no permission to use the controller at {0}: run as root (sudo nettoll …)")]
    Permission(Address),
    /// Nobody listens.
    #[error(
        "no controller answers at {address} ({source}): start a lab with 'nettoll lab up', or \
         name a controller with --controller or NETTOLL_CONTROLLER"
    )]
    Unreachable {
        /// Where.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or no HTTP came over it.
    #[error("the connection to the controller at {address} broke ({message}): see its log")]
    Broken {
        /// Where.
        address: Address,
        /// How.
        message: String,
    },
    /// The controller does not take the request.
    #[error("the controller refuses: {0}")]
    Refused(String),
    /// The controller failed.
    #[error("the controller failed: {0}")]
    Failed(String),
    /// The answer is not what this version understands.
    #[error(
        "cannot read the controller's answer to {path} ({message}): use a nettoll of the \
         controller's version"
    )]
    Answer {
        /// What was asked.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Permission(_) | Error::Unreachable { .. } | Error::Refused(_) => {
                Self::Prerequisite(error.to_string())
            }
            _ => Self::Run(error.to_string()),
        }
    }
}

/// A controller. Each request opens a connection of its own.
#[derive(Debug)]
pub(crate) struct Client {
    address: Address,
}

impl Client {
    /// What the controller can measure.
    pub(crate) async fn inventory(&self) -> Result<Inventory, Error> {
        self.get_json("/api/v1/inventory").await
    }

    /// The controller's metrics, as Prometheus reads them.
    pub(crate) async fn metrics(&self) -> Result<String, Error> {
        let path = "/api/v1/metrics";
        let body = self
            .whole(self.send("GET", path, Bytes::new()).await?)
            .await?;
        String::from_utf8(body.into()).map_err(|error| Error::Answer {
            path: path.to_owned(),
            message: error.to_string(),
        })
    }

    /// Runs a job to its end. Dropping the future closes the connection, which cancels the job.
    pub(crate) async fn job(
        &self,
        job: &Job,
        mut event: impl FnMut(&JobEvent),
    ) -> Result<JobResult, Error> {
        let path = "/api/v1/jobs";
        let answer = |message: String| Error::Answer {
            path: path.to_owned(),
            message,
        };
        let body = serde_json::to_vec(job).map_err(|error| answer(error.to_string()))?;
        let mut response = self.send("POST", path, body.into()).await?;
        let mut lines = Lines::default();
        while let Some(frame) = response.frame().await {
            let Ok(data) = frame.map_err(|error| self.broken(&error))?.into_data() else {
                continue;
            };
            lines
                .push(&data)
                .map_err(|error| answer(error.to_string()))?;
            while let Some(line) = lines.next() {
                let read = serde_json::from_slice::<JobEvent>(&line)
                    .map_err(|error| answer(error.to_string()))?;
                match read {
                    JobEvent::Done(result) => return Ok(*result),
                    JobEvent::Failed { message } => return Err(Error::Failed(message)),
                    other => event(&other),
                }
            }
        }
        Err(Error::Broken {
            address: self.address.clone(),
            message: "it ended before the job did".to_owned(),
        })
    }

    async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let body = self
            .whole(self.send("GET", path, Bytes::new()).await?)
            .await?;
        serde_json::from_slice(&body).map_err(|error| Error::Answer {
            path: path.to_owned(),
            message: error.to_string(),
        })
    }

    /// Sends a request and gives the body of an answer that is not an error.
    async fn send(&self, method: &str, path: &str, body: Bytes) -> Result<Incoming, Error> {
        let response = match &self.address {
            Address::Unix(socket) => {
                let stream = UnixStream::connect(socket).await;
                self.exchange(stream, method, path, body).await?
            }
            Address::Http { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                self.exchange(stream, method, path, body).await?
            }
        };
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response.into_body());
        }
        let body = self.whole(response.into_body()).await?;
        let message = serde_json::from_slice::<ErrorBody>(&body)
            .map_or_else(|_| format!("status {status}"), |body| body.error);
        Err(if status.is_client_error() {
            Error::Refused(message)
        } else {
            Error::Failed(message)
        })
    }

    async fn exchange<S>(
        &self,
        stream: io::Result<S>,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = stream.map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Permission(self.address.clone()),
            _ => Error::Unreachable {
                address: self.address.clone(),
                source,
            },
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "controller.nettoll")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| self.broken(&error))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| self.broken(&error))
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, Error> {
        http_body_util::Limited::new(body, MAX_ANSWER_BYTES)
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .map_err(|error| self.broken(error.as_ref()))
    }

    fn broken(&self, error: &dyn std::error::Error) -> Error {
        Error::Broken {
            address: self.address.clone(),
            message: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;

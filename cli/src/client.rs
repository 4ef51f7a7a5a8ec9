//! The connection to the controller: HTTP/1.1 over its Unix socket, over loopback, or through the
//! API server of its cluster.

mod address;
mod cluster;
mod error;

use std::{io, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use nettoll_core::{
    api::{ErrorBody, Inventory, Job, JobEvent, JobResult},
    report::Report,
};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

pub(crate) use self::error::Error;
use self::{
    address::Address,
    cluster::{Cluster, ClusterArgs, Refusal},
};
use crate::{lines::Lines, plugin};

/// Where the lab's controller listens.
const LAB_SOCKET: &str = "/run/nettoll/lab/controller.sock";
/// Most bytes of an answer that is not a job's stream.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// How long a controller has to begin an answer, and to end one that is no job's stream: it may ask
/// the API server and each agent first.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a broken connection has to say why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Which controller a command talks to.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which controller")]
pub(crate) struct ControllerArgs {
    /// The controller: unix:PATH or http://127.0.0.1:PORT [default: the running lab's, else the
    /// leader in the kubeconfig's cluster]
    #[arg(long, env = "NETTOLL_CONTROLLER", value_name = "ADDRESS")]
    controller: Option<Address>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl ControllerArgs {
    /// The asked one, else the lab's if there is a lab, else that of a cluster. `kubectl nettoll`
    /// is about clusters and looks for no lab.
    pub(crate) async fn client(self) -> Result<Client, Error> {
        let Self {
            controller,
            cluster,
        } = self;
        // What may not be looked at is there.
        let lab = || match Path::new(LAB_SOCKET).symlink_metadata() {
            Err(error) => error.kind() != io::ErrorKind::NotFound,
            Ok(_) => true,
        };
        let place = match controller {
            Some(address) => Place::Here(address),
            None if !cluster.given() && !plugin() && lab() => {
                Place::Here(Address::Unix(LAB_SOCKET.into()))
            }
            None => Place::Cluster(Cluster::of(cluster).await?),
        };
        Ok(Client {
            place,
            patience: PATIENCE,
        })
    }
}

/// Where a controller is.
#[derive(Debug)]
enum Place {
    /// On this machine.
    Here(Address),
    /// The leader of a cluster.
    Cluster(Cluster),
}

/// A connection to a controller.
struct Connection {
    stream: Box<dyn Stream>,
    /// Where it leads, for people.
    place: String,
    /// Of a connection through a cluster.
    refusal: Option<Refusal>,
}

/// What HTTP is spoken over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A controller. Each request opens a connection of its own.
#[derive(Debug)]
pub(crate) struct Client {
    place: Place,
    /// How long it waits for an answer.
    patience: Duration,
}

impl Client {
    /// What the controller can measure.
    pub(crate) async fn inventory(&self) -> Result<Inventory, Error> {
        self.get_json("/api/v1/inventory").await
    }

    /// The controller's metrics, as Prometheus reads them.
    pub(crate) async fn metrics(&self) -> Result<String, Error> {
        self.get_text("/api/v1/metrics").await
    }

    /// The report of a run that was measured before.
    pub(crate) async fn run(&self, id: &str) -> Result<Report, Error> {
        self.get_json(&format!("/api/v1/runs/{id}")).await
    }

    /// Its folded stacks; `None` where there are none.
    pub(crate) async fn stacks(&self, id: &str) -> Result<Option<String>, Error> {
        match self.get_text(&format!("/api/v1/stacks/{id}")).await {
            Ok(stacks) => Ok(Some(stacks)),
            Err(Error::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
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
        let mut stream = self.send("POST", path, body.into()).await?;
        let mut lines = Lines::default();
        while let Some(data) = stream.next().await {
            lines
                .push(&data?)
                .map_err(|error| answer(error.to_string()))?;
            while let Some(line) = lines.next() {
                let read = serde_json::from_slice::<JobEvent>(&line)
                    .map_err(|error| answer(error.to_string()))?;
                match read {
                    JobEvent::Done(result) => return Ok(*result),
                    JobEvent::Failed { message, .. } => return Err(Error::Failed(message)),
                    other => event(&other),
                }
            }
        }
        Err(Error::Broken {
            place: stream.place,
            message: "it ended before the job did".to_owned(),
        })
    }

    async fn get(&self, path: &str) -> Result<Bytes, Error> {
        let mut answer = self.send("GET", path, Bytes::new()).await?;
        answer.whole(self.patience).await
    }

    async fn get_text(&self, path: &str) -> Result<String, Error> {
        let body = self.get(path).await?;
        String::from_utf8(body.into()).map_err(|error| Error::Answer {
            path: path.to_owned(),
            message: error.to_string(),
        })
    }

    async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let body = self.get(path).await?;
        serde_json::from_slice(&body).map_err(|error| Error::Answer {
            path: path.to_owned(),
            message: error.to_string(),
        })
    }

    /// Sends a request and gives the body of an answer that is not an error.
    async fn send(&self, method: &str, path: &str, body: Bytes) -> Result<Answer, Error> {
        let Connection {
            stream,
            place,
            refusal,
        } = self.connect().await?;
        let broken = |error: &dyn std::error::Error| Error::broken(&place, error);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "controller.nettoll")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| broken(&error))?;
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let response = match timeout(self.patience, exchange).await {
            Ok(Ok(response)) => response,
            Err(_) => return Err(Error::silent(&place, self.patience)),
            Ok(Err(error)) => {
                let told = timeout(LAST_WORDS, async { refusal?.await }).await;
                return Err(match told {
                    Ok(Some(told)) => cluster::Error::not_forwarded(place, &told).into(),
                    _ => broken(&error),
                });
            }
        };
        let status = response.status();
        let mut answer = Answer {
            body: response.into_body(),
            place,
        };
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let body = answer.whole(self.patience).await?;
        let message = serde_json::from_slice::<ErrorBody>(&body)
            .map_or_else(|_| format!("status {status}"), |body| body.error);
        Err(match status {
            StatusCode::CONFLICT => Error::Busy(message),
            _ if status.is_client_error() => Error::Refused(message),
            _ => Error::Failed(message),
        })
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let address = match &self.place {
            Place::Here(address) => address,
            Place::Cluster(cluster) => {
                let forwarded = cluster.open().await?;
                return Ok(Connection {
                    stream: Box::new(forwarded.stream),
                    place: format!("pod {}", forwarded.pod),
                    refusal: Some(forwarded.refusal),
                });
            }
        };
        let stream: io::Result<Box<dyn Stream>> = match address {
            Address::Unix(path) => UnixStream::connect(path)
                .await
                .map(|stream| Box::new(stream) as _),
            Address::Http { host, port } => TcpStream::connect((host.as_str(), *port))
                .await
                .map(|stream| Box::new(stream) as _),
        };
        let stream = stream.map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Permission(address.clone()),
            _ => Error::Unreachable {
                address: address.clone(),
                source,
            },
        })?;
        Ok(Connection {
            stream,
            place: address.to_string(),
            refusal: None,
        })
    }
}

/// The body of a good answer.
struct Answer {
    body: Incoming,
    /// Where it comes from, for people.
    place: String,
}

impl Answer {
    /// All of it, if it comes in this time.
    async fn whole(&mut self, patience: Duration) -> Result<Bytes, Error> {
        let all = http_body_util::Limited::new(&mut self.body, MAX_ANSWER_BYTES).collect();
        timeout(patience, all)
            .await
            .map_err(|_| Error::silent(&self.place, patience))?
            .map(http_body_util::Collected::to_bytes)
            .map_err(|error| Error::broken(&self.place, error.as_ref()))
    }

    /// Its next bytes.
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            return match self.body.frame().await?.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => Some(Ok(data)),
                // Trailers.
                Ok(Err(_)) => continue,
                Err(error) => Some(Err(Error::broken(&self.place, &error))),
            };
        }
    }
}

#[cfg(test)]
mod tests;

//! Sockets of the API and of the metrics.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::body::Body;
use crate::config::Listen;

/// How long a client has to send a request's head.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Pause after a failed accept (no file descriptors left), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener lets its clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at a time; further ones wait to be accepted.
    pub(crate) connections: usize,
    /// Until a client over TCP takes what was sent to it; then its connection ends.
    pub(crate) unread: Duration,
}

impl Limits {
    /// Users' commands, or a few scrapers and probes.
    pub(crate) const COMMON: Self = Self {
        connections: 64,
        unread: Duration::from_secs(20),
    };
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// Another process has the socket.
    #[error(
        "another controller answers on {}; stop it or name another path with 'listen'",
        .0.display()
    )]
    Taken(PathBuf),
    /// There is a file of another kind.
    #[error("{} exists and is no socket; remove it or name another path with 'listen'", .0.display())]
    NoSocket(PathBuf),
    /// The Unix socket cannot be made.
    #[error("cannot listen on {}: {source}; does the folder exist?", path.display())]
    Unix {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}; name another address in the configuration")]
    Tcp {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A bound socket.
pub(crate) enum Listener {
    /// A Unix socket; its file goes with it.
    Unix {
        /// Bound and named.
        listener: UnixListener,
        /// Its file.
        _file: SocketFile,
    },
    /// TCP.
    Tcp(TcpListener),
}

/// Removes the socket's file when dropped.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already, with its folder; then there is nothing to do.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds what the configuration names.
    pub(crate) async fn bind(listen: &Listen) -> Result<Self, ListenError> {
        match listen {
            Listen::Unix(path) => Self::unix(path).await,
            Listen::Tcp(address) => Self::tcp(*address).await,
        }
    }

    /// Binds a TCP address.
    pub(crate) async fn tcp(address: SocketAddr) -> Result<Self, ListenError> {
        let tcp = TcpListener::bind(address).await;
        tcp.map(Self::Tcp)
            .map_err(|source| ListenError::Tcp { address, source })
    }

    /// Binds a Unix socket that only its owner may open, in the place of a stale one.
    async fn unix(path: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Unix {
            path: path.to_owned(),
            source,
        };
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ListenError::NoSocket(path.to_owned()));
            }
            Ok(_) if UnixStream::connect(path).await.is_ok() => {
                return Err(ListenError::Taken(path.to_owned()));
            }
            Ok(_) => std::fs::remove_file(path).map_err(failed)?,
        }
        // Bound under another name and renamed when only its owner may open it, so that there
        // is no moment in which others may.
        let early = path.with_extension(format!("{}.tmp", std::process::id()));
        let listener = UnixListener::bind(&early).map_err(failed)?;
        let named = std::fs::set_permissions(&early, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| std::fs::rename(&early, path));
        if let Err(error) = named {
            drop(SocketFile(early));
            return Err(failed(error));
        }
        Ok(Self::Unix {
            listener,
            _file: SocketFile(path.to_owned()),
        })
    }

    /// Answers with `handle` until dropped.
    pub(crate) async fn serve<H, F>(self, limits: Limits, handle: H)
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let free = Arc::new(Semaphore::new(limits.connections));
        while let Ok(permit) = Arc::clone(&free).acquire_owned().await {
            if let Err(error) = self.accept(limits, permit, handle.clone()).await {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Waits for a client and answers it beside the caller.
    async fn accept<H, F>(
        &self,
        limits: Limits,
        permit: OwnedSemaphorePermit,
        handle: H,
    ) -> io::Result<()>
    where
        H: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        match self {
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                spawn(stream, permit, handle);
            }
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                SockRef::from(&stream).set_tcp_user_timeout(Some(limits.unread))?;
                spawn(stream, permit, handle);
            }
        }
        Ok(())
    }
}

fn spawn<S, H, F>(stream: S, permit: OwnedSemaphorePermit, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    tokio::spawn(async move {
        let service = service_fn(move |request| {
            let answer = handle(request);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!("a client's connection ended: {error}");
        }
        drop(permit);
    });
}

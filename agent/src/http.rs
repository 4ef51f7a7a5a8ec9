//! An HTTP/1.1 server with bounds on everything that a peer decides.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use crate::tls::Keeper;

/// Every answer is whole in memory.
pub(crate) type Answer = Response<Full<Bytes>>;

/// For a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// Before accepting again after an error, such as no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server lets its peers do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at a time; further ones wait to be accepted.
    pub(crate) connections: usize,
    /// Until a request's head is complete, from the one before it on: an idle connection ends.
    pub(crate) head: Duration,
    /// Until the peer takes what was sent to it; then its connection ends.
    pub(crate) unread: Duration,
}

/// Serves all connections of `listener` with `handle`, over TLS if `tls` is there: then those that
/// come before its certificates are closed at once.
/// Never returns; dropping the future stops accepting.
pub(crate) async fn serve<H, F>(
    listener: TcpListener,
    tls: Option<Arc<Keeper>>,
    limits: Limits,
    handle: H,
) -> Infallible
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let free = Arc::new(Semaphore::new(limits.connections));
    loop {
        let (stream, permit) = match accept(&listener, limits, &free).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, handle) = (tls.as_ref().map(|tls| tls.acceptor()), handle.clone());
        tokio::spawn(async move {
            let peer = stream.peer_addr().ok();
            let ended = match tls {
                None => connection(stream, limits, handle).await,
                Some(None) => {
                    tracing::debug!(?peer, "closed a connection: there is no certificate yet");
                    Ok(())
                }
                Some(Some(tls)) => match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, limits, handle).await,
                    // Somebody looks whether the port is open.
                    Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                    Ok(Err(error)) => {
                        tracing::warn!(?peer, "refused a connection: {error}");
                        Ok(())
                    }
                    Err(_) => {
                        tracing::warn!(?peer, "refused a connection: its TLS handshake hangs");
                        Ok(())
                    }
                },
            };
            if let Err(error) = ended {
                tracing::debug!(?peer, "a connection ended: {error}");
            }
            drop(permit);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    limits: Limits,
    free: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = free
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    // Also where the peer's window stays shut: tcp_probe_timer() of net/ipv4/tcp_timer.c.
    SockRef::from(&stream).set_tcp_user_timeout(Some(limits.unread))?;
    Ok((stream, permit))
}

/// One connection. Hyper drops the handler's future when the peer closes meanwhile.
async fn connection<S, H, F>(stream: S, limits: Limits, handle: H) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = handle(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_header_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// An answer of some type of content.
pub(crate) fn answer(status: StatusCode, content: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content),
    );
    answer
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_does_not_read_keeps_no_other_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits {
            connections: 1,
            head: Duration::from_secs(60),
            unread: Duration::from_secs(1),
        };
        let server = tokio::spawn(serve(listener, None, limits, |request| async move {
            // More than the sockets' buffers hold.
            let bytes = if request.uri().path() == "/much" {
                64 << 20
            } else {
                1
            };
            answer(StatusCode::OK, "text/plain", vec![b'x'; bytes])
        }));
        let ask = async |page: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {page} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        };
        let stuck = ask("/much").await;
        stuck.readable().await.unwrap();
        let begin = std::time::Instant::now();
        let mut told = String::new();
        let mut waits = ask("/little").await;
        let read = waits.read_to_string(&mut told);
        timeout(Duration::from_secs(20), read)
            .await
            .expect("the peer that does not read has the only place still")
            .unwrap();
        assert!(told.starts_with("HTTP/1.1 200 OK"), "{told}");
        assert!(
            begin.elapsed() > Duration::from_millis(500),
            "two at a time"
        );
        drop(stuck);
        server.abort();
    }
}

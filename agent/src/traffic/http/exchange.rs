//! One request and its answer, on a connection of its own.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use nettoll_core::url::HttpUrl;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use super::{super::Stop, Resolver};

/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;
/// The cluster's own CA, where the agent's pod has it.
const CLUSTER_CA: &str = "/etc/nettoll/cluster-ca/ca.crt";

/// Where requests go, and all that they need.
pub(crate) struct Target {
    url: HttpUrl,
    request: String,
    resolver: Resolver,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// What an answer took.
#[derive(Debug)]
pub(super) struct Answer {
    /// Name lookup, connect, TLS, first byte; `None` for what was not needed.
    pub(super) stages: [Option<Duration>; 4],
    /// When the first byte was there.
    pub(super) at: Instant,
    pub(super) status: u16,
    /// That were read.
    pub(super) bytes: u64,
    pub(super) address: SocketAddr,
    pub(super) tls: Option<String>,
}

impl Target {
    /// Trusts the public CAs, and the cluster's.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(crate) fn new(url: HttpUrl, resolver: Resolver) -> Result<Self, String> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Ok(found) = CertificateDer::pem_file_iter(CLUSTER_CA) {
            roots.add_parsable_certificates(found.flatten());
        }
        Self::trusting(url, resolver, roots)
    }

    /// Trusts these CAs.
    pub(super) fn trusting(
        url: HttpUrl,
        resolver: Resolver,
        roots: RootCertStore,
    ) -> Result<Self, String> {
        let tls = match url.tls {
            true => {
                let name = ServerName::try_from(url.host.clone());
                let name = name.map_err(|_| format!("'{}' is no server's name", url.host))?;
                Some((Arc::new(config(roots)?), name))
            }
            false => None,
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: nettoll/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            url.path,
            url.authority(),
            env!("CARGO_PKG_VERSION"),
        );
        Ok(Self {
            url,
            request,
            resolver,
            tls,
        })
    }

    pub(super) fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// Makes a request.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(super) fn ask(&self, until: Instant, stop: &Stop) -> Result<Answer, String> {
        let begin = Instant::now();
        let (addresses, looked_up) = match self.url.host.parse::<IpAddr>() {
            Ok(address) => (vec![address], None),
            Err(_) => {
                let found = self.resolver.look_up(&self.url.host, until)?;
                (found, Some(begin.elapsed()))
            }
        };
        let found = Instant::now();
        let (stream, address) = connect(&addresses, self.url.port, until)?;
        let mut stream = Timed {
            stream,
            until,
            stop,
        };
        let connected = Instant::now();
        let mut tls = match &self.tls {
            Some((config, name)) => Some(secure(config, name, &mut stream)?),
            None => None,
        };
        let secured = Instant::now();
        let (status, at, bytes) = match &mut tls {
            Some(tls) => exchange(&mut Stream::new(tls, &mut stream), &self.request)?,
            None => exchange(&mut stream, &self.request)?,
        };
        let version = tls
            .as_ref()
            .and_then(|tls| tls.protocol_version()?.as_str());
        Ok(Answer {
            stages: [
                looked_up,
                Some(connected - found),
                tls.is_some().then(|| secured - connected),
                Some(at - secured),
            ],
            at,
            status,
            bytes,
            address,
            tls: version.map(str::to_owned),
        })
    }
}

/// The handshake of TLS.
fn secure(
    config: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    stream: &mut Timed<'_>,
) -> Result<ClientConnection, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("TLS failed: {error}");
    let connection = ClientConnection::new(Arc::clone(config), name.clone());
    let mut connection = connection.map_err(|error| wrong(&error))?;
    while connection.is_handshaking() {
        let done = connection.complete_io(stream);
        done.map_err(|error| wrong(&error))?;
    }
    Ok(connection)
}

fn config(roots: RootCertStore) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Each request shows what the first one costs.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Connects to the first address that lets it.
fn connect(
    addresses: &[IpAddr],
    port: u16,
    until: Instant,
) -> Result<(TcpStream, SocketAddr), String> {
    let mut failure = "the name has no address".to_owned();
    for &address in addresses {
        let address = SocketAddr::new(address, port);
        let connected = left(until).and_then(|left| TcpStream::connect_timeout(&address, left));
        match connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => failure = format!("cannot connect to {address}: {error}"),
        }
    }
    Err(failure)
}

/// Sends the request and reads the answer: its status, when its first byte was there, and how many
/// bytes were read.
fn exchange(
    stream: &mut (impl Read + Write),
    request: &str,
) -> Result<(u16, Instant, u64), String> {
    let sent = stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.flush());
    sent.map_err(|error| format!("cannot send the request: {error}"))?;
    let mut answer = vec![0; MAX_ANSWER];
    let (mut length, mut first) = (0, None);
    loop {
        let rest = answer.get_mut(length..).unwrap_or_default();
        match stream.read(rest) {
            Ok(0) => break,
            Ok(read) => {
                first.get_or_insert_with(Instant::now);
                length += read;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // How the answer ends has no part in what was measured.
            Err(_) if first.is_some() => break,
            Err(error) => return Err(format!("no answer: {error}")),
        }
    }
    let first = first.ok_or("the connection was closed without an answer")?;
    let status = answer.get(..length).and_then(status);
    let status = status.ok_or("the answer is not HTTP")?;
    Ok((status, first, length as u64))
}

/// `HTTP/1.1 200 OK` → 200.
fn status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5)?;
    let ends = matches!(rest.get(5), Some(b' ' | b'\r'));
    let three = ends && digits.iter().all(u8::is_ascii_digit) && rest.get(1) == Some(&b' ');
    three.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

/// A connection that ends at a time, however slowly its peer goes on.
struct Timed<'a> {
    stream: TcpStream,
    until: Instant,
    stop: &'a Stop,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Duration> {
        if self.stop.ended() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        left(self.until)
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn a_status_is_three_digits_of_http() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 403\r\n"), Some(403));
        for no in [
            &b""[..],
            b"HTTP/2 200 ",
            b"HTTP/1.1 20",
            b"HTTP/1.1 2000 ",
            b"HTTP/1.1 +20 ",
            b"SSH-2.0-x",
        ] {
            assert_eq!(status(no), None);
        }
    }
}

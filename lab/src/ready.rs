//! Waits until the lab's processes can be talked to.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use crate::{Error as LabError, files, netns, process::Process};

/// A start reads the kernel's BTF and loads programs; a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(20);
const ANSWER: Duration = Duration::from_secs(2);
const LOG_LINES: usize = 15;

/// A process that does not come up.
#[derive(Debug, thiserror::Error)]
#[error("{name} {what}; the end of its log:\n{log}")]
pub struct Error {
    name: String,
    what: String,
    log: String,
}

/// Waits until an agent says so itself: `GET /readyz` on its metrics port.
pub(crate) fn agent(
    process: &Process,
    metrics: SocketAddr,
    go_on: impl Fn() -> Result<(), LabError> + Send,
) -> Result<(), LabError> {
    netns::within(&process.netns, || {
        wait(process, || answers_ready(metrics), go_on)
    })?
}

/// Waits until the controller accepts on its socket.
pub(crate) fn controller(
    process: &Process,
    go_on: impl Fn() -> Result<(), LabError>,
) -> Result<(), LabError> {
    wait(
        process,
        || UnixStream::connect(files::CONTROLLER_SOCKET).map(drop),
        go_on,
    )
}

fn wait(
    process: &Process,
    attempt: impl Fn() -> io::Result<()>,
    go_on: impl Fn() -> Result<(), LabError>,
) -> Result<(), LabError> {
    let failed = |what: String| Error {
        name: process.name.clone(),
        what,
        log: process.log_tail(LOG_LINES),
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        go_on()?;
        // Asked first: what answers must be this process.
        if !process.identity.is_running() {
            return Err(failed("ended while it started".to_owned()).into());
        }
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                let seconds = PATIENCE.as_secs();
                return Err(failed(format!("was not ready after {seconds} s: {error}")).into());
            }
            Err(_) => thread::sleep(RETRY),
        }
    }
}

fn answers_ready(metrics: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&metrics, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {metrics}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    let status = answer.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        Ok(())
    } else {
        Err(io::Error::other(format!("/readyz answers '{status}'")))
    }
}

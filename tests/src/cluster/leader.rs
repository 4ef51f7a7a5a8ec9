//! The controller that leads, and what it tells.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nettoll_core::api::METRICS_PORT;
use nettoll_lab::netns;

use super::{NAMESPACE, Pod, get, pods};

/// A node's network namespace: pods are reached from there.
const NODE: &str = "kit-n1";
/// For a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pod that leads.
///
/// # Errors
/// Where nobody does.
pub fn leader() -> Result<Pod> {
    let lease = get(&["lease", "-n", NAMESPACE, "nettoll-controller"])?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    let mut pods = pods("controller")?.into_iter();
    let leader = pods.find(|pod| pod.name == holder);
    leader.with_context(|| format!("'{holder}' leads, which is no pod of ours"))
}

/// What the leader exposes.
///
/// # Errors
/// Where nobody leads, or it does not answer.
pub fn metrics() -> Result<String> {
    let address = SocketAddr::new(leader()?.address.parse()?, METRICS_PORT);
    let text = netns::within(NODE, move || page(address))??;
    // Also in the first moments of a leader.
    let leads = text.contains("nettoll_mesh_members");
    leads.then_some(text).context("the leader has no mesh yet")
}

fn page(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let ask = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The values of all series with this name and all these parts of their labels, if any.
fn values(text: &str, name: &str, parts: &[&str]) -> Result<Vec<f64>> {
    let lines = text.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && parts.iter().all(|part| line.contains(part))
    });
    let value = |line: &str| Ok(line.rsplit(' ').next().context("no value")?.parse()?);
    lines.map(value).collect()
}

/// The value of the first of these series.
///
/// # Errors
/// Where there is none.
pub fn value(text: &str, name: &str, parts: &[&str]) -> Result<f64> {
    let first = values(text, name, parts)?.first().copied();
    first.with_context(|| format!("no {name} {parts:?} in\n{text}"))
}

/// What they add up to, 0 where there is none.
///
/// # Errors
/// Where one has no value.
pub fn sum(text: &str, name: &str, parts: &[&str]) -> Result<f64> {
    Ok(values(text, name, parts)?.iter().sum())
}

/// How many members of the mesh are so: `answers`, `silent`.
///
/// # Errors
/// As [`metrics`] and [`value`].
pub fn members(agent: &str) -> Result<f64> {
    let agent = format!("agent=\"{agent}\"");
    value(&metrics()?, "nettoll_mesh_members", &[&agent])
}

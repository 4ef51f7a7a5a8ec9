//! Labs for tests, and packets between their pods.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nettoll_lab::{
    Lab, Network, Options, files, netns,
    plan::{self, PodNetwork},
};

const PORT: u16 = 9480;

/// A lab without processes, after waiting for those who have one.
#[must_use]
pub fn options(network: Network) -> Options {
    Options {
        network,
        lock_wait: Duration::from_secs(120),
        ..Options::default()
    }
}

/// The same without services, where there is no `nft`.
#[must_use]
pub fn without_services(network: Network) -> Options {
    Options {
        services: false,
        ..options(network)
    }
}

/// Fails where anything of a lab is there.
///
/// # Errors
/// What is there.
pub fn nothing_left() -> Result<()> {
    let left: Vec<_> = plan::all_netns()
        .into_iter()
        .filter(|name| netns::exists(name))
        .collect();
    ensure!(left.is_empty(), "namespaces left: {left:?}");
    ensure!(
        !Path::new(files::DIRECTORY).exists(),
        "{} is left",
        files::DIRECTORY
    );
    Ok(())
}

/// Binds a UDP socket in a namespace.
fn bind(name: &str, address: SocketAddr) -> Result<UdpSocket> {
    let socket = netns::within(name, || UdpSocket::bind(address))??;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(socket)
}

/// Two UDP sockets in pods, and packets from one to the other.
#[derive(Debug)]
pub struct Pair {
    from: UdpSocket,
    to: UdpSocket,
    address: SocketAddr,
}

impl Pair {
    /// From the first pod of the first node to the first pod of the last. The sender's socket
    /// has no address: the routes choose one.
    ///
    /// # Errors
    /// Where no packet goes, or one comes from the wrong address.
    pub fn new(lab: &Lab, network: PodNetwork) -> Result<Self> {
        let nodes = &lab.plan().nodes;
        let (first, last) = (&nodes[0].pods[0], &nodes[nodes.len() - 1].pods[0]);
        let from = bind(&first.netns(), (Ipv4Addr::UNSPECIFIED, 0).into())?;
        let address = (last.address(network), PORT).into();
        let to = bind(&last.netns(), address)?;
        let pair = Self { from, to, address };
        let source = pair.send(1, 64)?;
        ensure!(
            source.ip() == first.address(network),
            "packets come from {source}"
        );
        Ok(pair)
    }

    /// Sends datagrams, waits for each, and returns where the last one came from.
    ///
    /// # Errors
    /// Where one does not come, or not whole.
    pub fn send(&self, count: u64, bytes: usize) -> Result<SocketAddr> {
        let message = vec![7; bytes];
        let mut room = vec![0; bytes + 1];
        let mut source = self.address;
        for number in 0..count {
            self.from.send_to(&message, self.address)?;
            let (length, from) = self
                .to
                .recv_from(&mut room)
                .with_context(|| format!("packet {number} to {} did not come", self.address))?;
            ensure!(length == bytes, "{length} of {bytes} bytes came");
            source = from;
        }
        Ok(source)
    }
}

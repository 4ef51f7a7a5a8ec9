//! The other side of a TAP underlay: frames that a node sends, as bytes.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
};

use crate::{netns, plan::Node};

/// The node's device.
const DEVICE: &[u8] = b"eth0";
const CLONE_DEVICE: &str = "/dev/net/tun";

/// A TAP device that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its namespace.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// The device.
    #[error("cannot open eth0 of {node} as a TAP device: {source}")]
    Open {
        /// The node's name.
        node: String,
        /// Why.
        source: io::Error,
    },
}

/// Opens a node's `eth0` in a lab with [`Underlay::Tap`](crate::Underlay::Tap). Each read gives
/// one Ethernet frame that the node sends, each write is one that it receives. `eth0` has a
/// carrier as long as the file is open.
///
/// # Errors
/// [`Error`].
pub fn open(node: &Node) -> Result<File, Error> {
    netns::within(&node.netns(), open_here)?.map_err(|source| Error::Open {
        node: node.name.clone(),
        source,
    })
}

/// In the calling thread's namespace: that decides which `eth0` is meant.
fn open_here() -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(CLONE_DEVICE)?;
    #[expect(unsafe_code, reason = "the request of an ioctl is a C struct")]
    // SAFETY: all-zero bytes are a valid ifreq: it holds bytes, integers and pointers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(DEVICE) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // Both flags fit: 0x0002 and 0x1000.
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    #[expect(unsafe_code, reason = "the standard library has no ioctl")]
    // SAFETY: TUNSETIFF reads and writes one ifreq, which outlives the call.
    let status = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if status == 0 {
        Ok(file)
    } else {
        Err(io::Error::last_os_error())
    }
}

//! Ground truth for `wire`: a forwarder in the underlay that holds test packets for a known
//! time, and logs for each how long it was from read to write. It also drops on purpose.
//!
//! The nodes' underlay devices are TAP devices; each frame is read from one and written to the
//! other, which makes a new packet of it: the kernel's `sk_buff` address does not survive.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Write},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use anyhow::Result;
use nettoll_core::api::{LIGHT_CLIENT_PORT, TRAFFIC_PORT_LAST};
use nettoll_lab::{Lab, tap};

/// What one direction's thread is told and tells.
#[derive(Default)]
pub struct Lane {
    /// Hold each test packet of the overlay so long, in ns.
    pub hold_ns: AtomicU64,
    /// Hold only the messages of these numbers; empty for all packets.
    pub hold_only: Mutex<BTreeSet<u64>>,
    /// How long the last packet of each of these messages was held, in ns.
    pub held_of: Mutex<BTreeMap<u64, u64>>,
    /// Drop one of so many; 0 for none.
    pub drop_every: AtomicU64,
    /// Drop test frames that are longer, in bytes, and tell nobody; 0 for none.
    pub drop_above: AtomicU64,
    /// Test packets seen.
    pub packets: AtomicU64,
    /// Time from read to write of those that were written, in all.
    pub held_ns: AtomicU64,
    /// Test packets that were written.
    pub written: AtomicU64,
    /// Test packets that were dropped.
    pub dropped: AtomicU64,
}

impl Lane {
    /// Mean time from read to write since the last call, in ns.
    pub fn take_mean_ns(&self) -> f64 {
        let packets = self.written.swap(0, Ordering::Relaxed);
        let held = self.held_ns.swap(0, Ordering::Relaxed);
        held as f64 / packets.max(1) as f64
    }
}

/// The threads that move frames between two nodes.
pub struct Forwarder {
    /// From node 1 to node 2.
    pub request: Arc<Lane>,
    /// From node 2 to node 1.
    pub response: Arc<Lane>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Forwarder {
    /// Begins to move frames between the TAP devices of a lab's first two nodes.
    ///
    /// # Errors
    /// Where a device cannot be opened.
    pub fn start(lab: &Lab) -> Result<Self> {
        let nodes = &lab.plan().nodes;
        let (one, two) = (tap::open(&nodes[0])?, tap::open(&nodes[1])?);
        let stop = Arc::new(AtomicBool::new(false));
        let (request, response) = (Arc::<Lane>::default(), Arc::<Lane>::default());
        let mut threads = Vec::new();
        for (from, to, lane) in [
            (one.try_clone()?, two.try_clone()?, Arc::clone(&request)),
            (two, one, Arc::clone(&response)),
        ] {
            let stop = Arc::clone(&stop);
            threads.push(std::thread::spawn(move || forward(from, to, &lane, &stop)));
        }
        Ok(Self {
            request,
            response,
            stop,
            threads,
        })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn forward(mut from: File, mut to: File, lane: &Lane, stop: &AtomicBool) {
    let mut frame = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        let mut waiting = libc::pollfd {
            fd: from.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        #[expect(unsafe_code, reason = "poll")]
        // SAFETY: one valid pollfd.
        let ready = unsafe { libc::poll(&mut waiting, 1, 100) };
        if ready <= 0 {
            continue;
        }
        let Ok(length) = from.read(&mut frame) else {
            continue;
        };
        let read = Instant::now();
        let frame = &frame[..length];
        if !is_overlay_test(frame) {
            let _ = to.write_all(frame);
            continue;
        }
        let number = lane.packets.fetch_add(1, Ordering::Relaxed) + 1;
        let drop_every = lane.drop_every.load(Ordering::Relaxed);
        let drop_above = lane.drop_above.load(Ordering::Relaxed);
        let chosen = drop_every != 0 && number.is_multiple_of(drop_every);
        if chosen || (drop_above != 0 && length as u64 > drop_above) {
            lane.dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let hold = lane.hold_ns.load(Ordering::Relaxed);
        let only = lane
            .hold_only
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let meant = message(frame).filter(|message| only.contains(message));
        let hold = if only.is_empty() || meant.is_some() {
            hold
        } else {
            0
        };
        drop(only);
        if hold != 0 {
            sleep(Duration::from_nanos(hold));
        }
        let held = read.elapsed();
        if let Some(message) = meant {
            let mut held_of = lane.held_of.lock().unwrap_or_else(PoisonError::into_inner);
            held_of.insert(message, held.as_nanos() as u64);
        }
        if to.write_all(frame).is_ok() {
            lane.written.fetch_add(1, Ordering::Relaxed);
            lane.held_ns
                .fetch_add(held.as_nanos() as u64, Ordering::Relaxed);
        }
    }
}

/// Where the inner IPv4 header is in a VXLAN frame.
const INNER: usize = 14 + 20 + 8 + 8 + 14;

/// The number of the test's message that begins in a VXLAN frame with test traffic in it.
fn message(frame: &[u8]) -> Option<u64> {
    let headers = match frame.get(INNER + 9)? {
        6 => 20 + usize::from(frame.get(INNER + 20 + 12)? >> 4) * 4,
        _ => 20 + 8,
    };
    let header: [u8; 16] = frame.get(INNER + headers..)?.get(..16)?.try_into().ok()?;
    let number = u64::from_be_bytes(header[8..].try_into().ok()?);
    // The highest byte is the client's word to its server.
    header.starts_with(b"ntol").then_some(number << 8 >> 8)
}

/// A VXLAN frame with test traffic in it: Ethernet, IPv4, UDP to 8472, VXLAN, Ethernet, IPv4,
/// and a port of the tests on one side.
fn is_overlay_test(frame: &[u8]) -> bool {
    let word = |at: usize| {
        frame
            .get(at..at + 2)
            .map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
    };
    let test = LIGHT_CLIENT_PORT..=TRAFFIC_PORT_LAST;
    word(12) == 0x0800
        && frame.get(23) == Some(&17)
        && word(36) == 8472
        && frame.get(INNER) == Some(&0x45)
        && (test.contains(&word(INNER + 20)) || test.contains(&word(INNER + 22)))
}

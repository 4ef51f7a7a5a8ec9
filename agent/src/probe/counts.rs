//! Reads what the programs counted.

use std::{collections::BTreeMap, fs, io};

use aya::{Ebpf, EbpfLoader};
use nettoll_agent_common::hops::{
    CELLS, Counters, Cpu, DEVICE_CACHE, EdgeCell, LOSSES, Nest, PROGRAMS, SUB_BITS, SelfCell,
    TrailHop,
};
use nettoll_core::{
    api::KeptHop,
    histogram::upper_bound,
    hop::{Direction, Edge, Event, Hop, SelfTime},
};

use super::{ProbeError, devices::Devices, memory::Memory};

const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";

/// What the programs count, of each CPU.
pub(super) struct Counts {
    cpus: Memory<Cpu>,
    edges: Memory<EdgeCell>,
    self_times: Memory<SelfCell>,
}

/// How many parts the arrays need. CPUs are numbered by the kernel, and there may be gaps.
fn cpus() -> Result<usize, ProbeError> {
    let possible = fs::read_to_string(POSSIBLE_CPUS).map_err(ProbeError::Cpus)?;
    let last = last_cpu(&possible).ok_or(io::ErrorKind::InvalidData.into());
    Ok(last.map_err(ProbeError::Cpus)? + 1)
}

/// The highest number in a list like `0-3,8-11`; lists are in order.
fn last_cpu(list: &str) -> Option<usize> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

/// Gives the arrays that have a part for each CPU their sizes.
pub(super) fn size(loader: &mut EbpfLoader<'_>) -> Result<(), ProbeError> {
    let cpus = cpus()? as u32;
    loader.map_max_entries("CPUS", cpus);
    loader.map_max_entries("DEVICES_KNOWN", cpus * DEVICE_CACHE as u32);
    loader.map_max_entries("EDGES", cpus * CELLS as u32);
    loader.map_max_entries("SELF_TIMES", cpus * CELLS as u32);
    Ok(())
}

/// Events by `EventCode`.
const EVENTS: [Event; 7] = [
    Event::UserSend,
    Event::Queue,
    Event::StartXmit,
    Event::NetifRx,
    Event::GroReceive,
    Event::Receive,
    Event::Copy,
];

impl Counts {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, ProbeError> {
        let cpus = cpus()?;
        Ok(Self {
            cpus: Memory::of(ebpf, "CPUS", cpus)?,
            edges: Memory::of(ebpf, "EDGES", cpus * CELLS)?,
            self_times: Memory::of(ebpf, "SELF_TIMES", cpus * CELLS)?,
        })
    }

    /// Cells of one edge can be at several places, on different CPUs and on one.
    pub(super) fn edges(&self, flow: u16, devices: &Devices) -> Vec<Edge> {
        let mut sums: BTreeMap<u32, Sum> = BTreeMap::new();
        for index in self.edges_of(flow) {
            let cell = self.edges.read(index);
            sums.entry(cell.key).or_default().add(&cell);
        }
        let edge = |(key, sum): (u32, Sum)| {
            let (from, to) = (
                hop((key >> 12) & 0xFFF, devices)?,
                hop(key & 0xFFF, devices)?,
            );
            Some(sum.edge(direction(key >> 25), from, to, key >> 24 & 1 != 0))
        };
        let mut edges: Vec<Edge> = sums.into_iter().filter_map(edge).collect();
        edges.sort_by_key(|edge| (edge.direction, edge.from, edge.to, edge.many_segments));
        edges
    }

    pub(super) fn self_times(&self, flow: u16, devices: &Devices) -> Vec<SelfTime> {
        let mut sums: BTreeMap<u32, SelfCell> = BTreeMap::new();
        for index in self.self_times_of(flow) {
            let cell = self.self_times.read(index);
            let sum = sums.entry(cell.key).or_default();
            sum.calls += cell.calls;
            sum.bytes += cell.bytes;
            sum.self_ns += cell.self_ns;
            sum.seams += cell.seams;
        }
        let time = |(key, sum): (u32, SelfCell)| {
            Some(SelfTime {
                direction: direction(key >> 15),
                device: devices.id((key & 0xFF) as u16)?,
                calls: sum.calls,
                bytes: sum.bytes,
                self_ns: sum.self_ns,
                seams: sum.seams,
            })
        };
        let mut times: Vec<SelfTime> = sums.into_iter().filter_map(time).collect();
        times.sort_by_key(|time| (time.direction, time.device));
        times
    }

    /// The counters of all CPUs, added up.
    pub(super) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for cpu in 0..self.cpus.length() {
            let Cpu { counters, .. } = self.cpus.read(cpu);
            for program in 0..PROGRAMS {
                sum.programs[program].runs += counters.programs[program].runs;
                sum.programs[program].matched += counters.programs[program].matched;
            }
            for reason in 0..LOSSES {
                sum.lost[reason] += counters.lost[reason];
            }
        }
        sum
    }

    /// Forgets what was counted of a flow, of which nothing may be counted any more.
    pub(super) fn clear(&self, flow: u16) {
        for index in self.edges_of(flow) {
            self.edges.write(index, EdgeCell::default());
        }
        for index in self.self_times_of(flow) {
            self.self_times.write(index, SelfCell::default());
        }
    }

    /// Forgets what was open when the programs were detached and never ends: calls, and packets that
    /// a socket was to tell of. No program may be attached.
    pub(super) fn clear_open(&self) {
        for cpu in 0..self.cpus.length() {
            let before = self.cpus.read(cpu);
            let empty = Cpu {
                nest: Nest::default(),
                delivered: 0,
                ..before
            };
            self.cpus.write(cpu, empty);
        }
    }

    /// The flow's cells of edges.
    fn edges_of(&self, flow: u16) -> impl Iterator<Item = usize> {
        let ours = move |key: u32| key != 0 && (key >> 26) as u16 == flow;
        (0..self.edges.length()).filter(move |&index| ours(self.edges.read(index).key))
    }

    /// The flow's cells of self times.
    fn self_times_of(&self, flow: u16) -> impl Iterator<Item = usize> {
        let ours = move |key: u32| key != 0 && (key >> 16 & 63) as u16 == flow;
        (0..self.self_times.length()).filter(move |&index| ours(self.self_times.read(index).key))
    }
}

/// A hop by its code.
pub(super) fn hop(code: u32, devices: &Devices) -> Option<Hop> {
    Some(Hop {
        device: devices.id((code >> 4) as u16)?,
        event: *EVENTS.get((code & 15) as usize)?,
    })
}

/// A hop of a single request; `None` where the device is not known any more.
pub(super) fn kept(passed: &TrailHop, devices: &Devices) -> Option<KeptHop> {
    Some(KeptHop {
        direction: direction(passed.direction.into()),
        hop: hop(passed.hop.into(), devices)?,
        at_ns: passed.at_ns,
        sequence: passed.sequence,
    })
}

pub(super) fn direction(bits: u32) -> Direction {
    if bits & 1 == 0 {
        Direction::Request
    } else {
        Direction::Response
    }
}

/// All cells of one edge, added up.
#[derive(Default)]
struct Sum {
    packets: u64,
    segments: u64,
    ack_packets: u64,
    bytes: u64,
    sum_ns: u64,
    buckets: BTreeMap<usize, u64>,
}

impl Sum {
    fn add(&mut self, cell: &EdgeCell) {
        self.packets += cell.packets;
        self.segments += cell.segments;
        self.ack_packets += cell.ack_packets;
        self.bytes += cell.bytes;
        self.sum_ns += cell.sum_ns;
        for (index, count) in cell
            .histogram
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            *self.buckets.entry(index).or_default() += u64::from(*count);
        }
    }

    fn edge(self, direction: Direction, from: Hop, to: Hop, many_segments: bool) -> Edge {
        let upper = |(index, count)| (upper_bound(SUB_BITS, index), count);
        Edge {
            direction,
            from,
            to,
            many_segments,
            packets: self.packets,
            segments: self.segments,
            ack_packets: self.ack_packets,
            bytes: self.bytes,
            sum_ns: self.sum_ns,
            histogram: self.buckets.into_iter().map(upper).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_part_for_the_highest_cpu() {
        assert_eq!(last_cpu("0\n"), Some(0));
        assert_eq!(last_cpu("0-127\n"), Some(127));
        assert_eq!(last_cpu("0-3,8-11\n"), Some(11));
        assert_eq!(last_cpu("0-3,9\n"), Some(9));
        assert_eq!(last_cpu("\n"), None);
        assert!(cpus().is_ok_and(|cpus| cpus > 0));
    }
}

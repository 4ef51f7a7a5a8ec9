//! Reads what the programs counted.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use nettoll_agent_common::hops::{
    BUCKETS, Counters, EDGES, EdgeCell, LOSSES, Nest, PROGRAMS, SUB_BITS, SelfCell,
};
use nettoll_core::{
    histogram::upper_bound,
    hop::{Direction, Edge, Event, Hop, SelfTime},
};

use super::{ProbeError, devices::Devices, ignore_missing, map};

/// The maps that hold counts.
pub(super) struct Counts {
    edges: PerCpuArray<MapData, EdgeCell>,
    self_times: PerCpuHashMap<MapData, u32, SelfCell>,
    counters: PerCpuArray<MapData, Counters>,
    nest: PerCpuArray<MapData, Nest>,
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
        Ok(Self {
            edges: map(ebpf, "EDGES")?.try_into()?,
            self_times: map(ebpf, "SELF_TIMES")?.try_into()?,
            counters: map(ebpf, "COUNTERS")?.try_into()?,
            nest: map(ebpf, "NEST")?.try_into()?,
        })
    }

    /// Cells of one edge can be at several places, on different CPUs and on one.
    pub(super) fn edges(&self, flow: u16, devices: &Devices) -> Result<Vec<Edge>, ProbeError> {
        let mut sums: BTreeMap<u32, Sum> = BTreeMap::new();
        for index in 0..EDGES as u32 {
            for cell in self.edges.get(&index, 0)?.iter() {
                if cell.key != 0 && flow_of(cell.key) == flow {
                    sums.entry(cell.key).or_default().add(cell);
                }
            }
        }
        let hop = |code: u32| {
            let device = devices.id((code >> 4) as u16)?;
            Some(Hop {
                device,
                event: *EVENTS.get((code & 15) as usize)?,
            })
        };
        let edge = |(key, sum): (u32, Sum)| {
            let (from, to) = (hop((key >> 12) & 0xFFF)?, hop(key & 0xFFF)?);
            Some(sum.edge(direction(key >> 25), from, to, key >> 24 & 1 != 0))
        };
        let mut edges: Vec<Edge> = sums.into_iter().filter_map(edge).collect();
        edges.sort_by_key(|edge| (edge.direction, edge.from, edge.to, edge.many_segments));
        Ok(edges)
    }

    pub(super) fn self_times(
        &self,
        flow: u16,
        devices: &Devices,
    ) -> Result<Vec<SelfTime>, ProbeError> {
        let mut times = Vec::new();
        for key in keys_of(flow, self.self_times.keys(), 16)? {
            let cells = match self.self_times.get(&key, 0) {
                Err(MapError::KeyNotFound) => continue,
                cells => cells?,
            };
            let Some(device) = devices.id((key & 0xFF) as u16) else {
                continue;
            };
            times.push(SelfTime {
                direction: direction(key >> 15),
                device,
                calls: cells.iter().map(|cell| cell.calls).sum(),
                bytes: cells.iter().map(|cell| cell.bytes).sum(),
                self_ns: cells.iter().map(|cell| cell.self_ns).sum(),
                seams: cells.iter().map(|cell| cell.seams).sum(),
            });
        }
        times.sort_by_key(|time| (time.direction, time.device));
        Ok(times)
    }

    /// The counters of all CPUs, added up.
    pub(super) fn counters(&self) -> Result<Counters, ProbeError> {
        let mut sum = Counters::default();
        for cpu in self.counters.get(&0, 0)?.iter() {
            for program in 0..PROGRAMS {
                sum.runs[program] += cpu.runs[program];
                sum.matched[program] += cpu.matched[program];
            }
            for reason in 0..LOSSES {
                sum.lost[reason] += cpu.lost[reason];
            }
        }
        Ok(sum)
    }

    /// Forgets what was counted of a flow.
    pub(super) fn clear(&mut self, flow: u16) -> Result<(), ProbeError> {
        for index in 0..EDGES as u32 {
            let ours = |cell: &EdgeCell| cell.key != 0 && flow_of(cell.key) == flow;
            let cells = self.edges.get(&index, 0)?;
            if cells.iter().any(ours) {
                let left = cells
                    .iter()
                    .map(|cell| if ours(cell) { EMPTY } else { *cell });
                let left = PerCpuValues::try_from(left.collect::<Vec<_>>());
                self.edges.set(index, left.map_err(MapError::IoError)?, 0)?;
            }
        }
        for key in keys_of(flow, self.self_times.keys(), 16)? {
            ignore_missing(self.self_times.remove(&key))?;
        }
        Ok(())
    }

    /// Empties the nests: calls that were open when the programs were detached never end.
    pub(super) fn clear_nest(&mut self) -> Result<(), ProbeError> {
        let cpus = nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        let empty =
            PerCpuValues::try_from(vec![Nest::default(); cpus]).map_err(MapError::IoError)?;
        Ok(self.nest.set(0, empty, 0)?)
    }
}

/// The flow's keys in a map whose keys begin with the flow at bit `shift`.
fn keys_of(
    flow: u16,
    keys: impl Iterator<Item = Result<u32, MapError>>,
    shift: u32,
) -> Result<Vec<u32>, ProbeError> {
    let mut found = Vec::new();
    for key in keys {
        let key = key?;
        if key >> shift == u32::from(flow) {
            found.push(key);
        }
    }
    Ok(found)
}

fn direction(bits: u32) -> Direction {
    if bits & 1 == 0 {
        Direction::Request
    } else {
        Direction::Response
    }
}

/// The flow in an edge's key.
fn flow_of(key: u32) -> u16 {
    (key >> 26) as u16
}

const EMPTY: EdgeCell = EdgeCell {
    key: 0,
    pad: 0,
    packets: 0,
    segments: 0,
    ack_packets: 0,
    bytes: 0,
    sum_ns: 0,
    histogram: [0; BUCKETS],
};

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

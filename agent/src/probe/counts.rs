//! Reads what the programs counted.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use nettoll_agent_common::hops::{
    BUCKETS, Counters, EdgeCell, LOSSES, Nest, PROGRAMS, SUB_BITS, SelfCell,
};
use nettoll_core::{
    histogram::upper_bound,
    hop::{Direction, Edge, Event, Hop, SelfTime},
};

use super::{ProbeError, devices::Devices, ignore_missing, map};

/// The maps that hold counts.
pub(super) struct Counts {
    edges: PerCpuHashMap<MapData, u32, EdgeCell>,
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

    pub(super) fn edges(&self, flow: u16, devices: &Devices) -> Result<Vec<Edge>, ProbeError> {
        let mut edges = Vec::new();
        for key in keys_of(flow, self.edges.keys(), 26)? {
            let cells = match self.edges.get(&key, 0) {
                Err(MapError::KeyNotFound) => continue,
                cells => cells?,
            };
            let hop = |code: u32| {
                let device = devices.id((code >> 4) as u16)?;
                Some(Hop {
                    device,
                    event: *EVENTS.get((code & 15) as usize)?,
                })
            };
            // A key of an earlier registration that was not cleared would have no device.
            let (Some(from), Some(to)) = (hop((key >> 12) & 0xFFF), hop(key & 0xFFF)) else {
                continue;
            };
            edges.push(edge(
                direction(key >> 25),
                from,
                to,
                key >> 24 & 1 != 0,
                &cells,
            ));
        }
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
        for key in keys_of(flow, self.edges.keys(), 26)? {
            ignore_missing(self.edges.remove(&key))?;
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

fn edge(
    direction: Direction,
    from: Hop,
    to: Hop,
    many_segments: bool,
    cells: &PerCpuValues<EdgeCell>,
) -> Edge {
    let mut counts = [0_u64; BUCKETS];
    for cell in cells.iter() {
        for (sum, count) in counts.iter_mut().zip(cell.histogram) {
            *sum += u64::from(count);
        }
    }
    let histogram: BTreeMap<u64, u64> = counts
        .into_iter()
        .enumerate()
        .filter(|(_, count)| *count > 0)
        .map(|(index, count)| (upper_bound(SUB_BITS, index), count))
        .collect();
    let sum = |field: fn(&EdgeCell) -> u64| cells.iter().map(field).sum();
    Edge {
        direction,
        from,
        to,
        many_segments,
        packets: sum(|cell| cell.packets),
        segments: sum(|cell| cell.segments),
        ack_packets: sum(|cell| cell.ack_packets),
        bytes: sum(|cell| cell.bytes),
        sum_ns: sum(|cell| cell.sum_ns),
        histogram: histogram.into_iter().collect(),
    }
}

//! What the programs cost, and what they do to the self times that they measure.
//!
//! Each has a slice of traffic of its own, none of which is in any figure of a run.
//!
//! Run times: `BPF_ENABLE_STATS` makes the kernel stamp every BPF program of the host before and
//! after it runs. That is not free, and its clock is in the figure. So programs that do nothing
//! run on the same hooks in the same slice: what a program takes longer than the empty one is its
//! own cost.
//!
//! Edges: two more programs run one after the other on one hook, the first with its look at the
//! clock at its end, the second at its begin, so that nothing but the way from one to the other
//! lies between.

use std::{os::fd::OwnedFd, time::Duration};

use aya::{
    Ebpf,
    maps::PerCpuArray,
    programs::BtfTracePoint,
    sys::{Stats, enable_stats},
};
use nettoll_agent_common::hops::EdgeTime;
use nettoll_core::api::Calibrate;

use super::{PROGRAMS, ProbeError, map, program};

/// The hooks that have an empty program.
const EMPTY: [&str; 6] = [
    "net_dev_queue",
    "net_dev_start_xmit",
    "net_dev_xmit",
    "netif_rx",
    "napi_gro_receive_entry",
    "netif_receive_skb",
];

/// The two programs around an edge, in the order in which they are to run: the kernel calls the
/// programs of one tracepoint in the order in which they were attached.
const EDGE: [&str; 2] = ["edge_leave", "edge_enter"];
const EDGE_HOOK: &str = "net_dev_xmit";

/// Mean run times of one program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    /// Its own.
    pub(crate) mean_ns: f64,
    /// The empty program's on the same hook.
    pub(crate) empty_mean_ns: f64,
}

/// What a slice found.
pub(super) enum Found {
    /// What an edge takes, in ns; `None` where no packet passed.
    Edge(Option<f64>),
    /// The costs of the programs that ran.
    RunTimes(Vec<(&'static str, Cost)>),
}

/// A slice of traffic that calibrates.
pub(crate) enum Calibration {
    /// The object with the two programs, which are attached.
    Edges(Ebpf),
    /// With the kernel's statistics on.
    RunTimes(RunTimes),
}

/// The kernel's statistics are on, and the empty programs attached.
pub(crate) struct RunTimes {
    /// The statistics are on for as long as this is open.
    _statistics: OwnedFd,
    empty: Ebpf,
    before: Vec<(Duration, u64)>,
}

impl Calibration {
    pub(super) fn begin(hops: &mut Ebpf, what: Calibrate) -> Result<Self, ProbeError> {
        let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/calibration"));
        let mut object = Ebpf::load(object)?;
        match what {
            Calibrate::Edges => {
                attach(&mut object, EDGE.map(|name| (name, EDGE_HOOK)))?;
                Ok(Self::Edges(object))
            }
            Calibrate::RunTimes => {
                attach(&mut object, EMPTY.map(|name| (name, name)))?;
                let _statistics = enable_stats(Stats::RunTime).map_err(ProbeError::Statistics)?;
                let before = EMPTY.map(|name| statistics(program(hops, name)?, name));
                Ok(Self::RunTimes(RunTimes {
                    _statistics,
                    empty: object,
                    before: before.into_iter().collect::<Result<_, _>>()?,
                }))
            }
        }
    }

    pub(super) fn end(self, hops: &mut Ebpf) -> Result<Found, ProbeError> {
        match self {
            Self::Edges(object) => edge_ns(object).map(Found::Edge),
            Self::RunTimes(slice) => slice.end(hops).map(Found::RunTimes),
        }
    }
}

/// The links live in the object and go with it.
fn attach<const N: usize>(
    object: &mut Ebpf,
    programs: [(&'static str, &str); N],
) -> Result<(), ProbeError> {
    let btf = aya::Btf::from_sys_fs()?;
    for (name, hook) in programs {
        let refused = |error| ProbeError::Program {
            program: name,
            error: Box::new(error),
        };
        let program = program(object, name)?;
        program.load(hook, &btf).map_err(refused)?;
        program.attach().map_err(refused)?;
    }
    Ok(())
}

fn edge_ns(mut object: Ebpf) -> Result<Option<f64>, ProbeError> {
    let times: PerCpuArray<_, EdgeTime> = map(&mut object, "EDGE")?.try_into()?;
    let times = times.get(&0, 0)?;
    let sum = |of: fn(&EdgeTime) -> u64| -> u64 { times.iter().map(of).sum() };
    let (count, ns) = (sum(|time| time.count), sum(|time| time.sum_ns));
    Ok((count > 0).then(|| ns as f64 / count as f64))
}

impl RunTimes {
    fn end(mut self, hops: &mut Ebpf) -> Result<Vec<(&'static str, Cost)>, ProbeError> {
        let mut costs = Vec::new();
        for (name, before) in EMPTY.into_iter().zip(self.before) {
            let (time, count) = statistics(program(hops, name)?, name)?;
            let (empty_time, empty_count) = statistics(program(&mut self.empty, name)?, name)?;
            let mean = |time: Duration, count: u64| time.as_nanos() as f64 / count as f64;
            let count = count.saturating_sub(before.1);
            if count > 0 && empty_count > 0 {
                let time = time.saturating_sub(before.0);
                costs.push((
                    name,
                    Cost {
                        mean_ns: mean(time, count),
                        empty_mean_ns: mean(empty_time, empty_count),
                    },
                ));
            }
        }
        debug_assert!(EMPTY.iter().all(|name| PROGRAMS.contains(name)));
        Ok(costs)
    }
}

fn statistics(program: &BtfTracePoint, name: &'static str) -> Result<(Duration, u64), ProbeError> {
    let info = program.info().map_err(|error| ProbeError::Program {
        program: name,
        error: Box::new(error),
    })?;
    Ok((info.run_time(), info.run_count()))
}

//! What the programs cost, by the kernel's own statistics.
//!
//! `BPF_ENABLE_STATS` makes the kernel stamp every BPF program of the host before and after it
//! runs. That is not free, and its clock is in the figure. So it is on in a slice of its own
//! only, and programs that do nothing run on the same hooks in the same slice: what a program
//! takes longer than the empty one is its own cost.

use std::{os::fd::OwnedFd, time::Duration};

use aya::{
    Ebpf,
    programs::BtfTracePoint,
    sys::{Stats, enable_stats},
};

use super::{ProbeError, program};

/// The hooks that have an empty program.
const EMPTY: [&str; 6] = [
    "net_dev_queue",
    "net_dev_start_xmit",
    "net_dev_xmit",
    "netif_rx",
    "napi_gro_receive_entry",
    "netif_receive_skb",
];

/// Mean run times of one program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    /// Its own.
    pub(crate) mean_ns: f64,
    /// The empty program's on the same hook.
    pub(crate) empty_mean_ns: f64,
}

/// A slice with the kernel's statistics on.
pub(crate) struct Calibration {
    /// The statistics are on for as long as this is open.
    _statistics: OwnedFd,
    empty: Ebpf,
    before: Vec<(Duration, u64)>,
}

impl Calibration {
    pub(super) fn begin(hops: &mut Ebpf) -> Result<Self, ProbeError> {
        let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/empty"));
        let mut empty = Ebpf::load(object)?;
        let btf = aya::Btf::from_sys_fs()?;
        for name in EMPTY {
            let program = program(&mut empty, name)?;
            program.load(name, &btf).map_err(ProbeError::of(name))?;
            // The link lives in the object and goes with it.
            program.attach().map_err(ProbeError::of(name))?;
        }
        let _statistics = enable_stats(Stats::RunTime).map_err(ProbeError::Statistics)?;
        let before = EMPTY.map(|name| statistics(program(hops, name)?, name));
        Ok(Self {
            _statistics,
            empty,
            before: before.into_iter().collect::<Result<_, _>>()?,
        })
    }

    /// The costs of the programs that ran in the slice.
    pub(super) fn end(mut self, hops: &mut Ebpf) -> Result<Vec<(&'static str, Cost)>, ProbeError> {
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
        Ok(costs)
    }
}

fn statistics(program: &BtfTracePoint, name: &'static str) -> Result<(Duration, u64), ProbeError> {
    let info = program.info().map_err(ProbeError::of(name))?;
    Ok((info.run_time(), info.run_count()))
}

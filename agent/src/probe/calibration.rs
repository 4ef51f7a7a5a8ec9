//! What the programs cost, by the kernel's own statistics.
//!
//! `BPF_ENABLE_STATS` makes the kernel stamp every BPF program of the host before and after it
//! runs. That is not free, and its clock is in the figure. So it is on in a slice of its own
//! only, and programs that do nothing run on the same hooks in the same slice: what a program
//! takes longer than the empty one is its own cost.

use std::{os::fd::OwnedFd, time::Duration};

use aya::{
    Ebpf,
    programs::{Program, links::FdLink},
    sys::{Stats, enable_stats},
};

use nettoll_core::kernel::HookKind;

use super::{
    ProbeError, program,
    programs::{self, Programs},
};

/// The hooks that have an empty program, and its name on raw tracepoints.
const EMPTY: [(&str, &str); 7] = [
    ("net_dev_queue", "raw_net_dev_queue"),
    ("net_dev_start_xmit", "raw_net_dev_start_xmit"),
    ("net_dev_xmit", "raw_net_dev_xmit"),
    ("netif_rx", "raw_netif_rx"),
    ("napi_gro_receive_entry", "raw_napi_gro_receive_entry"),
    ("netif_receive_skb", "raw_netif_receive_skb"),
    ("sk_data_ready", "raw_sk_data_ready"),
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
    _links: Vec<FdLink>,
    /// The hooks, their empty programs, and the figures of their own ones before it.
    before: Vec<(&'static str, &'static str, (Duration, u64))>,
}

impl Calibration {
    pub(super) fn begin(hops: &mut Programs) -> Result<Self, ProbeError> {
        let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/empty"));
        let mut empty = Ebpf::load(object)?;
        let btf = aya::Btf::from_sys_fs()?;
        let mut links = Vec::new();
        let mut hooks = Vec::new();
        for (hook, raw) in EMPTY
            .into_iter()
            .filter(|(hook, _)| hops.found().have(hook))
        {
            let name = match hops.found().kind {
                HookKind::RawTp => raw,
                _ => hook,
            };
            let program = program(&mut empty, name)?;
            programs::load(program, hook, &btf).map_err(ProbeError::of(name))?;
            links.push(programs::attach(program, hook).map_err(ProbeError::of(name))?);
            hooks.push((hook, name));
        }
        let _statistics = enable_stats(Stats::RunTime).map_err(ProbeError::Statistics)?;
        let before = hooks.into_iter().map(|(hook, empty)| {
            let so_far = statistics(hops.program(hook)?, hook)?;
            Ok((hook, empty, so_far))
        });
        Ok(Self {
            _statistics,
            empty,
            _links: links,
            before: before.collect::<Result<_, ProbeError>>()?,
        })
    }

    /// The costs of the programs that ran in the slice, by their hooks.
    pub(super) fn end(
        mut self,
        hops: &mut Programs,
    ) -> Result<Vec<(&'static str, Cost)>, ProbeError> {
        let mut costs = Vec::new();
        for (name, empty, before) in self.before {
            let (time, count) = statistics(hops.program(name)?, name)?;
            let (empty_time, empty_count) = statistics(program(&mut self.empty, empty)?, empty)?;
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

fn statistics(program: &Program, name: &'static str) -> Result<(Duration, u64), ProbeError> {
    let info = program.info().map_err(ProbeError::of(name))?;
    Ok((info.run_time(), info.run_count()))
}

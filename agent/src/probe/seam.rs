//! What leaving one of the programs and entering the next takes.
//!
//! It is in each exact self time of a tunnel, some tens of ns at each end, and is taken off there.
//! It is measured with the run's own traffic, in slices between the rounds: this machine may be
//! faster or slower a minute later.

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, PerCpuValues},
    programs::links::FdLink,
    util::nr_cpus,
};
use nettoll_agent_common::hops::SeamTime;
use nettoll_core::kernel::HookKind;

use super::{MapError, ProbeError, map, program, programs};

/// The programs around a seam, in the order in which they are to run: the kernel calls the
/// programs of one tracepoint in the order in which they were attached.
const PROGRAMS: [&str; 2] = ["seam_leave", "seam_enter"];
/// The same for raw tracepoints.
const RAW: [&str; 2] = ["raw_seam_leave", "raw_seam_enter"];
const HOOK: &str = "net_dev_xmit";

/// The two programs.
pub(super) struct Seams {
    object: Ebpf,
    programs: [&'static str; 2],
    times: PerCpuArray<MapData, SeamTime>,
    links: Vec<FdLink>,
}

/// Seams that were passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// How many.
    count: u64,
    /// Time in all.
    sum_ns: u64,
}

impl Passed {
    /// Mean time of one; `None` without any.
    pub(crate) fn mean_ns(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_ns as f64 / self.count as f64)
    }
}

impl std::ops::AddAssign for Passed {
    fn add_assign(&mut self, more: Self) {
        self.count += more.count;
        self.sum_ns += more.sum_ns;
    }
}

impl Seams {
    pub(super) fn load(kind: HookKind) -> Result<Self, ProbeError> {
        let programs = match kind {
            HookKind::RawTp => RAW,
            _ => PROGRAMS,
        };
        let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/seam"));
        let mut object = Ebpf::load(object)?;
        let btf = aya::Btf::from_sys_fs()?;
        for name in programs {
            programs::load(program(&mut object, name)?, HOOK, &btf)
                .map_err(ProbeError::of(name))?;
        }
        Ok(Self {
            times: map(&mut object, "SEAM")?.try_into()?,
            object,
            programs,
            links: Vec::new(),
        })
    }

    /// Begins a slice.
    pub(super) fn attach(&mut self) -> Result<(), ProbeError> {
        self.detach();
        let cpus = nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        let none = PerCpuValues::try_from(vec![SeamTime::default(); cpus]);
        self.times.set(0, none.map_err(MapError::IoError)?, 0)?;
        for name in self.programs {
            let program = program(&mut self.object, name)?;
            let link = programs::attach(program, HOOK).map_err(ProbeError::of(name))?;
            self.links.push(link);
        }
        Ok(())
    }

    pub(super) fn detach(&mut self) {
        self.links.clear();
    }

    /// Ends a slice.
    pub(super) fn take(&mut self) -> Result<Passed, ProbeError> {
        self.detach();
        let mut passed = Passed::default();
        for &SeamTime { count, sum_ns, .. } in self.times.get(&0, 0)?.iter() {
            passed += Passed { count, sum_ns };
        }
        Ok(passed)
    }
}

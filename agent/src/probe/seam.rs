//! What leaving one of the programs and entering the next takes.
//!
//! It is in each exact self time of a tunnel, some tens of ns at each end, and is taken off there.
//! It is measured with the run's own traffic, in slices between the rounds: this machine may be
//! faster or slower a minute later.

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, PerCpuValues},
    programs::tp_btf::BtfTracePointLink,
    util::nr_cpus,
};
use nettoll_agent_common::hops::SeamTime;

use super::{MapError, ProbeError, map, program};

/// The programs around a seam, in the order in which they are to run: the kernel calls the
/// programs of one tracepoint in the order in which they were attached.
const PROGRAMS: [&str; 2] = ["seam_leave", "seam_enter"];
const HOOK: &str = "net_dev_xmit";

/// The two programs.
pub(super) struct Seams {
    object: Ebpf,
    times: PerCpuArray<MapData, SeamTime>,
    links: Vec<BtfTracePointLink>,
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
    pub(super) fn load() -> Result<Self, ProbeError> {
        let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/seam"));
        let mut object = Ebpf::load(object)?;
        let btf = aya::Btf::from_sys_fs()?;
        for name in PROGRAMS {
            program(&mut object, name)?
                .load(HOOK, &btf)
                .map_err(ProbeError::of(name))?;
        }
        Ok(Self {
            times: map(&mut object, "SEAM")?.try_into()?,
            object,
            links: Vec::new(),
        })
    }

    /// Begins a slice.
    pub(super) fn attach(&mut self) -> Result<(), ProbeError> {
        self.detach();
        let cpus = nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        let none = PerCpuValues::try_from(vec![SeamTime::default(); cpus]);
        self.times.set(0, none.map_err(MapError::IoError)?, 0)?;
        for name in PROGRAMS {
            let program = program(&mut self.object, name)?;
            let link = program.attach().map_err(ProbeError::of(name))?;
            self.links
                .push(program.take_link(link).map_err(ProbeError::of(name))?);
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

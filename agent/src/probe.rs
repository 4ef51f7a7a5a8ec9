//! The probe: follows a run's packets through the kernel.
//!
//! The eBPF side (`agent-ebpf/src/hops`) aggregates in arrays with a part for each CPU; this side
//! resolves struct offsets from what the kernel says of itself ([`kernel`]), loads the programs,
//! tells them which flows and devices matter ([`follow`], [`devices`]), maps their [`memory`], shares
//! stamps with the traffic threads ([`stamps`]), reads what was counted ([`counts`], [`drops`]) and what the programs
//! themselves cost ([`calibration`]) and add to self times ([`seam`]). Programs are attached only in
//! rounds that want them; what they could not count is counted by reason.
//!
//! It fails where the kernel refuses (no privilege, no BTF, a missing member): then there is no
//! probe, the reason is told, and traffic tests still work.

mod calibration;
mod counts;
mod devices;
mod drops;
mod follow;
pub(crate) mod kernel;
mod memory;
mod seam;
mod stamps;
mod way;

use std::{collections::BTreeMap, io, sync::Arc};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, MapData, MapError},
    programs::{BtfTracePoint, ProgramError, tp_btf::BtfTracePointLink},
};
use nettoll_agent_common::hops::{
    Config, DeviceEntry, FLOWS, FlowKey, FlowRef, LOSS_NAMES, ProgramCounters,
};
use nettoll_core::{
    btf::BtfError,
    hop::{Dropped, Edge, SelfTime},
    kernel::{DropReasons, MEMBERS, Mismatch, TRACEPOINTS, Tracepoint},
    report::Program,
};

pub(crate) use self::{calibration::Calibration, seam::Passed, stamps::Stamps, way::Way};
use self::{
    calibration::Cost, counts::Counts, devices::Devices, drops::Drops, kernel::KernelError,
    seam::Seams, stamps::States,
};

/// Why there is no probe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// The binary holds no eBPF object.
    #[error("this agent was built without its eBPF programs; build it with 'cargo xtask build'")]
    NotBuilt,
    /// The kernel does not describe itself.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel does not tell where its members are.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The kernel's tracepoint is not the one that the program was written for.
    #[error(
        "the kernel's tracepoint '{name}': {mismatch}: this kernel differs from those that nettoll knows; please report it with 'uname -r'"
    )]
    Prototype {
        /// Which.
        name: &'static str,
        /// How.
        mismatch: Mismatch,
    },
    /// The kernel refused the object or a map.
    #[error(
        "the kernel refused the probe's maps: {0}; loading needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
    )]
    Load(#[from] aya::EbpfError),
    /// aya's own reader of the kernel's BTF.
    #[error("cannot read the kernel's BTF for loading: {0}")]
    KernelBtf(#[from] aya::BtfError),
    /// The kernel refused a program.
    #[error("the kernel refused the program '{program}': {error}")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        error: Box<ProgramError>,
    },
    /// The kernel's statistics could not be switched on.
    #[error("cannot switch the kernel's BPF statistics on: {0}; that needs CAP_SYS_ADMIN")]
    Statistics(aya::sys::SyscallError),
    /// A map could not be read or written.
    #[error("cannot use a map of the probe: {0}")]
    Map(#[from] MapError),
    /// The kernel does not tell its CPUs.
    #[error("cannot read which CPUs there are: {0}; is /sys mounted?")]
    Cpus(io::Error),
    /// A map could not be mapped.
    #[error("cannot share memory with the probe: {0}")]
    Share(io::Error),
    /// The object lacks something: it is of another version.
    #[error("the eBPF object has no '{0}': it is of another version; build it again")]
    Missing(&'static str),
    /// No room for a flow.
    #[error("{FLOWS} flows are followed already; end a run first")]
    TooManyFlows,
    /// No room for a device.
    #[error("more than {max} devices to watch; give the agent fewer endpoints", max = devices::MAX_DEVICES)]
    TooManyDevices,
}

impl ProbeError {
    /// The kernel refused that program.
    fn of(program: &'static str) -> impl FnOnce(ProgramError) -> Self {
        move |error| Self::Program {
            program,
            error: Box::new(error),
        }
    }
}

/// Which programs a round needs beside those of the stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hooks {
    /// `net_dev_xmit`: exact self times.
    pub(crate) exact: bool,
    /// `skb_copy_datagram_iovec` and `consume_skb`: the end of packets that no traffic thread
    /// stamps (streams).
    pub(crate) copy: bool,
}

impl Hooks {
    fn wants(self, program: &str) -> bool {
        match program {
            "net_dev_xmit" => self.exact,
            "skb_copy_datagram_iovec" | "consume_skb" => self.copy,
            _ => true,
        }
    }
}

/// A followed flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowId(u16);

/// The loaded programs and their maps.
pub(crate) struct Probe {
    ebpf: Ebpf,
    links: Vec<BtfTracePointLink>,
    attached: Option<Hooks>,
    states: Arc<States>,
    counts: Counts,
    drops: Drops,
    config: Array<MapData, Config>,
    device_table: Array<MapData, DeviceEntry>,
    flow_table: HashMap<MapData, FlowKey, FlowRef>,
    devices: Devices,
    /// Under which seed the device table is written, and where.
    seed: u32,
    placed: Vec<u32>,
    vxlan_ports: [u16; 2],
    flows: BTreeMap<u16, Vec<FlowKey>>,
    generation: u32,
    costs: BTreeMap<&'static str, Cost>,
    /// From the first slice that measures them on.
    seams: Option<Seams>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe")
            .field("attached", &self.attached)
            .finish_non_exhaustive()
    }
}

impl Probe {
    /// Resolves the offsets and loads the programs; nothing is attached yet.
    pub(crate) fn load() -> Result<Self, ProbeError> {
        let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hops"));
        if object.is_empty() {
            return Err(ProbeError::NotBuilt);
        }
        let kernel = kernel::btf()?;
        for tracepoint in TRACEPOINTS {
            let name = tracepoint.name;
            let differs = |mismatch| ProbeError::Prototype { name, mismatch };
            tracepoint.check(&kernel).map_err(differs)?;
        }
        let offsets = (MEMBERS.iter())
            .map(|member| Ok((member.variable, member.offset(&kernel)?)))
            .collect::<Result<Vec<_>, BtfError>>()?;
        let mut loader = EbpfLoader::new();
        for (variable, offset) in &offsets {
            loader.override_global(variable, offset, true);
        }
        let reasons = DropReasons::of(&kernel)?;
        let tells_reasons = u32::from(reasons.is_some());
        loader.override_global("TELLS_REASONS", &tells_reasons, true);
        counts::size(&mut loader)?;
        let mut ebpf = loader.load(object)?;
        // Only an object that was built with the feature `log` has the log's map.
        if ebpf.map("AYA_LOGS").is_some()
            && let Err(error) = aya_log::EbpfLogger::init(&mut ebpf)
        {
            tracing::warn!("no log lines from the eBPF programs: {error}");
        }
        let btf = aya::Btf::from_sys_fs()?;
        for Tracepoint { name, .. } in TRACEPOINTS {
            program(&mut ebpf, name)?
                .load(name, &btf)
                .map_err(ProbeError::of(name))?;
        }
        Ok(Self {
            states: States::of(&mut ebpf)?,
            counts: Counts::new(&mut ebpf)?,
            drops: Drops::new(map(&mut ebpf, "DROPS")?, reasons)?,
            config: map(&mut ebpf, "CONFIG")?.try_into()?,
            device_table: map(&mut ebpf, "DEVICES")?.try_into()?,
            flow_table: map(&mut ebpf, "FLOWS")?.try_into()?,
            ebpf,
            links: Vec::new(),
            attached: None,
            devices: Devices::default(),
            seed: 0,
            placed: Vec::new(),
            vxlan_ports: [0; 2],
            flows: BTreeMap::new(),
            generation: 0,
            costs: BTreeMap::new(),
            seams: None,
        })
    }

    /// Attaches the programs that `hooks` asks for, and no others.
    pub(crate) fn attach(&mut self, hooks: Hooks) -> Result<(), ProbeError> {
        if self.attached == Some(hooks) {
            return Ok(());
        }
        self.detach();
        self.counts.clear_nest();
        self.configure(hooks)?;
        let names = TRACEPOINTS.map(|tracepoint| tracepoint.name);
        for name in names.into_iter().filter(|name| hooks.wants(name)) {
            let program = program(&mut self.ebpf, name)?;
            let link = program.attach().map_err(ProbeError::of(name))?;
            self.links
                .push(program.take_link(link).map_err(ProbeError::of(name))?);
        }
        self.attached = Some(hooks);
        Ok(())
    }

    /// Detaches the programs. Doing so twice changes nothing.
    pub(crate) fn detach(&mut self) {
        self.links.clear();
        self.attached = None;
        if let Some(seams) = &mut self.seams {
            seams.detach();
        }
    }

    /// Begins a slice that measures seams, with the hop programs detached. It ends with
    /// [`Self::end_seams`], or when anything else is attached or detached.
    pub(crate) fn begin_seams(&mut self) -> Result<(), ProbeError> {
        self.detach();
        match &mut self.seams {
            Some(seams) => seams.attach(),
            none => none.insert(Seams::load()?).attach(),
        }
    }

    /// Ends a slice that measures seams: those that were passed in it.
    pub(crate) fn end_seams(&mut self) -> Result<Passed, ProbeError> {
        self.seams
            .as_mut()
            .map_or(Ok(Passed::default()), Seams::take)
    }

    /// Begins a calibration slice, with the programs attached. It ends with
    /// [`Self::end_calibration`], or when it is dropped.
    pub(crate) fn begin_calibration(&mut self) -> Result<Calibration, ProbeError> {
        Calibration::begin(&mut self.ebpf)
    }

    /// Ends a calibration slice: from now on [`Self::programs`] knows the run times.
    pub(crate) fn end_calibration(&mut self, slice: Calibration) -> Result<(), ProbeError> {
        self.costs.extend(slice.end(&mut self.ebpf)?);
        Ok(())
    }

    /// The flow's stamps, for its traffic threads.
    pub(crate) fn stamps(&self, flow: FlowId) -> Stamps {
        Stamps::of(Arc::clone(&self.states), flow.0.into())
    }

    /// What was counted between the flow's marks so far.
    pub(crate) fn edges(&self, flow: FlowId) -> Vec<Edge> {
        self.counts.edges(flow.0, &self.devices)
    }

    /// Exact self times between the flow's marks so far.
    pub(crate) fn self_times(&self, flow: FlowId) -> Vec<SelfTime> {
        self.counts.self_times(flow.0, &self.devices)
    }

    /// What the kernel dropped of the flow between its marks so far.
    pub(crate) fn drops(&self, flow: FlowId) -> Result<Vec<Dropped>, ProbeError> {
        self.drops.of(flow.0, &self.devices)
    }

    /// The programs and their counts since load (`node` is left empty).
    pub(crate) fn programs(&self) -> Vec<Program> {
        TRACEPOINTS
            .into_iter()
            .zip(self.counts.counters().programs)
            .map(
                |(Tracepoint { name, .. }, ProgramCounters { runs, matched })| Program {
                    name: name.to_owned(),
                    node: String::new(),
                    runs,
                    matched,
                    mean_ns: self.costs.get(name).map(|cost| cost.mean_ns),
                    empty_mean_ns: self.costs.get(name).map(|cost| cost.empty_mean_ns),
                },
            )
            .collect()
    }

    /// What was lost since load, all reasons listed.
    pub(crate) fn lost(&self) -> BTreeMap<String, u64> {
        let names = LOSS_NAMES.into_iter().map(str::to_owned);
        names.zip(self.counts.counters().lost).collect()
    }

    fn configure(&mut self, hooks: Hooks) -> Result<(), ProbeError> {
        let config = Config {
            generation: self.generation,
            seed: self.seed,
            exact: hooks.exact.into(),
            vxlan_ports: self.vxlan_ports,
        };
        Ok(self.config.set(0, config, 0)?)
    }

    /// Writes the device table anew. While it changes, hops on moved devices are not counted:
    /// no round runs then.
    fn write_devices(&mut self) -> Result<(), ProbeError> {
        let (seed, placed) = self.devices.place().ok_or(ProbeError::TooManyDevices)?;
        for slot in std::mem::take(&mut self.placed) {
            self.device_table.set(slot, DeviceEntry::default(), 0)?;
        }
        for (slot, entry) in placed {
            self.device_table.set(slot, entry, 0)?;
            self.placed.push(slot);
        }
        self.seed = seed;
        self.configure(self.attached.unwrap_or_default())
    }
}

fn program<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut BtfTracePoint, ProbeError> {
    let program = ebpf.program_mut(name).ok_or(ProbeError::Missing(name))?;
    program.try_into().map_err(|_| ProbeError::Missing(name))
}

fn map(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, ProbeError> {
    ebpf.take_map(name).ok_or(ProbeError::Missing(name))
}

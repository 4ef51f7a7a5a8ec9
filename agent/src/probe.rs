//! The probe: follows a run's packets through the kernel.
//!
//! The eBPF side (`agent-ebpf/src/hops`) aggregates in arrays with a part for each CPU; this side
//! resolves struct offsets from what the kernel says of itself ([`kernel`]), loads the programs,
//! tells them which flows and devices matter ([`follow`], [`devices`]), maps their [`memory`], shares
//! stamps and the hops of single requests with the traffic threads ([`stamps`], [`trail`]), reads what was counted ([`counts`], [`drops`]) and what the programs
//! themselves cost ([`calibration`]) and add to self times ([`seam`]). Programs are attached only in
//! rounds that want them; what they could not count is counted by reason.
//!
//! A hook that the kernel refuses costs only its own stages ([`programs`], [`found`]). Where it refuses all (no
//! privilege, no BTF), there is no probe, the reason is told, and traffic tests still work.

mod calibration;
mod counts;
mod devices;
mod drops;
mod follow;
mod found;
pub(crate) mod kernel;
mod memory;
mod programs;
mod seam;
mod settings;
mod stamps;
mod trail;
mod way;

use std::{collections::BTreeMap, io, sync::Arc};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError},
    programs::{Program as Loaded, ProgramError},
};
use nettoll_agent_common::hops::{
    Config, DeviceEntry, FLOWS, FlowKey, FlowRef, LOSS_NAMES, ProgramCounters, TrailHop,
};
use nettoll_core::{
    api::KeptHop,
    device::DeviceKind,
    hop::{Dropped, Edge, SelfTime},
    kernel::{TRACEPOINTS, Tracepoint},
    report::{MissingHook, Program},
};

pub(crate) use self::{
    calibration::Calibration,
    found::{Failure, Found, differs},
    seam::Passed,
    settings::{Settings, Tier},
    stamps::Stamps,
    trail::Mark,
    way::{Way, near},
};
use self::{
    calibration::Cost, counts::Counts, devices::Devices, drops::Drops, kernel::KernelError,
    programs::Programs, seam::Seams, stamps::States,
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
    /// No hook is there at which packets are received.
    #[error(
        "no hook is there at which packets are received ({why}); 'nettoll-agent doctor' says what to do",
        why = .0.why_nothing_is_received()
    )]
    NoWay(Found),
    /// A measure of the probe's own needs a hook that is missing.
    #[error("the hook {0} is missing")]
    NoHook(&'static str),
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

/// The hooks that exact self times need.
const EXACT: [&str; 2] = ["net_dev_start_xmit", "net_dev_xmit"];

/// Which programs a round needs beside those of the stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hooks {
    /// `net_dev_xmit`: exact self times.
    pub(crate) exact: bool,
    /// `skb_copy_datagram_iovec` and `consume_skb`: the end of packets that no traffic thread
    /// stamps (streams).
    pub(crate) copy: bool,
    /// `sk_data_ready`: the parts of what follows the last receive, where one message is outstanding.
    pub(crate) ready: bool,
}

impl Hooks {
    fn wants(self, program: &str) -> bool {
        match program {
            "net_dev_xmit" => self.exact,
            "skb_copy_datagram_iovec" | "consume_skb" => self.copy,
            "sk_data_ready" => self.ready,
            _ => true,
        }
    }
}

/// A followed flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowId(u16);

/// The loaded programs and their maps.
pub(crate) struct Probe {
    programs: Programs,
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
    /// Loads the programs that the kernel takes; nothing is attached yet.
    pub(crate) fn load(settings: &Settings) -> Result<Self, ProbeError> {
        let mut programs = Programs::load(settings)?;
        let reasons = programs.take_reasons();
        let ebpf = programs.object();
        // Only an object that was built with the feature `log` has the log's map.
        if ebpf.map("AYA_LOGS").is_some()
            && let Err(error) = aya_log::EbpfLogger::init(ebpf)
        {
            tracing::warn!("no log lines from the eBPF programs: {error}");
        }
        Ok(Self {
            states: States::of(ebpf)?,
            counts: Counts::new(ebpf)?,
            drops: Drops::new(map(ebpf, "DROPS")?, reasons)?,
            config: map(ebpf, "CONFIG")?.try_into()?,
            device_table: map(ebpf, "DEVICES")?.try_into()?,
            flow_table: map(ebpf, "FLOWS")?.try_into()?,
            programs,
            attached: None,
            devices: Devices::default(),
            seed: 0,
            placed: Vec::new(),
            flows: BTreeMap::new(),
            generation: 0,
            costs: BTreeMap::new(),
            seams: None,
        })
    }

    /// What became of the hooks.
    pub(crate) fn found(&self) -> &Found {
        self.programs.found()
    }

    fn have(&self, hook: &str) -> bool {
        self.found().have(hook)
    }

    /// Those that are missing, for a report (`node` and `stages` are left empty).
    pub(crate) fn missing_hooks(&self) -> Vec<MissingHook> {
        let missing = self.found().missing.iter();
        missing
            .map(|(hook, (reason, detail))| MissingHook {
                hook: (*hook).to_owned(),
                node: String::new(),
                reason: *reason,
                detail: detail.clone(),
                stages: Vec::new(),
            })
            .collect()
    }

    /// Attaches the programs that `hooks` asks for, and no others.
    pub(crate) fn attach(&mut self, hooks: Hooks) -> Result<(), ProbeError> {
        let hooks = self.possible(hooks);
        if self.attached == Some(hooks) {
            return Ok(());
        }
        self.detach();
        self.counts.clear_open();
        self.configure(hooks)?;
        self.programs.attach(|hook| hooks.wants(hook))?;
        // One that could be attached before may be refused now.
        let hooks = self.possible(hooks);
        self.configure(hooks)?;
        self.attached = Some(hooks);
        Ok(())
    }

    /// What can be had of it.
    fn possible(&self, hooks: Hooks) -> Hooks {
        Hooks {
            exact: hooks.exact && EXACT.iter().all(|hook| self.have(hook)),
            ..hooks
        }
    }

    /// Detaches the programs. Doing so twice changes nothing.
    pub(crate) fn detach(&mut self) {
        self.programs.detach();
        self.attached = None;
        if let Some(seams) = &mut self.seams {
            seams.detach();
        }
    }

    /// Begins a slice that measures seams, with the hop programs detached. It ends with
    /// [`Self::end_seams`], or when anything else is attached or detached.
    pub(crate) fn begin_seams(&mut self) -> Result<(), ProbeError> {
        self.detach();
        if let Some(hook) = EXACT.into_iter().find(|hook| !self.have(hook)) {
            return Err(ProbeError::NoHook(hook));
        }
        match &mut self.seams {
            Some(seams) => seams.attach(),
            none => none
                .insert(Seams::load(self.programs.found().kind)?)
                .attach(),
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
        Calibration::begin(&mut self.programs)
    }

    /// Ends a calibration slice: from now on [`Self::programs`] knows the run times.
    pub(crate) fn end_calibration(&mut self, slice: Calibration) -> Result<(), ProbeError> {
        self.costs.extend(slice.end(&mut self.programs)?);
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

    /// Hops of single requests, as they travel.
    pub(crate) fn hops(&self, hops: &[TrailHop]) -> Vec<KeptHop> {
        let hop = |hop: &TrailHop| counts::kept(hop, &self.devices);
        hops.iter().filter_map(hop).collect()
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
            .filter(|(hook, _)| self.have(hook.name))
            .map(
                |(Tracepoint { name, .. }, ProgramCounters { runs, matched })| Program {
                    name: name.to_owned(),
                    node: String::new(),
                    kind: Some(self.found().kind),
                    runs,
                    matched,
                    mean_ns: self.costs.get(name).map(|cost| cost.mean_ns),
                    empty_mean_ns: self.costs.get(name).map(|cost| cost.empty_mean_ns),
                },
            )
            .collect()
    }

    /// What was lost since load, all reasons listed that the hooks tell.
    pub(crate) fn lost(&self) -> BTreeMap<String, u64> {
        let told = |reason: &str| told_by(reason).iter().all(|hook| self.have(hook));
        let lost = LOSS_NAMES.into_iter().zip(self.counts.counters().lost);
        lost.filter(|(reason, _)| told(reason))
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect()
    }

    fn configure(&mut self, hooks: Hooks) -> Result<(), ProbeError> {
        let config = Config {
            generation: self.generation,
            seed: self.seed,
            exact: hooks.exact.into(),
            vxlan_ports: self.devices.ports(DeviceKind::Vxlan),
            geneve_ports: self.devices.ports(DeviceKind::Geneve),
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

/// The hooks that a reason of loss needs beside those of the stages.
fn told_by(reason: &str) -> &'static [&'static str] {
    match reason {
        "merged" => &["consume_skb"],
        "dropped_by_kernel" => &["kfree_skb"],
        "nesting" | "interrupted" => &EXACT,
        _ => &[],
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Loaded, ProbeError> {
    ebpf.program_mut(name).ok_or(ProbeError::Missing(name))
}

fn map(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, ProbeError> {
    ebpf.take_map(name).ok_or(ProbeError::Missing(name))
}

//! The hop programs at their hooks, each loaded and attached by itself: one that fails costs only
//! its own stages. Packets' ways begin, leave the node and end at certain hooks; where one of these is
//! missing, another one's program takes its role over.

use std::collections::{BTreeMap, BTreeSet};

use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError, links::FdLink},
};
use nettoll_core::{
    btf::Btf,
    kernel::{DropReasons, HookKind, MEMBERS, Member, Mismatch, Reason, TRACEPOINTS, Tracepoint},
};

use super::{
    ProbeError, counts, kernel,
    settings::{Settings, Tier},
};

/// The hooks at which a packet is received: one of them must be there, for its way to end.
const RECEIVING: [&str; 3] = ["netif_receive_skb", "netif_rx", "napi_gro_receive_entry"];
/// Where a member is that is nowhere. No program that is loaded reads it, and the verifier takes
/// none that does by a load of its own.
const NOWHERE: u32 = u32::MAX;
/// What is said of what the configuration does without.
const FORGONE: &str = "the agent is told to do without it ('probe_without')";

/// Why a hook is done without, and the same in words.
pub(crate) type Failure = (Reason, String);

/// What became of the hooks.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// How those that are there are attached.
    pub(crate) kind: HookKind,
    /// Those that are not, and why.
    pub(crate) missing: BTreeMap<&'static str, Failure>,
}

impl Found {
    /// Whether a hook has a program.
    pub(crate) fn have(&self, hook: &str) -> bool {
        !self.missing.contains_key(hook)
    }

    /// Why the hook is missing at which packets are received on all devices.
    pub(super) fn why_nothing_is_received(&self) -> &str {
        let why = self.missing.get(RECEIVING[0]);
        why.map_or("it is there", |(_, why)| why)
    }

    /// Whether the kernel refused a program that it has the hook for.
    fn refused(&self) -> bool {
        use Reason::{AttachRefused, Forbidden, LoadRefused};
        let mut reasons = self.missing.values();
        reasons.any(|(reason, _)| matches!(reason, AttachRefused | Forbidden | LoadRefused))
    }

    /// Where a member is missing that the beginning of a way needs, none begins anywhere.
    fn queue_is_replaced(&self) -> bool {
        let missing = self.missing.get("net_dev_queue");
        missing.is_some_and(|(reason, _)| *reason != Reason::NoMember)
    }

    /// The program that a hook has: where another hook is missing, one that takes its role over.
    fn program(&self, hook: &'static str) -> &'static str {
        match hook {
            "net_dev_queue" if !self.have("net_dev_start_xmit") => "net_dev_queue_leaves",
            "net_dev_start_xmit" if self.queue_is_replaced() => "net_dev_start_xmit_begins",
            "netif_rx" if !self.have("netif_receive_skb") => "netif_rx_ends",
            "napi_gro_receive_entry" if !self.have("netif_receive_skb") => {
                "napi_gro_receive_entry_ends"
            }
            hook => hook,
        }
    }
}

/// The programs.
pub(super) struct Programs {
    ebpf: Ebpf,
    found: Found,
    /// By their own names.
    loaded: BTreeSet<&'static str>,
    /// What the kernel calls the reasons of drops.
    reasons: Option<DropReasons>,
    links: Vec<FdLink>,
}

impl Programs {
    /// Loads all that can be loaded and attached, in the first of the tiers that the kernel
    /// refuses nothing in, else in the one with most hooks; nothing is attached yet.
    pub(super) fn load(settings: &Settings) -> Result<Self, ProbeError> {
        let kernel = kernel::btf()?;
        let (first, second) = match settings.tier.unwrap_or_default() {
            Tier::Auto => (HookKind::TpBtf, Some(HookKind::RawTp)),
            Tier::TpBtf => (HookKind::TpBtf, None),
            Tier::RawTp => (HookKind::RawTp, None),
        };
        let load = |kind| Self::load_as(kind, &kernel, settings);
        let first = load(first);
        let Some(second) = second else { return first };
        match first {
            Ok(first) if !first.found.refused() => Ok(first),
            Ok(first) => Ok(match load(second) {
                Ok(second) if second.found.missing.len() < first.found.missing.len() => second,
                _ => first,
            }),
            Err(error @ ProbeError::NotBuilt) => Err(error),
            Err(error) => load(second).map_err(|_| error),
        }
    }

    fn load_as(kind: HookKind, kernel: &Btf, settings: &Settings) -> Result<Self, ProbeError> {
        let object = match kind {
            HookKind::RawTp => aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hops_raw")),
            _ => aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hops")),
        };
        if object.is_empty() {
            return Err(ProbeError::NotBuilt);
        }
        let unusable = |hook: Tracepoint| Some((hook.name, usable(hook, kernel, settings).err()?));
        let offset = |member: &Member| {
            let known = member.offset(kernel).ok();
            known.filter(|_| !settings.forgo(&member.name()))
        };
        let offsets = MEMBERS.map(|it| (it.variable, offset(&it).unwrap_or(NOWHERE)));
        let mut loader = EbpfLoader::new();
        for (variable, offset) in &offsets {
            loader.override_global(variable, offset, true);
        }
        // A kernel that tells them in another way is taken for one that tells none.
        let reasons = DropReasons::of(kernel).ok().flatten();
        let tells_reasons = u32::from(reasons.is_some());
        loader.override_global("TELLS_REASONS", &tells_reasons, true);
        counts::size(&mut loader)?;
        let mut programs = Self {
            found: Found {
                kind,
                missing: TRACEPOINTS.into_iter().filter_map(unusable).collect(),
            },
            ebpf: loader.load(object)?,
            loaded: BTreeSet::new(),
            reasons,
            links: Vec::new(),
        };
        // That a program can be loaded does not say that it can be attached.
        programs.attach(|_| true)?;
        programs.detach();
        Ok(programs)
    }

    /// The object that holds them and their maps.
    pub(super) fn object(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// What the kernel calls the reasons of drops; `None` where it tells none, or they were taken.
    pub(super) fn take_reasons(&mut self) -> Option<DropReasons> {
        self.reasons.take()
    }

    /// What became of the hooks.
    pub(super) fn found(&self) -> &Found {
        &self.found
    }

    /// A hook's program.
    pub(super) fn program(&mut self, hook: &'static str) -> Result<&mut Program, ProbeError> {
        let name = self.found.program(hook);
        self.ebpf.program_mut(name).ok_or(ProbeError::Missing(name))
    }

    /// Attaches those whose hooks are wanted, after loading those that are not. A hook whose program
    /// is refused is missing from then on, and others take its role over.
    pub(super) fn attach(&mut self, wanted: impl Fn(&str) -> bool) -> Result<(), ProbeError> {
        loop {
            self.detach();
            let missing = self.found.missing.len();
            self.load_rest()?;
            for Tracepoint { name: hook, .. } in TRACEPOINTS {
                if self.found.have(hook) && wanted(hook) {
                    match attach(self.program(hook)?, hook) {
                        Ok(link) => self.links.push(link),
                        Err(error) => self.lack(hook, &error),
                    }
                }
            }
            if self.found.missing.len() == missing {
                break;
            }
        }
        match RECEIVING.into_iter().any(|hook| self.found.have(hook)) {
            true => Ok(()),
            false => Err(ProbeError::NoWay(self.found.clone())),
        }
    }

    /// Detaches all.
    pub(super) fn detach(&mut self) {
        self.links.clear();
    }

    /// Loads the programs that hooks have and that are not loaded.
    fn load_rest(&mut self) -> Result<(), ProbeError> {
        let hooks = TRACEPOINTS.iter().map(|hook| hook.name);
        let rest: Vec<_> = hooks
            .filter(|hook| self.found.have(hook))
            .map(|hook| (hook, self.found.program(hook)))
            .filter(|(_, program)| !self.loaded.contains(program))
            .collect();
        if rest.is_empty() {
            return Ok(());
        }
        let btf = aya::Btf::from_sys_fs()?;
        for (hook, name) in rest {
            let program = self.ebpf.program_mut(name);
            match load(program.ok_or(ProbeError::Missing(name))?, hook, &btf) {
                Ok(()) => {
                    self.loaded.insert(name);
                }
                Err(error) => self.lack(hook, &error),
            }
        }
        Ok(())
    }

    fn lack(&mut self, hook: &'static str, error: &ProgramError) {
        self.found.missing.insert(hook, failure(error));
    }
}

/// Loads a program for a hook.
pub(super) fn load(program: &mut Program, hook: &str, btf: &aya::Btf) -> Result<(), ProgramError> {
    match program {
        Program::BtfTracePoint(program) => program.load(hook, btf),
        Program::RawTracePoint(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Attaches a program to its hook, until the link is dropped.
pub(super) fn attach(program: &mut Program, hook: &str) -> Result<FdLink, ProgramError> {
    match program {
        Program::BtfTracePoint(program) => {
            let link = program.attach()?;
            Ok(program.take_link(link)?.into())
        }
        Program::RawTracePoint(program) => {
            let link = program.attach(hook)?;
            Ok(program.take_link(link)?.into())
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Whether the kernel has what a hook's program needs, and the program is wanted.
fn usable(hook: Tracepoint, kernel: &Btf, settings: &Settings) -> Result<(), Failure> {
    if settings.forgo(hook.name) {
        return Err((Reason::SwitchedOff, FORGONE.to_owned()));
    }
    hook.check(kernel).map_err(differs)?;
    let needed = |member: &&Member| member.needed_by.contains(&hook.name);
    for member in MEMBERS.iter().filter(needed) {
        let name = member.name();
        let lacks = |why: &str| (Reason::NoMember, format!("it needs {name}: {why}"));
        member
            .offset(kernel)
            .map_err(|error| lacks(&error.to_string()))?;
        if settings.forgo(&name) {
            return Err(lacks(FORGONE));
        }
    }
    Ok(())
}

/// What a tracepoint is that is not the one that the program was written for.
pub(crate) fn differs(mismatch: Mismatch) -> Failure {
    let reason = match mismatch {
        Mismatch::Arguments { .. } => Reason::Differs,
        Mismatch::Absent | Mismatch::Btf(_) => Reason::NotInKernel,
    };
    (reason, mismatch.to_string())
}

/// What the kernel's refusal of a program is.
fn failure(error: &ProgramError) -> Failure {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => match io_error.raw_os_error() {
            Some(libc::EPERM) => (
                Reason::Forbidden,
                "it is forbidden in spite of the capabilities".to_owned(),
            ),
            _ => (Reason::LoadRefused, refusal(io_error, verifier_log)),
        },
        ProgramError::Btf(error) => (Reason::NotInKernel, error.to_string()),
        error => (Reason::AttachRefused, error.to_string()),
    }
}

/// The error, and what the verifier said at last, where it said anything.
fn refusal(error: &std::io::Error, log: &impl ToString) -> String {
    let log = log.to_string();
    let statistics =
        |line: &&str| line.contains(" insns ") || line.starts_with("verification time");
    let mut lines = log.lines().map(str::trim).rev();
    match lines.find(|line| !line.is_empty() && !statistics(line)) {
        Some(line) => format!("{error}: {line}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_verifiers_words() {
        let error = || io::Error::from_raw_os_error(libc::EACCES);
        let log = "0: R1=ctx()\naccess beyond struct sk_buff\nverification time 12 usec\n\
                   processed 5 insns (limit 1000000) max_states_per_insn 0\n\n";
        let told = refusal(&error(), &log);
        assert!(told.ends_with(": access beyond struct sk_buff"), "{told}");
        assert_eq!(refusal(&error(), &""), error().to_string());
    }
}

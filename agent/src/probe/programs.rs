//! The hop programs at their hooks, each loaded and attached by itself: one that fails costs only
//! its own stages. Packets' ways begin, leave the node and end at certain hooks; where one of these is
//! missing, another one's program takes its role over.

use std::collections::BTreeSet;

use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError, links::FdLink},
};
use nettoll_core::{
    btf::Btf,
    kernel::{DropReasons, HookKind, MEMBERS, Member, TRACEPOINTS, Tracepoint},
};

use super::{
    ProbeError, counts,
    found::{Found, failure, usable},
    kernel,
    settings::{Settings, Tier},
};

/// Where a member is that is nowhere. No program that is loaded reads it, and the verifier takes
/// none that does by a load of its own.
const NOWHERE: u32 = u32::MAX;
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
        match second {
            Some(second) => choose(load(first), || load(second), Self::found),
            None => load(first),
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
        match self.found.receives() {
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

/// The programs of the first tier where the kernel refuses none of them, else those of the tier in
/// which it takes more.
fn choose<T>(
    first: Result<T, ProbeError>,
    second: impl FnOnce() -> Result<T, ProbeError>,
    found: impl Fn(&T) -> &Found,
) -> Result<T, ProbeError> {
    let lacks = |programs: &T| found(programs).missing.len();
    match first {
        Ok(first) if !found(&first).refused() => Ok(first),
        Ok(first) => Ok(match second() {
            Ok(second) if lacks(&second) < lacks(&first) => second,
            _ => first,
        }),
        Err(error @ ProbeError::NotBuilt) => Err(error),
        Err(error) => second().map_err(|_| error),
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

#[cfg(test)]
mod tests {
    use nettoll_core::kernel::Reason;

    use super::*;

    fn found(kind: HookKind, reasons: &[Reason]) -> Found {
        let hooks = TRACEPOINTS.iter().map(|hook| hook.name);
        let missing = hooks.zip(reasons.iter().map(|reason| (*reason, String::new())));
        Found {
            kind,
            missing: missing.collect(),
        }
    }

    #[test]
    fn raw_tracepoints_are_taken_where_the_kernel_refuses_the_others() {
        use Reason::{Differs, Forbidden, LoadRefused, SwitchedOff};
        let kind = |first, second: Result<Found, ProbeError>| {
            choose(first, || second, |it: &Found| it).map(|it| it.kind)
        };
        let btf = |reasons: &[Reason]| Ok(found(HookKind::TpBtf, reasons));
        let raw = |reasons: &[Reason]| Ok(found(HookKind::RawTp, reasons));
        let none = || {
            Err(ProbeError::NoWay(found(
                HookKind::TpBtf,
                &[Forbidden; TRACEPOINTS.len()],
            )))
        };
        for (first, second, wanted) in [
            (btf(&[]), raw(&[]), HookKind::TpBtf),
            (btf(&[LoadRefused]), raw(&[]), HookKind::RawTp),
            (btf(&[LoadRefused]), raw(&[LoadRefused]), HookKind::TpBtf),
            (btf(&[LoadRefused]), none(), HookKind::TpBtf),
            // What the other tier lacks as well.
            (btf(&[Differs, SwitchedOff]), raw(&[]), HookKind::TpBtf),
            (none(), raw(&[Differs]), HookKind::RawTp),
        ] {
            assert_eq!(kind(first, second).unwrap(), wanted);
        }
        let error = kind(none(), Err(ProbeError::NotBuilt)).unwrap_err();
        assert!(matches!(error, ProbeError::NoWay(_)), "{error}");
        assert!(choose(Err(ProbeError::NotBuilt), || btf(&[]), |it| it).is_err());
    }
}

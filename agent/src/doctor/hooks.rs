//! The kernel's points that the probe hangs on, each really tried: a program that does nothing
//! is loaded, attached and removed.

use std::{fs, io};

use nettoll_core::{
    btf::{Argument, BtfError},
    kernel::{HookKind, MEMBERS, Member, Reason, TRACEPOINTS, Tracepoint},
    stage,
};
use serde::Serialize;

use super::bpf::{self, Target};
use crate::probe::{Failure, Found, Probe, ProbeError, Settings, differs, kernel};

/// A kernel error number that user space has no name for: `ENOTSUPP` of `linux/errno.h`.
const ENOTSUPP: i32 = 524;

/// Functions whose entry refines what the tracepoints tell: optional, with the module that may
/// hold them.
const FUNCTIONS: [(&str, &str, &str); 5] = [
    ("vxlan_xmit", "vxlan", "encapsulation begins"),
    ("vxlan_rcv", "vxlan", "decapsulation begins"),
    (
        "udp_tunnel_xmit_skb",
        "udp_tunnel",
        "the outer header is made",
    ),
    ("br_handle_frame", "bridge", "a bridge takes a frame"),
    ("nf_hook_slow", "", "netfilter's chains run"),
];

/// One hook and how the trial went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hook {
    /// The tracepoint or function.
    pub(crate) name: &'static str,
    /// How it is attached.
    pub(crate) kind: HookKind,
    /// Something is not measured without it.
    pub(crate) required: bool,
    /// What passes there.
    pub(crate) purpose: &'static str,
    /// The stages that begin or end there.
    pub(crate) stages: Vec<&'static str>,
    /// A tracepoint's arguments, as this kernel describes them.
    pub(crate) arguments: Option<Vec<String>>,
    /// It works.
    pub(crate) works: bool,
    /// Why or why not.
    pub(crate) reason: Reason,
    /// The same in words.
    pub(crate) detail: String,
    /// What to do, where anything can be done.
    pub(crate) remedy: Option<&'static str>,
}

/// A member of a kernel structure that the probe reads, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// The structure.
    structure: &'static str,
    /// The member.
    member: &'static str,
    /// Bytes from the structure's begin; `None` where the kernel does not tell.
    pub(crate) offset: Option<u32>,
    /// In words.
    pub(crate) detail: String,
}

impl Place {
    /// As in C: `sk_buff.dev`.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.structure, self.member)
    }
}

/// Looks for all members in the kernel's description of itself.
pub(crate) fn members() -> Vec<Place> {
    let kernel = kernel::btf().map_err(|error| error.to_string());
    let place = |member: &Member| {
        let offset = kernel.as_ref().map_err(Clone::clone);
        let offset = offset.and_then(|it| member.offset(it).map_err(|error| error.to_string()));
        Place {
            structure: member.structure,
            member: member.member,
            offset: offset.as_ref().ok().copied(),
            detail: offset.map_or_else(|why| why, |offset| format!("at byte {offset}")),
        }
    };
    MEMBERS.iter().map(place).collect()
}

/// All hooks as they are here, and why there is no probe, where there is none. Those of the probe
/// are tried with its own programs, as far as it can be loaded.
pub(crate) fn found(privileged: bool, settings: &Settings) -> (Vec<Hook>, Option<ProbeError>) {
    let hooks = try_all(privileged);
    match Probe::load(settings) {
        Ok(probe) => (as_loaded(&hooks, probe.found()), None),
        Err(ProbeError::NoWay(found)) if privileged => {
            let hooks = as_loaded(&hooks, &found);
            (hooks, Some(ProbeError::NoWay(found)))
        }
        Err(error) => (hooks, Some(error)),
    }
}

/// The hooks, those of the probe as its programs found them.
pub(crate) fn as_loaded(hooks: &[Hook], found: &Found) -> Vec<Hook> {
    let of_probe = |it: &Hook| {
        let trial = found.missing.get(it.name).cloned().map_or(Ok(()), Err);
        Hook {
            arguments: it.arguments.clone(),
            ..hook(it.name, found.kind, it.purpose, trial)
        }
    };
    let hooks = hooks.iter();
    hooks
        .map(|it| match it.kind {
            HookKind::Fentry => it.clone(),
            HookKind::TpBtf | HookKind::RawTp => of_probe(it),
        })
        .collect()
}

/// Tries all hooks. `privileged`: the process has the capabilities that loading needs.
fn try_all(privileged: bool) -> Vec<Hook> {
    let btf = kernel::btf().map_err(|error| (Reason::NoBtf, error.to_string()));
    let btf = btf.as_ref().map_err(Clone::clone);
    let tracepoints = TRACEPOINTS.map(|tracepoint| {
        let arguments = btf
            .clone()
            .and_then(|btf| tracepoint.check(btf).map_err(differs));
        let trial = btf.clone().and_then(|btf| {
            arguments.clone()?;
            let id = known(btf.tracepoint(tracepoint.name), || {
                (Reason::NotInKernel, no_such("tracepoint"))
            })?;
            attempt(Target::Tracepoint(id), privileged)
        });
        let text = |arguments: Vec<Argument>| arguments.iter().map(Argument::to_string).collect();
        Hook {
            arguments: arguments.ok().map(text),
            ..of_tracepoint(tracepoint, trial)
        }
    });
    let functions = FUNCTIONS.map(|(name, module, purpose)| {
        let trial = btf.clone().and_then(|btf| {
            let id = known(btf.function(name), || missing_function(module))?;
            attempt(Target::Function(id), privileged)
        });
        hook(name, HookKind::Fentry, purpose, trial)
    });
    tracepoints.into_iter().chain(functions).collect()
}

/// All hooks where no probe is wanted, without a trial. `why`: in words.
pub(crate) fn switched_off(why: &str) -> Vec<Hook> {
    let off = || Err((Reason::SwitchedOff, why.to_owned()));
    let tracepoints = TRACEPOINTS.map(|tracepoint| of_tracepoint(tracepoint, off()));
    let functions =
        FUNCTIONS.map(|(name, _, purpose)| hook(name, HookKind::Fentry, purpose, off()));
    tracepoints.into_iter().chain(functions).collect()
}

fn of_tracepoint(tracepoint: Tracepoint, trial: Result<(), Failure>) -> Hook {
    hook(tracepoint.name, HookKind::TpBtf, tracepoint.purpose, trial)
}

fn known(
    id: Result<Option<u32>, BtfError>,
    missing: impl FnOnce() -> Failure,
) -> Result<u32, Failure> {
    match id {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(missing()),
        Err(error) => Err((Reason::NotInKernel, error.to_string())),
    }
}

fn no_such(what: &str) -> String {
    format!("this kernel has no such {what}")
}

fn missing_function(module: &str) -> Failure {
    let loaded =
        !module.is_empty() && fs::exists(format!("/sys/kernel/btf/{module}")).unwrap_or_default();
    if loaded {
        (
            Reason::InModule,
            format!("it is in the module {module}, not in the kernel itself"),
        )
    } else {
        (
            Reason::NotInKernel,
            no_such("function, or it is in a module that is not loaded"),
        )
    }
}

/// Loads, attaches and removes a program.
fn attempt(target: Target, privileged: bool) -> Result<(), Failure> {
    let refused = |reason, error: &io::Error| match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if !privileged => (
            Reason::NoPrivilege,
            "this process may not load eBPF programs".to_owned(),
        ),
        Some(ENOTSUPP) => (reason, "not supported by this kernel (ENOTSUPP)".to_owned()),
        // A kernel that takes no program at functions says the same of those alone.
        Some(libc::EPERM | libc::EACCES) if matches!(target, Target::Tracepoint(_)) => (
            Reason::Forbidden,
            "it is forbidden in spite of the capabilities".to_owned(),
        ),
        Some(libc::EPERM) => (reason, "the kernel refuses it (EPERM)".to_owned()),
        _ => (reason, error.to_string()),
    };
    let program = bpf::load(target).map_err(|error| refused(Reason::LoadRefused, &error))?;
    bpf::attach(&program).map_err(|error| refused(Reason::AttachRefused, &error))?;
    Ok(())
}

fn hook(
    name: &'static str,
    kind: HookKind,
    purpose: &'static str,
    trial: Result<(), Failure>,
) -> Hook {
    let works = trial.is_ok();
    let (reason, detail) = trial
        .err()
        .unwrap_or_else(|| (Reason::Attached, "loaded and attached".to_owned()));
    let remedy = remedy(kind, reason);
    Hook {
        name,
        kind,
        required: kind != HookKind::Fentry,
        purpose,
        stages: stage::at_hook(name),
        arguments: None,
        works,
        reason,
        detail,
        remedy,
    }
}

/// What to do about a hook that does not work.
fn remedy(kind: HookKind, reason: Reason) -> Option<&'static str> {
    match (reason, kind) {
        (Reason::Attached, _) => None,
        (Reason::SwitchedOff, _) => Some("see 'probe' and 'probe_without' in the configuration"),
        (Reason::NoPrivilege, _) => {
            Some("run as root, or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN")
        }
        (Reason::Forbidden, _) => Some("see lockdown, AppArmor, SELinux and seccomp"),
        (Reason::NoBtf, _) => Some("use a kernel with CONFIG_DEBUG_INFO_BTF=y, mount /sys"),
        (_, HookKind::TpBtf | HookKind::RawTp) => {
            Some("use a distribution's kernel, Linux 5.15 or later")
        }
        (_, HookKind::Fentry) => Some("optional: distributions' kernels allow it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_has_an_answer_and_every_failure_a_remedy() {
        let [tried, off] = [try_all(false), switched_off("nobody wants it")];
        assert_eq!(tried.len(), TRACEPOINTS.len() + FUNCTIONS.len());
        assert_eq!(off.len(), tried.len());
        assert!(off.iter().all(|hook| hook.reason == Reason::SwitchedOff));
        for hook in tried.into_iter().chain(off) {
            assert_eq!(hook.works, hook.reason == Reason::Attached, "{hook:?}");
            assert_eq!(hook.works, hook.remedy.is_none(), "{hook:?}");
            assert!(
                !hook.detail.is_empty() && !hook.detail.contains('\n'),
                "{hook:?}"
            );
        }
    }

    #[test]
    fn a_refusal_tells_privilege_from_kernel() {
        let none = attempt(Target::Function(u32::MAX), true).unwrap_err();
        assert_ne!(none.0, Reason::NoPrivilege);
    }

    #[test]
    fn a_function_of_no_module_is_missing() {
        assert_eq!(missing_function("").0, Reason::NotInKernel);
        assert_eq!(missing_function("no-such-module").0, Reason::NotInKernel);
    }
}

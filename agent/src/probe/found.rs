//! What became of the hooks: which are there, and why others are not.

use std::collections::BTreeMap;

use aya::programs::ProgramError;
use nettoll_core::{
    btf::Btf,
    kernel::{HookKind, MEMBERS, Member, Mismatch, Reason, Tracepoint},
};

use super::settings::Settings;

/// The hooks at which a packet is received: one of them must be there, for its way to end.
const RECEIVING: [&str; 3] = ["netif_receive_skb", "netif_rx", "napi_gro_receive_entry"];
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

    /// Whether packets can be received anywhere.
    pub(super) fn receives(&self) -> bool {
        RECEIVING.into_iter().any(|hook| self.have(hook))
    }

    /// Why the hook is missing at which packets are received on all devices.
    pub(super) fn why_nothing_is_received(&self) -> &str {
        let why = self.missing.get(RECEIVING[0]);
        why.map_or("it is there", |(_, why)| why)
    }

    /// Whether the kernel refused a program that it has the hook for.
    pub(super) fn refused(&self) -> bool {
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
    pub(super) fn program(&self, hook: &'static str) -> &'static str {
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

/// Whether the kernel has what a hook's program needs, and the program is wanted.
pub(super) fn usable(hook: Tracepoint, kernel: &Btf, settings: &Settings) -> Result<(), Failure> {
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
    // Last: what a program cannot read, one that takes its role over cannot either.
    match settings.forgo(hook.name) {
        true => Err((Reason::SwitchedOff, FORGONE.to_owned())),
        false => Ok(()),
    }
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
pub(super) fn failure(error: &ProgramError) -> Failure {
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
    fn another_hooks_program_takes_a_role_over() {
        let missing = |hook: &'static str, reason| Found {
            kind: HookKind::TpBtf,
            missing: [(hook, (reason, String::new()))].into(),
        };
        let refused = |hook| missing(hook, Reason::LoadRefused);
        for (without, hook, program) in [
            (
                "net_dev_queue",
                "net_dev_start_xmit",
                "net_dev_start_xmit_begins",
            ),
            (
                "net_dev_start_xmit",
                "net_dev_queue",
                "net_dev_queue_leaves",
            ),
            ("netif_receive_skb", "netif_rx", "netif_rx_ends"),
            ("netif_rx", "netif_receive_skb", "netif_receive_skb"),
        ] {
            assert_eq!(refused(without).program(hook), program, "{without}");
        }
        // Its program would read the same member.
        let nowhere = missing("net_dev_queue", Reason::NoMember);
        assert_eq!(nowhere.program("net_dev_start_xmit"), "net_dev_start_xmit");
    }

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

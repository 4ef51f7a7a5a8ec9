//! The capabilities of this process, and what each is for.

use std::{fs, io};

use serde::Serialize;

/// A capability that the agent can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    name: &'static str,
    /// Its bit, of `linux/capability.h`.
    bit: u8,
    /// The agent does not run without it.
    required: bool,
    purpose: &'static str,
}

/// `CAP_SYS_ADMIN`'s bit.
const SYS_ADMIN: u8 = 21;
/// `CAP_PERFMON`'s and `CAP_BPF`'s: the kernel takes `CAP_SYS_ADMIN` for either.
const PERFMON: u8 = 38;
const BPF: u8 = 39;

/// What only the probe needs.
const OF_PROBE: [&str; 3] = ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"];

const KNOWN: [Known; 7] = [
    Known {
        name: "CAP_BPF",
        bit: BPF,
        required: true,
        purpose: "load eBPF programs and maps",
    },
    Known {
        name: "CAP_PERFMON",
        bit: PERFMON,
        required: true,
        purpose: "attach to tracepoints, sample the CPUs",
    },
    Known {
        name: "CAP_NET_ADMIN",
        bit: 12,
        required: true,
        purpose: "network programs, large socket buffers, translated flows",
    },
    Known {
        name: "CAP_SYS_ADMIN",
        bit: SYS_ADMIN,
        required: true,
        purpose: "enter the pods' network namespaces",
    },
    Known {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        required: false,
        purpose: "find a pod's namespace by its processes",
    },
    Known {
        name: "CAP_SYSLOG",
        bit: 34,
        required: false,
        purpose: "kernel addresses, for the names in stacks",
    },
    Known {
        name: "CAP_SYS_RESOURCE",
        bit: 24,
        required: false,
        purpose: "locked memory for maps before Linux 5.11",
    },
];

/// A capability and whether it is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Capability {
    /// `CAP_…`.
    pub(crate) name: &'static str,
    /// It is effective in this process, itself or by `CAP_SYS_ADMIN` where the kernel takes
    /// that for it.
    pub(crate) held: bool,
    /// The agent does not run without it.
    pub(crate) required: bool,
    /// What it is for.
    pub(crate) purpose: &'static str,
}

/// All that the agent can use, in a fixed order.
pub(crate) fn all() -> io::Result<Vec<Capability>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let effective = effective(&status).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "/proc/self/status has no line CapEff",
        )
    })?;
    Ok(KNOWN
        .map(
            |Known {
                 name,
                 bit,
                 required,
                 purpose,
             }| Capability {
                name,
                held: holds(effective, bit),
                required,
                purpose,
            },
        )
        .to_vec())
}

/// The names of those without which the agent does not run, with the probe or without, and which
/// are not held.
pub(crate) fn missing(probe: bool) -> io::Result<Vec<&'static str>> {
    let needed = |name: &str| probe || !OF_PROBE.contains(&name);
    Ok(all()?
        .into_iter()
        .filter(|capability| capability.required && !capability.held && needed(capability.name))
        .map(|capability| capability.name)
        .collect())
}

/// The set of effective capabilities, a bit each.
fn effective(status: &str) -> Option<u64> {
    let hex = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

fn holds(effective: u64, bit: u8) -> bool {
    let has = |bit: u8| effective >> bit & 1 == 1;
    has(bit) || ([BPF, PERFMON].contains(&bit) && has(SYS_ADMIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_is_read() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t000000c000001000\nCapBnd:\t0\n";
        let set = effective(status).unwrap();
        assert!(holds(set, BPF) && holds(set, PERFMON) && holds(set, 12));
        assert!(!holds(set, SYS_ADMIN) && !holds(set, 34));
        assert_eq!(effective("Name:\tx\n"), None);
    }

    #[test]
    fn sys_admin_stands_for_bpf_and_perfmon_but_not_for_net_admin() {
        let set = 1 << SYS_ADMIN;
        assert!(holds(set, BPF) && holds(set, PERFMON) && !holds(set, 12));
    }

    #[test]
    fn this_process_has_a_set() {
        assert!(
            OF_PROBE
                .iter()
                .all(|name| KNOWN.iter().any(|known| known.name == *name))
        );
        assert_eq!(all().unwrap().len(), KNOWN.len());
    }
}

//! What this process may do.

use std::fs;

use anyhow::{Context as _, Result};

use crate::stop::Stop;

/// What the lab and its agents need, by number (`linux/capability.h`).
const NEEDED: [(&str, u32); 4] = [
    ("CAP_NET_ADMIN", 12),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_PERFMON", 38),
    ("CAP_BPF", 39),
];

/// This process's privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Privilege {
    /// The effective user is root.
    pub(crate) root: bool,
    effective: u64,
}

impl Privilege {
    /// Reads them from the kernel.
    pub(crate) fn read() -> Result<Self> {
        let status =
            fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
        Self::parse(&status).context("/proc/self/status does not tell user and capabilities")
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let user = field("Uid:")?.split_whitespace().nth(1)?;
        let effective = u64::from_str_radix(field("CapEff:")?.trim(), 16).ok()?;
        Some(Self {
            root: user == "0",
            effective,
        })
    }

    /// The capabilities of the lab that are missing.
    fn missing(self) -> Vec<&'static str> {
        NEEDED
            .iter()
            .filter(|(_, number)| self.effective & (1 << number) == 0)
            .map(|(name, _)| *name)
            .collect()
    }

    /// Asks for all that the lab needs; `command` is what the user typed, in the hint.
    ///
    /// # Errors
    /// [`Stop::Prerequisite`] that names what is missing.
    pub(crate) fn for_lab(self, command: &str) -> Result<()> {
        let missing = self.missing();
        if missing.is_empty() && self.root {
            return Ok(());
        }
        let text = if self.root {
            format!(
                "'{command}' needs the capabilities {}, which this root does not have; run it \
                 on the host or in a privileged container",
                missing.join(", ")
            )
        } else {
            format!(
                "'{command}' needs root, for network namespaces and eBPF; try: \
                 sudo env \"PATH=$PATH\" {command}"
            )
        };
        Err(Stop::Prerequisite(text).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: &str = "Name:\tsh\nUid:\t65534\t65534\t65534\t65534\nCapEff:\t0000000000000000\n";
    const ROOT: &str = "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n";
    const CONTAINER: &str = "Uid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\n";

    #[test]
    fn tells_who_may_run_the_lab() {
        let may = |status| Privilege::parse(status).unwrap().for_lab("cargo xtask lab");
        assert!(may(ROOT).is_ok());
        assert!(may(NOBODY).unwrap_err().to_string().contains("needs root"));
        let container = may(CONTAINER).unwrap_err().to_string();
        assert!(container.contains("CAP_BPF"), "{container}");
    }
}

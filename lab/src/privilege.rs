//! May this process build labs?

use std::fs;

/// Capability numbers of linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;

/// It may not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Some capability is missing.
    #[error("nettoll lab needs root (CAP_NET_ADMIN, CAP_SYS_ADMIN): run it with sudo")]
    NotRoot,
}

/// Checks the effective capabilities: devices need one, namespaces the other.
pub(crate) fn check() -> Result<(), Error> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if allows(&status) {
        Ok(())
    } else {
        Err(Error::NotRoot)
    }
}

fn allows(status: &str) -> bool {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    [CAP_NET_ADMIN, CAP_SYS_ADMIN]
        .iter()
        .all(|bit| effective & (1 << bit) != 0)
}

#[cfg(test)]
mod tests {
    use super::allows;

    #[test]
    fn both_capabilities_are_needed() {
        assert!(allows("Name:\tx\nCapEff:\t0000000000201000\n"));
        assert!(!allows("CapEff:\t0000000000001000\n"));
        assert!(!allows("CapEff:\t0000000000200000\n"));
        assert!(!allows(""));
    }
}

//! The node as it is now: what a result depends on besides the path.

mod cni;

use std::{fs, io};

use nettoll_core::report::NodeContext;

use crate::path::{Node, PathError};

/// Where /proc and /sys say what.
const KERNEL: &str = "/proc/sys/kernel/osrelease";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const CPU_INFO: &str = "/proc/cpuinfo";
const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// Why a node cannot be described.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    /// Something that each kernel has is not readable.
    #[error("cannot read {path}: {error}; is it hidden from the agent's container?")]
    Read {
        /// Which file.
        path: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// The devices cannot be listed.
    #[error(transparent)]
    Devices(#[from] PathError),
}

/// Describes the node.
pub(crate) fn node(node: &Node) -> Result<NodeContext, ContextError> {
    let devices = node.device_contexts()?;
    let cpu_info = read(CPU_INFO)?;
    Ok(NodeContext {
        node: node.name().to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: read(KERNEL)?,
        boot_id: read(BOOT_ID)?,
        cpu_model: cpu_model(&cpu_info),
        cpus: cpus(&cpu_info),
        clock_source: read(CLOCK_SOURCE)?,
        cni: cni::like(&devices).map(str::to_owned),
        devices,
    })
}

/// `uname -r`.
pub(crate) fn kernel() -> Option<String> {
    read(KERNEL).ok()
}

/// The kernel's clock source.
pub(crate) fn clock_source() -> Option<String> {
    read(CLOCK_SOURCE).ok()
}

fn read(path: &'static str) -> Result<String, ContextError> {
    let text = fs::read_to_string(path).map_err(|error| ContextError::Read { path, error })?;
    Ok(text.trim().to_owned())
}

/// The values of one key of /proc/cpuinfo, of one CPU after the other.
fn values<'a>(cpu_info: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    cpu_info
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(move |(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

/// The CPU's name; on arm64 the kernel knows only numbers.
fn cpu_model(cpu_info: &str) -> String {
    let first = |key| values(cpu_info, key).next();
    match (
        first("model name"),
        first("CPU implementer"),
        first("CPU part"),
    ) {
        (Some(name), _, _) => name.to_owned(),
        (None, Some(implementer), Some(part)) => format!("implementer {implementer} part {part}"),
        _ => "unknown".to_owned(),
    }
}

/// CPUs online: /proc/cpuinfo lists no others.
fn cpus(cpu_info: &str) -> u32 {
    let count = values(cpu_info, "processor")
        .filter(|number| number.parse::<u32>().is_ok())
        .count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn cpus_are_named_and_counted() {
        let x86 = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\n\nprocessor\t: 1\nmodel name\t: Some CPU @ 2.00GHz\n";
        assert_eq!(
            (cpu_model(x86).as_str(), cpus(x86)),
            ("Some CPU @ 2.00GHz", 2)
        );
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
        assert_eq!(
            (cpu_model(arm).as_str(), cpus(arm)),
            ("implementer 0x41 part 0xd0c", 1)
        );
        assert_eq!(cpu_model(""), "unknown");
    }

    #[test]
    fn this_machine_is_described() {
        let context = node(&Node::new("n1".to_owned(), BTreeMap::new())).unwrap();
        assert!(context.cpus > 0);
        assert_eq!(context.boot_id.len(), 36);
        assert!(context.devices.iter().any(|device| device.name == "lo"));
    }
}

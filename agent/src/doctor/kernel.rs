//! The kernel: how it was built, and how it is set.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
};

use flate2::read::GzDecoder;
use serde::Serialize;

use crate::context;

/// The most that is read of a kernel's configuration: real ones have some 300 kB.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// An address that is 0, or hidden.
const HIDDEN: &str = "0000000000000000";

/// An option with which a kernel is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct KernelOption {
    /// `CONFIG_…`.
    pub(crate) name: &'static str,
    /// `y`, `m`, `n`, `unknown` or another value.
    pub(crate) value: String,
    /// The agent's probe does not work without it.
    pub(crate) required: bool,
    /// What it is for.
    pub(crate) purpose: &'static str,
}

/// Name, whether required, and purpose.
const OPTIONS: [(&str, bool, &str); 16] = [
    ("CONFIG_BPF", true, "eBPF"),
    ("CONFIG_BPF_SYSCALL", true, "loading eBPF programs"),
    ("CONFIG_BPF_JIT", true, "attaching to tracepoints by BTF"),
    ("CONFIG_BPF_EVENTS", true, "eBPF programs on tracepoints"),
    (
        "CONFIG_DEBUG_INFO_BTF",
        true,
        "the kernel's description of itself",
    ),
    ("CONFIG_PERF_EVENTS", true, "sampling the CPUs"),
    ("CONFIG_KALLSYMS", true, "names in stacks"),
    ("CONFIG_NET_NS", true, "network namespaces"),
    ("CONFIG_NET_CLS_ACT", false, "programs at tc's hooks"),
    ("CONFIG_VETH", false, "pods; the lab"),
    ("CONFIG_BRIDGE", false, "bridged pod networks; the lab"),
    ("CONFIG_VXLAN", false, "overlays; the lab"),
    ("CONFIG_TUN", false, "the lab's tests"),
    ("CONFIG_FUNCTION_TRACER", false, "finer hooks (fentry)"),
    ("CONFIG_KPROBES", false, "nothing yet"),
    (
        "CONFIG_IRQ_TIME_ACCOUNTING",
        false,
        "exact CPU time of interrupts in /proc/stat",
    ),
];

/// A setting of the running kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its value, `unknown` where it cannot be read.
    pub(crate) value: String,
    /// It is as the agent needs it.
    pub(crate) good: bool,
    /// The agent's probe does not work otherwise.
    pub(crate) required: bool,
    /// What it means for the agent.
    pub(crate) meaning: &'static str,
}

/// The options of the running kernel, and where they were read.
pub(crate) fn options(release: &str) -> (Option<String>, Vec<KernelOption>) {
    let built = format!("/boot/config-{release}");
    let readable = [
        ("/proc/config.gz", read_compressed("/proc/config.gz")),
        (built.as_str(), fs::read_to_string(&built)),
    ]
    .into_iter()
    .find_map(|(path, text)| Some((path.to_owned(), text.ok()?)));
    let (source, text) = readable.unzip();
    let options = OPTIONS
        .map(|(name, required, purpose)| KernelOption {
            name,
            value: text
                .as_deref()
                .map_or("unknown", |text| value(text, name))
                .to_owned(),
            required,
            purpose,
        })
        .to_vec();
    (source, options)
}

fn read_compressed(path: &str) -> io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(File::open(path)?)
        .take(MAX_CONFIG_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// An option's value; what a configuration does not name is off.
fn value<'a>(config: &'a str, name: &str) -> &'a str {
    config
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or("n")
}

/// The settings that matter.
pub(crate) fn settings() -> Vec<Setting> {
    let sysctl = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        text.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
    };
    let btf = fs::metadata("/sys/kernel/btf/vmlinux");
    let kallsyms = kallsyms();
    let source = sampling();
    let stats = sysctl("bpf_stats_enabled");
    vec![
        Setting {
            name: "BTF",
            value: btf
                .as_ref()
                .map_or("none".to_owned(), |file| format!("{} bytes", file.len())),
            good: btf.is_ok(),
            required: true,
            meaning: "/sys/kernel/btf/vmlinux: where the kernel keeps what",
        },
        Setting {
            name: "kallsyms",
            value: kallsyms.to_owned(),
            good: kallsyms == "readable",
            required: false,
            meaning: "names in stacks; needs CAP_SYSLOG and kptr_restrict below 2",
        },
        Setting {
            name: "kptr_restrict",
            value: sysctl("kptr_restrict"),
            good: true,
            required: false,
            meaning: "who sees the kernel's addresses",
        },
        Setting {
            name: "perf_event_paranoid",
            value: sysctl("perf_event_paranoid"),
            good: true,
            required: false,
            meaning: "who may sample; CAP_PERFMON may at any value",
        },
        Setting {
            name: "bpf_stats_enabled",
            good: stats != "1",
            value: stats,
            required: false,
            meaning: "1 slows every eBPF program: 'sysctl kernel.bpf_stats_enabled=0'",
        },
        Setting {
            name: "samples",
            value: source.to_owned(),
            good: true,
            required: false,
            meaning: "cycles where the CPU counts them, else the kernel's timer",
        },
        Setting {
            name: "clock source",
            value: context::clock_source().unwrap_or_else(|| "unknown".to_owned()),
            good: true,
            required: false,
            meaning: "what a time stamp costs",
        },
    ]
}

/// Whether this process sees the kernel's symbols with their addresses.
fn kallsyms() -> &'static str {
    File::open("/proc/kallsyms").map_or("not readable", |file| addresses(BufReader::new(file)))
}

/// Hidden addresses are all 0. Some kernels' first symbols are at 0 by themselves: those that each
/// CPU has its own of.
fn addresses(symbols: impl BufRead) -> &'static str {
    for line in symbols.lines() {
        match line {
            Ok(line) if line.starts_with(HIDDEN) => {}
            Ok(_) => return "readable",
            Err(_) => return "not readable",
        }
    }
    "addresses hidden"
}

/// Where samples come from.
fn sampling() -> &'static str {
    let devices = fs::read_dir("/sys/bus/event_source/devices")
        .into_iter()
        .flatten()
        .flatten();
    let counts_cycles = devices.map(|device| device.file_name()).any(|name| {
        let name = name.to_string_lossy();
        // x86, hybrid x86, arm64.
        name == "cpu" || name.starts_with("cpu_") || name.starts_with("armv")
    });
    if counts_cycles { "cycles" } else { "cpu-clock" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_each_cpu_do_not_hide_the_others() {
        let symbols = |text: &str| addresses(text.as_bytes());
        let hidden = "0000000000000000 A fixed_percpu_data\n0000000000000000 T _stext\n";
        assert_eq!(symbols(hidden), "addresses hidden");
        let shown = "0000000000000000 A fixed_percpu_data\nffffffff81000000 T _stext\n";
        assert_eq!(symbols(shown), "readable");
    }

    #[test]
    fn values_are_of_the_whole_name() {
        let config = "CONFIG_BPF_SYSCALL=y\n# CONFIG_BPF_JIT is not set\nCONFIG_VXLAN=m\n";
        assert_eq!(value(config, "CONFIG_BPF_SYSCALL"), "y");
        assert_eq!(value(config, "CONFIG_VXLAN"), "m");
        assert_eq!(value(config, "CONFIG_BPF"), "n");
        assert_eq!(value(config, "CONFIG_BPF_JIT"), "n");
    }

    #[test]
    fn an_unknown_kernel_has_unknown_options() {
        let (source, options) = options("no-such-release");
        assert_eq!(options.len(), OPTIONS.len());
        assert_eq!(
            source.is_none(),
            options.iter().all(|option| option.value == "unknown")
        );
    }

    #[test]
    fn settings_are_read_without_privilege() {
        assert!(settings().iter().all(|setting| !setting.value.is_empty()));
    }
}

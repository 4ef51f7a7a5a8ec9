//! The programs that build, lab and tests call, and where they come from.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Folders that an ordinary user's `PATH` may lack, but where network tools live.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// What a program is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// `cargo xtask build`.
    Build,
    /// `cargo xtask lab`.
    Lab,
    /// `cargo xtask vm`.
    Vm,
    /// `cargo xtask test`, and the programs that benches compare with.
    Test,
}

impl Purpose {
    /// As it is called in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Build => "the build",
            Self::Lab => "the lab",
            Self::Vm => "booting other kernels",
            Self::Test => "the test suite",
        }
    }

    /// Whether the programs of another purpose are needed too.
    fn includes(self, other: Self) -> bool {
        match self {
            Self::Build => other == Self::Build,
            Self::Lab => matches!(other, Self::Build | Self::Lab),
            Self::Vm | Self::Test => self == other || Self::Lab.includes(other),
        }
    }
}

/// A program that is called by name.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Its name on `PATH`.
    pub(crate) command: &'static str,
    /// Debian's package that has it.
    pub(crate) package: &'static str,
    /// Who calls it.
    pub(crate) purpose: Purpose,
    /// What for.
    pub(crate) what_for: &'static str,
}

/// All of them. `cargo`, a C compiler and a linker are not listed: without them this program
/// would not exist.
pub(crate) const TOOLS: &[Tool] = &[
    Tool {
        command: "ip",
        package: "iproute2",
        purpose: Purpose::Lab,
        what_for: "network namespaces, devices and routes of the lab",
    },
    Tool {
        command: "bridge",
        package: "iproute2",
        purpose: Purpose::Lab,
        what_for: "forwarding entries of the lab's vxlan devices",
    },
    Tool {
        command: "nft",
        package: "nftables",
        purpose: Purpose::Lab,
        what_for: "rules of the lab's services",
    },
    Tool {
        command: "xz",
        package: "xz-utils",
        purpose: Purpose::Vm,
        what_for: "the modules of other kernels, which are compressed",
    },
    Tool {
        command: "wg",
        package: "wireguard-tools",
        purpose: Purpose::Vm,
        what_for: "the keys of a tunnel in other kernels",
    },
    Tool {
        command: "iperf3",
        package: "iperf3",
        purpose: Purpose::Test,
        what_for: "what streams are compared with",
    },
    Tool {
        command: "perf",
        package: "linux-perf",
        purpose: Purpose::Test,
        what_for: "what the sampler is compared with",
    },
    Tool {
        command: "sockperf",
        package: "sockperf",
        purpose: Purpose::Test,
        what_for: "what round trips are compared with",
    },
    Tool {
        command: "qperf",
        package: "qperf",
        purpose: Purpose::Test,
        what_for: "what round trips are compared with",
    },
    Tool {
        command: "bpftrace",
        package: "bpftrace",
        purpose: Purpose::Test,
        what_for: "what hops are compared with",
    },
    Tool {
        command: "ethtool",
        package: "ethtool",
        purpose: Purpose::Test,
        what_for: "who switches offloads off, which findings must tell",
    },
    Tool {
        command: "promtool",
        package: "prometheus",
        purpose: Purpose::Test,
        what_for: "who checks the alert rules, and with prometheus reads the metrics of a cluster",
    },
];

/// The programs of a purpose that this machine lacks.
pub(crate) fn missing(purpose: Purpose) -> Vec<&'static Tool> {
    TOOLS
        .iter()
        .filter(|tool| purpose.includes(tool.purpose) && find_program(tool.command).is_none())
        .collect()
}

/// Where a program is, by `PATH` and the system's folders.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

/// Whether this can be started: a file, or a name that [`find_program`] finds.
pub(crate) fn can_start(program: &Path) -> bool {
    is_program(program) || find_program(&program.to_string_lossy()).is_some()
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

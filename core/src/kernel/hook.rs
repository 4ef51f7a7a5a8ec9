//! How a hook of the kernel is attached to, and why it is not.

use serde::{Deserialize, Serialize};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// To a tracepoint, with the types that the kernel's BTF gives its arguments.
    TpBtf,
    /// To a tracepoint, with arguments without types.
    RawTp,
    /// To a function's entry.
    Fentry,
}

impl HookKind {
    /// The word used in results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::RawTp => "raw_tp",
            Self::Fentry => "fentry",
        }
    }
}

/// Why a hook works or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was loaded and attached.
    Attached,
    /// The kernel does not describe itself.
    NoBtf,
    /// The kernel has no such point.
    NotInKernel,
    /// The kernel's tracepoint has other arguments than the program reads.
    Differs,
    /// The kernel does not tell where a member is that the program reads.
    NoMember,
    /// It is in a module, whose points are not tried.
    InModule,
    /// The process may not load programs.
    NoPrivilege,
    /// It has the privilege, and is refused all the same.
    Forbidden,
    /// The kernel refused the program.
    LoadRefused,
    /// The kernel took the program and refused to attach it.
    AttachRefused,
    /// The configuration does not want it: it was not tried.
    SwitchedOff,
}

impl Reason {
    /// The word used in labels and results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::NoBtf => "no_btf",
            Self::NotInKernel => "not_in_kernel",
            Self::Differs => "differs",
            Self::NoMember => "no_member",
            Self::InModule => "in_module",
            Self::NoPrivilege => "no_privilege",
            Self::Forbidden => "forbidden",
            Self::LoadRefused => "load_refused",
            Self::AttachRefused => "attach_refused",
            Self::SwitchedOff => "switched_off",
        }
    }
}

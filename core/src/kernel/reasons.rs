//! Why a kernel drops a packet, in its own words: the numbers differ between kernels.

use std::collections::BTreeMap;

use crate::btf::{Btf, BtfError};

/// The kernel's enumerations of reasons, and of the subsystems that have reasons of their own.
pub const ENUMERATIONS: [&str; 2] = ["skb_drop_reason", "skb_drop_reason_subsys"];
const TRACEPOINT: &str = "kfree_skb";
/// Which argument of the tracepoint the reason is, on all kernels that have one.
const ARGUMENT: usize = 2;
/// Of a reason, the number of its subsystem is in the upper half (`SKB_DROP_REASON_SUBSYS_SHIFT`).
const SUBSYSTEM_SHIFT: u32 = 16;

/// The names of a kernel's drop reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropReasons {
    /// Of the reasons, and of the subsystems, without what they all begin with.
    names: [BTreeMap<u32, String>; 2],
}

impl DropReasons {
    /// Those of a kernel; `None` where it tells no reason (before Linux 5.17).
    ///
    /// # Errors
    /// [`BtfError::Damaged`].
    pub fn of(kernel: &Btf) -> Result<Option<Self>, BtfError> {
        let [reasons, subsystems] = ENUMERATIONS;
        let arguments = kernel.prototype(TRACEPOINT)?.unwrap_or_default();
        let told = arguments.get(ARGUMENT).map(|argument| argument.ty.as_str());
        if told != Some(&format!("enum {reasons}")) {
            return Ok(None);
        }
        let names = |enumeration, prefix| -> Result<BTreeMap<_, _>, BtfError> {
            let names = kernel.enumerators(enumeration)?.unwrap_or_default();
            let short = |(name, number): (String, u32)| {
                let short = name.strip_prefix(prefix).map(str::to_owned);
                (number, short.unwrap_or(name))
            };
            Ok(names.into_iter().map(short).collect())
        };
        Ok(Some(Self {
            names: [
                names(reasons, "SKB_DROP_REASON_")?,
                names(subsystems, "SKB_DROP_REASON_SUBSYS_")?,
            ],
        }))
    }

    /// The kernel's name for a reason, without `SKB_DROP_REASON_`. A subsystem in a module names its
    /// reasons itself: `OPENVSWITCH_3` is its third.
    #[must_use]
    pub fn name(&self, reason: u32) -> String {
        let [reasons, subsystems] = &self.names;
        if let Some(name) = reasons.get(&reason) {
            return name.clone();
        }
        let (subsystem, number) = (reason >> SUBSYSTEM_SHIFT, reason & 0xFFFF);
        match subsystems.get(&subsystem) {
            Some(name) => format!("{name}_{number}"),
            None => format!("SUBSYSTEM_{subsystem}_{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::kernel, *};

    #[test]
    fn a_reason_has_the_name_that_its_kernel_gives_it() {
        let reasons = ["6.1", "6.12", "7.2"].map(kernel);
        let reasons = reasons.map(|kernel| DropReasons::of(&kernel).unwrap().unwrap());
        let number = |of: &DropReasons, name: &str| {
            let found = of.names[0].iter().find(|(_, known)| *known == name);
            *found.unwrap().0
        };
        for name in ["NETFILTER_DROP", "SOCKET_RCVBUFF", "QDISC_DROP"] {
            for of in &reasons {
                assert_eq!(of.name(number(of, name)), name);
            }
        }
        let qdisc = reasons.each_ref().map(|of| number(of, "QDISC_DROP"));
        assert_ne!(qdisc[0], qdisc[2], "numbers are of one kernel: {qdisc:?}");
        let [old, _, new] = &reasons;
        assert_eq!(new.name(2 << 16 | 3), "OPENVSWITCH_3");
        assert_eq!(old.name(2 << 16 | 3), "SUBSYSTEM_2_3", "it has none");
    }

    #[test]
    fn a_kernel_without_reasons_has_none() {
        let whole = Btf::parse(crate::btf::tests::blob()).unwrap();
        assert_eq!(DropReasons::of(&whole).unwrap(), None);
    }
}

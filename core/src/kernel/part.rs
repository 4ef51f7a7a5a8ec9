//! Parts of the kernel that the probe can be told to do without.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{MEMBERS, TRACEPOINTS};

/// A hook or a member that the probe knows, by its name: `netif_rx`, `sk_buff.len`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Part(String);

impl Part {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let hooks = TRACEPOINTS.iter().map(|hook| hook.name.to_owned());
        let names: Vec<String> = hooks
            .chain(MEMBERS.iter().map(super::Member::name))
            .collect();
        if names.iter().any(|known| known == name) {
            return Ok(Self(name.to_owned()));
        }
        Err(format!(
            "the probe has no hook and no member '{name}'; it has {}",
            names.join(", ")
        ))
    }
}

impl TryFrom<String> for Part {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Part> for String {
    fn from(part: Part) -> Self {
        part.0
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_and_members_are_parts_and_nothing_else_is() {
        for name in [
            "netif_rx",
            "kfree_skb",
            "sk_buff.len",
            "net_device.nd_net.net",
        ] {
            assert_eq!(name.parse::<Part>().unwrap().to_string(), name);
        }
        for name in ["", "netif_rx ", "sk_buff", "vxlan_xmit"] {
            let error = name.parse::<Part>().unwrap_err();
            assert!(
                error.contains("netif_rx, napi_gro_receive_entry"),
                "{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
    }
}

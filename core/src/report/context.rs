//! The contexts of several jobs as one.

use super::{Context, NodeContext};

/// A node is not what it was, so that what is measured on it now does not belong with what was
/// measured before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} has changed since the first result ({what}): begin anew")]
pub struct Changed {
    /// The node.
    pub node: String,
    /// What is other than it was.
    pub what: String,
}

impl Context {
    /// Takes in the nodes and devices of another job of the same command.
    ///
    /// # Errors
    /// A node or a device that both know is not the same in both.
    pub fn add(&mut self, other: &Self) -> Result<(), Changed> {
        // First all is looked at: a context is not to be half of each.
        for node in &other.nodes {
            if let Some(known) = self.nodes.iter().find(|known| known.node == node.node)
                && let Some(what) = known.differs(node)
            {
                let node = node.node.clone();
                return Err(Changed { node, what });
            }
        }
        for node in &other.nodes {
            match self.nodes.iter_mut().find(|known| known.node == node.node) {
                Some(known) => known.add_devices(node),
                None => self.nodes.push(node.clone()),
            }
        }
        Ok(())
    }
}

impl NodeContext {
    /// What is other in the other context of this node; devices that only one of them has are none
    /// of it.
    fn differs(&self, other: &Self) -> Option<String> {
        let facts = |node: &Self| {
            [
                ("agent", node.agent_version.clone()),
                ("kernel", node.kernel.clone()),
                ("boot", node.boot_id.clone()),
                ("CPU", node.cpu_model.clone()),
                ("CPUs", node.cpus.to_string()),
                ("clock source", node.clock_source.clone()),
                ("CNI", node.cni.clone().unwrap_or_default()),
            ]
        };
        let mut both = facts(self).into_iter().zip(facts(other));
        let fact = both.find(|(was, is)| was != is);
        if let Some(((name, was), (_, is))) = fact {
            return Some(format!("{name}: was '{was}', is '{is}'"));
        }
        let changed = self.devices.iter().find(|was| {
            let mut devices = other.devices.iter();
            devices.any(|is| (&is.place, &is.name) == (&was.place, &was.name) && is != *was)
        })?;
        Some(format!(
            "settings of the device {} of {}",
            changed.name, changed.place
        ))
    }

    fn add_devices(&mut self, other: &Self) {
        for device in &other.devices {
            let same = |known: &super::DeviceContext| {
                (&known.place, &known.name) == (&device.place, &device.name)
            };
            if !self.devices.iter().any(same) {
                self.devices.push(device.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{device::DeviceKind, report::DeviceContext};

    fn context(devices: &[(&str, u32)]) -> Context {
        let device = |&(name, mtu): &(&str, u32)| DeviceContext {
            place: "node/n1".to_owned(),
            name: name.to_owned(),
            kind: DeviceKind::Other,
            mtu,
            qdisc: None,
            driver: None,
            offloads: None,
        };
        Context {
            nettoll_version: "0".to_owned(),
            started: String::new(),
            command: Vec::new(),
            nodes: vec![NodeContext {
                node: "n1".to_owned(),
                agent_version: "0".to_owned(),
                kernel: "6.18".to_owned(),
                boot_id: "a".to_owned(),
                cpu_model: "x".to_owned(),
                cpus: 2,
                clock_source: "tsc".to_owned(),
                cni: None,
                devices: devices.iter().map(device).collect(),
            }],
        }
    }

    #[test]
    fn devices_add_up() {
        let mut all = context(&[("eth0", 1500)]);
        all.add(&context(&[("eth0", 1500), ("cni0", 1450)]))
            .unwrap();
        assert_eq!(all, context(&[("eth0", 1500), ("cni0", 1450)]));
        let mut second = context(&[]);
        second.nodes[0].node = "n2".to_owned();
        all.add(&second).unwrap();
        assert_eq!(all.nodes.len(), 2);
    }

    #[test]
    fn what_has_changed_is_told_and_nothing_taken_in() {
        let mut all = context(&[("eth0", 1500)]);
        let mut other = context(&[("cni0", 1450)]);
        other.nodes[0].kernel = "6.19".to_owned();
        let told = all.add(&other).unwrap_err().to_string();
        assert!(told.contains("kernel: was '6.18', is '6.19'"), "{told}");
        let told = all.add(&context(&[("cni0", 1450), ("eth0", 9000)]));
        let told = told.unwrap_err().to_string();
        assert!(told.contains("the device eth0 of node/n1"), "{told}");
        assert_eq!(all, context(&[("eth0", 1500)]));
    }
}

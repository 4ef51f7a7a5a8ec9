//! Which CNI a node's devices look like.
//!
//! Its pods are not asked, nor its configuration: only what carries packets counts, and devices
//! of that kind and name may be somebody else's. So the answer is `…-like`.

use nettoll_core::{
    device::DeviceKind::{self, Bridge, Other, Tunnel, Veth, Vxlan},
    report::DeviceContext,
};

use self::Name::{Begins, Is};

/// How a device's name must read.
#[derive(Clone, Copy, Debug)]
enum Name {
    Is(&'static str),
    Begins(&'static str),
}

/// The CNIs by what they name their devices, the more telling first: several use a bridge named
/// `cni0` besides, by the common plugin.
const TABLE: &[(&str, DeviceKind, Name)] = &[
    ("cilium-like", Veth, Begins("cilium_")),
    ("cilium-like", Vxlan, Begins("cilium_")),
    ("cilium-like", Tunnel, Begins("cilium_")),
    ("calico-like", Veth, Begins("cali")),
    ("calico-like", Vxlan, Is("vxlan.calico")),
    ("calico-like", Tunnel, Is("wireguard.cali")),
    ("antrea-like", Other, Is("antrea-gw0")),
    ("ovn-kubernetes-like", Other, Is("ovn-k8s-mp0")),
    ("kube-ovn-like", Other, Is("ovn0")),
    ("weave-like", Bridge, Is("weave")),
    ("weave-like", Vxlan, Is("vxlan-6784")),
    ("kube-router-like", Bridge, Is("kube-bridge")),
    ("flannel-like", Vxlan, Begins("flannel.")),
    ("flannel-like", Tunnel, Begins("flannel-wg")),
    ("flannel-like", Bridge, Is("cni0")),
    ("aws-vpc-like", Veth, Begins("eni")),
    ("azure-like", Veth, Begins("azv")),
    ("gke-like", Veth, Begins("gke")),
];

/// The CNI whose devices these look like; `None` for devices that any could have, such as
/// kindnet's.
pub(super) fn like(devices: &[DeviceContext]) -> Option<&'static str> {
    let of_node = |device: &&DeviceContext| device.place.starts_with("node/");
    let is_there = |(_, kind, name): &&(&str, DeviceKind, Name)| {
        devices.iter().filter(of_node).any(|device| {
            device.kind == *kind
                && match name {
                    Is(name) => device.name == *name,
                    Begins(prefix) => device.name.starts_with(prefix),
                }
        })
    };
    TABLE.iter().find(is_there).map(|(cni, ..)| *cni)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(place: &str, name: &str, kind: DeviceKind) -> DeviceContext {
        DeviceContext {
            place: place.to_owned(),
            name: name.to_owned(),
            kind,
            mtu: 1500,
            qdisc: None,
            driver: None,
            offloads: None,
        }
    }

    fn of(devices: &[(&str, DeviceKind)]) -> Option<&'static str> {
        let device = |&(name, kind): &(&str, DeviceKind)| device("node/n1", name, kind);
        like(&devices.iter().map(device).collect::<Vec<_>>())
    }

    #[test]
    fn a_cni_is_recognised_by_its_devices_only() {
        assert_eq!(of(&[("flannel.1", Vxlan)]), Some("flannel-like"));
        assert_eq!(of(&[("cni0", Bridge)]), Some("flannel-like"));
        assert_eq!(of(&[("cali12ab", Veth)]), Some("calico-like"));
        assert_eq!(of(&[("ovn-k8s-mp0", Other)]), Some("ovn-kubernetes-like"));
        // A name alone is none, nor a pod's device.
        assert_eq!(of(&[("flannel.1", Veth)]), None);
        assert_eq!(like(&[device("pod/a/b", "cni0", Bridge)]), None);
        let any = [("veth12ab", Veth), ("eth0", DeviceKind::Physical)];
        assert_eq!(of(&any), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_more_telling_device_counts() {
        let both = [("cni0", Bridge), ("cilium_host", Veth)];
        assert_eq!(of(&both), Some("cilium-like"));
    }
}

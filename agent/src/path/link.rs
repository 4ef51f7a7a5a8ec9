//! A link as the kernel describes it, reduced to what a path needs.

use netlink_packet_route::link::{
    InfoData, InfoGeneve, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use nettoll_core::device::DeviceKind;

/// One link; indices are of its own namespace unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) ifindex: u32,
    pub(super) name: String,
    pub(super) kind: DeviceKind,
    pub(super) mtu: u32,
    pub(super) qdisc: Option<String>,
    /// The bridge or bond above.
    pub(super) master: Option<u32>,
    /// The peer of a veth, the device under a tunnel; in the namespace `link_nsid`.
    pub(super) link: Option<u32>,
    /// The namespace of `link` by this namespace's numbers; `None` for this namespace.
    pub(super) link_nsid: Option<i32>,
    pub(super) tunnel_port: Option<u16>,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            ifindex: message.header.index,
            name: String::new(),
            kind: if message.header.flags.contains(LinkFlags::Loopback) {
                DeviceKind::Loopback
            } else {
                DeviceKind::Physical
            },
            mtu: 0,
            qdisc: None,
            master: None,
            link: None,
            link_nsid: None,
            tunnel_port: None,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(bytes) => link.mtu = bytes,
                LinkAttribute::Qdisc(kind) => link.qdisc = Some(kind),
                LinkAttribute::Controller(ifindex) => link.master = Some(ifindex),
                // Devices that lie on no other one name themselves or 0.
                LinkAttribute::Link(ifindex) if ifindex != 0 && ifindex != link.ifindex => {
                    link.link = Some(ifindex);
                }
                LinkAttribute::LinkNetNsId(nsid) => link.link_nsid = Some(nsid),
                LinkAttribute::LinkInfo(infos) => link.learn(infos),
                _ => {}
            }
        }
        link
    }
}

impl Link {
    fn learn(&mut self, infos: Vec<LinkInfo>) {
        for info in infos {
            match info {
                LinkInfo::Kind(kind) => self.kind = device_kind(&kind),
                LinkInfo::Data(InfoData::Geneve(settings)) => {
                    let port = |setting: &InfoGeneve| match setting {
                        InfoGeneve::Port(port) => Some(*port),
                        _ => None,
                    };
                    self.tunnel_port = settings.iter().find_map(port);
                }
                LinkInfo::Data(InfoData::Vxlan(settings)) => {
                    for setting in settings {
                        match setting {
                            // A vxlan device has no IFLA_LINK: its lower device is here.
                            InfoVxlan::Link(ifindex) if ifindex != 0 => self.link = Some(ifindex),
                            InfoVxlan::Port(port) => self.tunnel_port = Some(port),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// What a link of this kind is to a packet.
fn device_kind(kind: &InfoKind) -> DeviceKind {
    match kind {
        InfoKind::Veth => DeviceKind::Veth,
        InfoKind::Bridge => DeviceKind::Bridge,
        InfoKind::Vxlan => DeviceKind::Vxlan,
        InfoKind::Tun => DeviceKind::Tun,
        InfoKind::Geneve => DeviceKind::Geneve,
        InfoKind::Wireguard => DeviceKind::Wireguard,
        InfoKind::GreTap
        | InfoKind::GreTap6
        | InfoKind::GreTun
        | InfoKind::GreTun6
        | InfoKind::Gtp
        | InfoKind::Ip6Tnl
        | InfoKind::IpIp
        | InfoKind::SitTun
        | InfoKind::Vti
        | InfoKind::Xfrm => DeviceKind::Tunnel,
        InfoKind::Other(name)
            if ["bareudp", "erspan", "ip6erspan", "vti6"].contains(&name.as_str()) =>
        {
            DeviceKind::Tunnel
        }
        _ => DeviceKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, attributes: Vec<LinkAttribute>) -> Link {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.attributes = attributes;
        message.into()
    }

    #[test]
    fn a_link_without_a_kind_is_a_card_or_lo() {
        assert_eq!(link(2, vec![]).kind, DeviceKind::Physical);
        let mut lo = LinkMessage::default();
        lo.header.flags = LinkFlags::Loopback | LinkFlags::Up;
        assert_eq!(Link::from(lo).kind, DeviceKind::Loopback);
    }

    #[test]
    fn a_veth_names_its_peer_and_where_that_is() {
        let veth = link(
            3,
            vec![
                LinkAttribute::IfName("eth0".to_owned()),
                LinkAttribute::Link(7),
                LinkAttribute::LinkNetNsId(0),
                LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
            ],
        );
        assert_eq!(
            (veth.kind, veth.link, veth.link_nsid),
            (DeviceKind::Veth, Some(7), Some(0))
        );
    }

    #[test]
    fn a_vxlan_device_tells_its_lower_device_and_port() {
        let vxlan = link(
            4,
            vec![LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vxlan),
                LinkInfo::Data(InfoData::Vxlan(vec![
                    InfoVxlan::Link(2),
                    InfoVxlan::Port(8472),
                ])),
            ])],
        );
        assert_eq!(
            (vxlan.kind, vxlan.link, vxlan.tunnel_port),
            (DeviceKind::Vxlan, Some(2), Some(8472))
        );
    }

    #[test]
    fn a_geneve_device_tells_its_port() {
        let geneve = link(
            4,
            vec![LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Geneve),
                LinkInfo::Data(InfoData::Geneve(vec![
                    InfoGeneve::Id(7),
                    InfoGeneve::Port(6081),
                ])),
            ])],
        );
        assert_eq!(
            (geneve.kind, geneve.tunnel_port),
            (DeviceKind::Geneve, Some(6081))
        );
    }

    #[test]
    fn a_device_on_itself_lies_on_nothing() {
        assert_eq!(link(5, vec![LinkAttribute::Link(5)]).link, None);
        assert_eq!(link(5, vec![LinkAttribute::Link(0)]).link, None);
    }

    #[test]
    fn tunnels_are_told_from_other_kinds() {
        for kind in [InfoKind::IpIp, InfoKind::Other("bareudp".to_owned())] {
            assert_eq!(device_kind(&kind), DeviceKind::Tunnel, "{kind}");
        }
        for kind in [
            InfoKind::Dummy,
            InfoKind::Bond,
            InfoKind::Other("new".to_owned()),
        ] {
            assert_eq!(device_kind(&kind), DeviceKind::Other, "{kind}");
        }
    }
}

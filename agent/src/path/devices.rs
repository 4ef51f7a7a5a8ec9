//! The links of all namespaces, joined: what is on the other side of a veth, above a port, under
//! a tunnel.

use nettoll_core::device::{Device, DeviceId, DeviceKind};

use super::{link::Link, space::Space};

/// The devices of a node, in the order of the namespaces and of their indices.
pub(super) fn join(node: &str, spaces: &[Space]) -> Vec<Device> {
    let mut devices = Vec::new();
    for space in spaces {
        for link in &space.links {
            let beyond = link
                .link
                .and_then(|ifindex| find(spaces, space, ifindex, link.link_nsid));
            devices.push(Device {
                id: DeviceId {
                    netns: space.inode,
                    ifindex: link.ifindex,
                },
                name: link.name.clone(),
                place: space.place.to_string(),
                node: node.to_owned(),
                kind: link.kind,
                master: link.master.map(|ifindex| DeviceId {
                    netns: space.inode,
                    ifindex,
                }),
                peer: beyond
                    .filter(|_| link.kind == DeviceKind::Veth)
                    .filter(|(there, peer)| leads_back(spaces, there, peer, space, link))
                    .map(id),
                lower: beyond.filter(|_| link.kind.is_tunnel()).map(id),
                underlay: false,
                endpoint: false,
                arrival: false,
                mtu: link.mtu,
                tunnel_port: link.tunnel_port,
                qdisc: link.qdisc.clone(),
            });
        }
    }
    devices
}

fn id((space, link): (&Space, &Link)) -> DeviceId {
    DeviceId {
        netns: space.inode,
        ifindex: link.ifindex,
    }
}

/// The link that `from` knows by an index and a namespace number, where that is of this node.
fn find<'a>(
    spaces: &'a [Space],
    from: &'a Space,
    ifindex: u32,
    nsid: Option<i32>,
) -> Option<(&'a Space, &'a Link)> {
    let space = match nsid {
        None => from,
        Some(nsid) => spaces
            .iter()
            .find(|space| from.nsid_of(space) == Some(nsid))?,
    };
    let link = space.links.iter().find(|link| link.ifindex == ifindex)?;
    Some((space, link))
}

/// Whether `peer` in `there` is a veth whose other end is `link` in `space`.
fn leads_back(spaces: &[Space], there: &Space, peer: &Link, space: &Space, link: &Link) -> bool {
    peer.kind == DeviceKind::Veth
        && peer
            .link
            .and_then(|ifindex| find(spaces, there, ifindex, peer.link_nsid))
            .is_some_and(|back| id(back) == id((space, link)))
}

//! The table: which stage lies between two consecutive hops.

use std::collections::BTreeMap;

use About::{From, To, ToMaster};
use Event::{
    BacklogReady, Copy, DataReady, GroReceive, NetifRx, Queue, Receive, StartXmit, UserRead,
    UserReceive, UserSend, Xmit,
};
use Is::{Any, Bridge, Celled, Loopback, Physical, Tunnel, Underlay, Veth, Wireguard};
use Relation::{AnyDevice, AnyPort, ItsBridge, ItsPort, OtherDevice, OtherNode, Peer, Same};
use StageClass::{Mixed, Wait, Work};

use crate::{
    device::{Device, DeviceId, DeviceKind},
    hop::{Event, Hop},
    report::StageClass,
};

/// What a device must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Is {
    Any,
    Bridge,
    /// A tunnel that hands over through GRO cells: all but WireGuard.
    Celled,
    Loopback,
    Physical,
    Tunnel,
    /// It carries the route to the other node, whatever its kind.
    Underlay,
    Veth,
    Wireguard,
}

/// What the later hop's device is to the earlier one's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Relation {
    /// Whatever it is, even unknown.
    AnyDevice,
    Same,
    /// The other end of the virtual cable.
    Peer,
    /// The bridge that the earlier is a port of.
    ItsBridge,
    /// A port of the earlier.
    ItsPort,
    /// A port of the same bridge, itself too.
    AnyPort,
    /// Another device of the same node.
    OtherDevice,
    /// A device of another node.
    OtherNode,
}

/// Which device a stage is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    From,
    To,
    /// The bridge that the later hop's device is a port of.
    ToMaster,
}

/// One line of the table.
pub(super) struct Rule {
    from: (Event, Is),
    relation: Relation,
    to: (Event, Is),
    stage: &'static str,
    class: StageClass,
    about: About,
}

/// The first line that fits counts.
///
/// Notes on lines whose reason is not in the design's own table:
/// - A veth whose receiver runs NAPI (GRO switched on, or XDP) hands over through a ring and has
///   no `netif_rx`: its wait for the poll is in `veth` then, hence mixed.
/// - `GroReceive → Receive` is the time that GRO holds a packet for more to merge: `gro_cells`
///   behind a tunnel, and on a network card or a NAPI veth the last of its wait in softirq,
///   `backlog`.
/// - `decap` ends where the tunnel's GRO cell hands the packet to GRO. The hand-over to the cell
///   itself has no stable hook, so the cell's turn in softirq is in `decap`. A cell that cannot
///   GRO (a packet tap, a cloned packet) calls `netif_rx`, and where neither is seen the stage
///   ends with the receive on the tunnel and holds that wait as well, hence mixed.
/// - What is received on a device and sent on the same one was routed back: `forward`. On a bridge's
///   port it was sent back by the bridge (a port in hairpin mode).
/// - WireGuard encrypts in a kernel thread that the packet waits for: `encap` is mixed there. Nobody
///   can read whose a packet is before it is decrypted, so that `wire` and the decryption are one, under
///   the names of their two hops, and it has no GRO cells: GRO holds packets in its own poll.
/// - `socket_rx` is work where the socket is seen to tell that it has the data: the protocol's before
///   that, and the receive call's where that finds them. A call that was there before sleeps: what
///   it does between waking up and its return is in `wakeup`. In the socket's backlog (its user had
///   it to itself) a packet waits first, and is then worked on: mixed.
/// - `encap` ends on whichever device the route takes: not every tunnel is bound to one.
#[rustfmt::skip]
pub(super) const TABLE: &[Rule] = &[
    rule(UserSend,   Any,      AnyDevice,   Queue,      Any,      "socket_tx", Work,  To),
    rule(StartXmit,  Underlay, OtherNode,   NetifRx,    Underlay, "wire",      Wait,  From),
    rule(StartXmit,  Underlay, OtherNode,   GroReceive, Underlay, "wire",      Wait,  From),
    rule(StartXmit,  Underlay, OtherNode,   Receive,    Underlay, "wire",      Wait,  From),
    rule(Xmit,       Underlay, OtherNode,   NetifRx,    Underlay, "wire",      Wait,  From),
    rule(Xmit,       Underlay, OtherNode,   GroReceive, Underlay, "wire",      Wait,  From),
    rule(Xmit,       Underlay, OtherNode,   Receive,    Underlay, "wire",      Wait,  From),
    rule(Queue,      Any,      Same,        StartXmit,  Any,      "qdisc",     Wait,  From),
    rule(StartXmit,  Loopback, Same,        NetifRx,    Loopback, "loopback",  Work,  From),
    rule(StartXmit,  Veth,     Peer,        NetifRx,    Veth,     "veth",      Work,  From),
    rule(StartXmit,  Veth,     Peer,        GroReceive, Veth,     "veth",      Mixed, From),
    rule(StartXmit,  Veth,     Peer,        Receive,    Veth,     "veth",      Mixed, From),
    rule(StartXmit,  Physical, Same,        Xmit,       Physical, "driver",    Work,  From),
    rule(StartXmit,  Wireguard, OtherDevice, Queue,     Any,      "encap",     Mixed, From),
    rule(StartXmit,  Tunnel,   OtherDevice, Queue,      Any,      "encap",     Work,  From),
    rule(StartXmit,  Bridge,   ItsPort,     Queue,      Any,      "bridge",    Work,  From),
    rule(NetifRx,    Any,      Same,        Receive,    Any,      "backlog",   Wait,  To),
    rule(GroReceive, Celled,   Same,        Receive,    Celled,   "gro_cells", Wait,  To),
    rule(GroReceive, Any,      Same,        Receive,    Any,      "backlog",   Wait,  To),
    rule(Receive,    Any,      ItsBridge,   Receive,    Bridge,   "bridge",    Work,  To),
    rule(Receive,    Any,      AnyPort,     Queue,      Any,      "bridge",    Work,  ToMaster),
    rule(Receive,    Any,      OtherDevice, GroReceive, Tunnel,   "decap",     Work,  To),
    rule(Receive,    Any,      OtherDevice, NetifRx,    Tunnel,   "decap",     Work,  To),
    rule(Receive,    Any,      OtherDevice, Receive,    Tunnel,   "decap",     Mixed, To),
    rule(Receive,    Any,      OtherDevice, Queue,      Any,      "forward",   Work,  To),
    rule(Receive,    Any,      Same,        Queue,      Any,      "forward",   Work,  To),
    rule(Receive,    Any,      AnyDevice,   Copy,       Any,      "socket_rx", Mixed, From),
    rule(Receive,    Any,      AnyDevice,   UserReceive, Any,     "socket_rx", Mixed, From),
    rule(Receive,    Any,      AnyDevice,   DataReady,  Any,      "socket_rx", Work,  From),
    rule(Receive,    Any,      AnyDevice,   BacklogReady, Any,    "socket_backlog", Mixed, From),
    rule(DataReady,  Any,      AnyDevice,   UserRead,   Any,      "socket_queue", Wait, From),
    rule(BacklogReady, Any,    AnyDevice,   UserRead,   Any,      "socket_queue", Wait, From),
    rule(UserRead,   Any,      AnyDevice,   UserReceive, Any,     "socket_rx", Work,  From),
    rule(DataReady,  Any,      AnyDevice,   UserReceive, Any,     "wakeup",    Wait,  From),
    rule(BacklogReady, Any,    AnyDevice,   UserReceive, Any,     "wakeup",    Wait,  From),
    rule(Copy,       Any,      AnyDevice,   UserReceive, Any,     "socket_rx", Mixed, From),
];

/// The parts of `socket_rx` that have other names, and are in it where nobody sees the socket tell
/// that it has the data.
pub(super) const OF_SOCKET: [&str; 3] = ["socket_backlog", "socket_queue", "wakeup"];

/// The stages that begin in their device's transmit function, whose exact self time is theirs.
pub(super) const TRANSMIT: [&str; 6] = ["wire", "loopback", "veth", "driver", "encap", "bridge"];

#[rustfmt::skip]
#[expect(clippy::too_many_arguments, reason = "the columns of the table")]
const fn rule(
    from: Event, from_is: Is, relation: Relation, to: Event, to_is: Is,
    stage: &'static str, class: StageClass, about: About,
) -> Rule {
    Rule { from: (from, from_is), relation, to: (to, to_is), stage, class, about }
}

/// What an edge is called.
pub(super) struct Named {
    pub(super) stage: String,
    pub(super) class: Option<StageClass>,
    pub(super) device: Option<Device>,
}

/// The devices by their ids.
pub(super) type Devices = BTreeMap<DeviceId, Device>;

/// The table's line for what lies between two hops.
pub(super) fn line(from: Hop, to: Hop, devices: &Devices) -> Option<&'static Rule> {
    TABLE.iter().find(|rule| rule.fits(from, to, devices))
}

/// The stages that begin or end with an event, in the table's order.
pub(super) fn stages_at(event: Event) -> Vec<&'static str> {
    let mut stages = Vec::new();
    for rule in TABLE {
        if [rule.from.0, rule.to.0].contains(&event) && !stages.contains(&rule.stage) {
            stages.push(rule.stage);
        }
    }
    stages
}

/// The stage between two hops: the table's, or their names.
pub(super) fn name(from: Hop, to: Hop, devices: &Devices) -> Named {
    let Some(rule) = line(from, to, devices) else {
        return by_hops(from, to, devices);
    };
    let [from, to] = [from, to].map(|hop| devices.get(&hop.device));
    let device = match rule.about {
        From => from,
        To => to,
        ToMaster => to.and_then(|port| devices.get(&port.master?)),
    };
    Named {
        stage: rule.stage.to_owned(),
        class: Some(rule.class),
        device: device.cloned(),
    }
}

/// The stage that begins with a hop of which nothing else is known but whether the way ends there:
/// where the table has several it is called by the hop.
pub(super) fn after(hop: Hop, device: Option<&Device>, ends: bool) -> Named {
    let begins = |rule: &&Rule| rule.from.0 == hop.event && rule.from.1.holds(device);
    let rule = match hop.event {
        Receive => (TABLE.iter().filter(begins)).find(|rule| ends && rule.to.0 == Copy),
        _ => TABLE.iter().find(begins),
    };
    Named {
        stage: rule.map_or_else(|| hop_name(hop, device), |rule| rule.stage.to_owned()),
        class: rule.map(|rule| rule.class),
        device: device.cloned(),
    }
}

/// The hop's name.
pub(super) fn at(hop: Hop, device: Option<&Device>) -> Named {
    Named {
        stage: hop_name(hop, device),
        class: None,
        device: device.cloned(),
    }
}

/// The two hops' names.
pub(super) fn by_hops(from: Hop, to: Hop, devices: &Devices) -> Named {
    let [source, target] = [from, to].map(|hop| devices.get(&hop.device));
    Named {
        stage: format!("{}->{}", hop_name(from, source), hop_name(to, target)),
        class: None,
        device: target.cloned(),
    }
}

/// `receive@eth0`; a device that nobody listed goes by its namespace's inode and its index.
fn hop_name(hop: Hop, device: Option<&Device>) -> String {
    let event = hop.event.as_str();
    match device {
        Some(device) => format!("{event}@{}", device.name),
        None => format!("{event}@{}:{}", hop.device.netns, hop.device.ifindex),
    }
}

impl Rule {
    /// What it names.
    pub(super) fn stage(&self) -> &'static str {
        self.stage
    }

    fn fits(&self, from: Hop, to: Hop, devices: &Devices) -> bool {
        if (self.from.0, self.to.0) != (from.event, to.event) {
            return false;
        }
        let [source, target] = [from, to].map(|hop| devices.get(&hop.device));
        self.from.1.holds(source)
            && self.to.1.holds(target)
            && self.relation.holds(from, to, source.zip(target))
    }
}

impl Is {
    fn holds(self, device: Option<&Device>) -> bool {
        let kind = |kind| device.is_some_and(|device| device.kind == kind);
        match self {
            Any => true,
            Bridge => kind(DeviceKind::Bridge),
            Loopback => kind(DeviceKind::Loopback),
            Physical => kind(DeviceKind::Physical),
            Veth => kind(DeviceKind::Veth),
            Tunnel => device.is_some_and(|device| device.kind.is_tunnel()),
            Wireguard => kind(DeviceKind::Wireguard),
            Celled => Tunnel.holds(device) && !Wireguard.holds(device),
            Underlay => device.is_some_and(|device| device.underlay),
        }
    }
}

impl Relation {
    fn holds(self, from: Hop, to: Hop, devices: Option<(&Device, &Device)>) -> bool {
        let same = from.device == to.device;
        match (self, devices) {
            (AnyDevice, _) => true,
            (Same, _) => same,
            (_, None) => false,
            (Peer, Some((from, to))) => from.peer == Some(to.id) || to.peer == Some(from.id),
            (ItsBridge, Some((from, to))) => from.master == Some(to.id),
            (ItsPort, Some((from, to))) => to.master == Some(from.id),
            (AnyPort, Some((from, to))) => from.master.is_some() && from.master == to.master,
            (OtherDevice, Some((from, to))) => !same && from.node == to.node,
            (OtherNode, Some((from, to))) => from.node != to.node,
        }
    }
}

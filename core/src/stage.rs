//! Where a packet's time goes: from the edges that the probe counted to the stages of a report.
//!
//! 1. The table in `stage/table.rs` names each edge by its two hops and how their devices relate.
//!    What it does not know keeps its hops' names (`receive@eth0->queue@x0`): nothing is dropped.
//! 2. Edges of the same side, direction, stage and device are one row.
//! 3. Rows come in the packet's order: the request's way, the responder, the response's way, and
//!    at the end what is left of the round-trip time.
//!
//! **Means and sums.** A row's `mean_ns` is per data-carrying `sk_buff` and edge. What a row
//! contributes to a round trip is its total time per request: equal to the mean where each request
//! passes once, and right too where a stage is passed twice or only by some packets. Closure and
//! `unattributed` add up contributions. Rows that only packets without payload passed
//! have no time of a request or response, and are left out.
//!
//! **Where a hook is missing** an edge goes from the one before it to the one after it, and is of
//! several stages at once. It is told as what it is, under its hops' names, and those stages are
//! named as absent: see `stage/gap.rs`. There is no closure then, and nothing is derived.
//!
//! **After the last receive** all is in `socket_rx` and its parts (`socket_backlog`, `socket_queue`,
//! `wakeup`), which the traffic thread measured. Edges to the copy or to the thread lie within them;
//! they stand for them only where the thread measured none. Where the hook is missing that tells the
//! parts, `socket_rx` is whole; a message of which it told nothing is under its hops' names.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::{RunSide, UserStage},
    device::Device,
    hop::{Direction, Edge, Event, Hop, Side},
    kernel::Tracepoint,
    report::{Drops, Stage, StageClass},
};

mod drops;
mod exemplar;
mod gap;
mod order;
mod row;
mod table;
#[cfg(test)]
mod tests;

pub use exemplar::{Messages, exemplars};

use gap::Gaps;
use row::{Row, user_row};

/// One end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// The node that the endpoint is on.
    pub node: &'a str,
    /// Inode of the endpoint's network namespace.
    pub netns: u32,
}

/// All that a run's stages follow from.
#[derive(Clone, Copy, Debug)]
pub struct Journey<'a> {
    /// What the run's agents measured in the rounds with the probe.
    pub sides: &'a [&'a RunSide],
    /// The devices of both nodes.
    pub devices: &'a [Device],
    /// The from-endpoint.
    pub client: End<'a>,
    /// The to-endpoint.
    pub server: End<'a>,
    /// Both nodes are one kernel, so the probe saw the wire. Where they are not, `wire` is what
    /// the nodes did not see, and there is no closure to speak of.
    pub one_kernel: bool,
    /// Mean of the round-trip times (`path_cost`: one way) in the same rounds; `None` for streams.
    pub rtt_mean_ns: Option<f64>,
    /// Number of these round-trip times.
    pub requests: u64,
}

/// A run's stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Waterfall {
    /// In the packet's order; the last is `unattributed` where there is a round-trip time.
    pub stages: Vec<Stage>,
    /// What the stages add up to, of the mean round-trip time; `None` where nothing says how long
    /// a round trip is, where a stage was computed from that, or where hooks are missing on the way.
    pub closure: Option<f64>,
    /// What the kernel dropped on the way; `None` where nobody looked.
    pub drops: Option<Vec<Drops>>,
    /// The stages that are absent because hooks are missing, by the hook.
    pub absent: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

/// Derives a run's stages.
#[must_use]
pub fn waterfall(journey: &Journey<'_>) -> Waterfall {
    let devices = by_id(journey.devices);
    let mut gaps = Gaps::of(journey, &devices);
    let mut rows = Vec::new();
    for direction in [Direction::Request, Direction::Response, Direction::Both] {
        rows.extend(one_way(journey, &devices, direction, &mut gaps));
    }
    add_self_times(&mut rows, journey.sides);
    let wire_unseen = journey.client.node != journey.server.node && !journey.one_kernel;
    gaps.add_ends(journey, &rows, wire_unseen);
    let drops = drops::rows(journey, &devices, &gaps);

    let mut stages: Vec<Stage> = rows.iter().map(Row::to_stage).collect();
    let requests = (journey.requests > 0).then_some(journey.requests as f64);
    let Some((rtt, requests)) = journey.rtt_mean_ns.filter(|&rtt| rtt > 0.0).zip(requests) else {
        return Waterfall {
            stages,
            closure: None,
            drops,
            absent: gaps.by_hook(),
        };
    };
    let seen: f64 = rows.iter().map(|row| row.sum_ns as f64 / requests).sum();
    let (left, closure) = if gaps.any() {
        // Some of what is left has a stage that nobody saw.
        (rtt - seen, None)
    } else if wire_unseen {
        let wire = residual("wire", Some(StageClass::Wait), rtt - seen);
        stages.push(Stage {
            derived: true,
            ..wire
        });
        (0.0, None)
    } else {
        (rtt - seen, Some(seen / rtt))
    };
    stages.push(residual("unattributed", None, left));
    Waterfall {
        stages,
        closure,
        drops,
        absent: gaps.by_hook(),
    }
}

/// The stages that begin or end at a hook, of which at least some are absent where it is missing.
#[must_use]
pub fn at_hook(hook: &str) -> Vec<&'static str> {
    match Tracepoint::named(hook).and_then(|hook| hook.event) {
        // Without it these are in `socket_rx`, which is whole.
        Some(Event::DataReady) => table::OF_SOCKET.to_vec(),
        Some(event) => table::stages_at(event),
        None => Vec::new(),
    }
}

/// Devices may be listed once for each end of the path: what either listing says holds.
fn by_id(devices: &[Device]) -> table::Devices {
    let mut all: table::Devices = BTreeMap::new();
    for device in devices {
        let known = all.entry(device.id).or_insert_with(|| device.clone());
        known.underlay |= device.underlay;
        known.endpoint |= device.endpoint;
        known.arrival |= device.arrival;
    }
    all
}

/// The rows of one direction, the responder after the request's way.
fn one_way(
    journey: &Journey<'_>,
    devices: &table::Devices,
    direction: Direction,
    gaps: &mut Gaps<'_>,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut user_times: Vec<_> = (journey.sides.iter())
        .flat_map(|side| side.user_times.iter().map(move |user| (*side, user)))
        .filter(|(_, user)| user.direction == direction && user.times.count > 0)
        .collect();
    // `socket_rx` and its parts, then `responder`.
    user_times.sort_by_key(|(_, user)| user.stage);
    let received = user_times
        .iter()
        .any(|(_, user)| end_of(user.stage).is_some());
    let within_socket_rx =
        |edge: &Edge| received && matches!(edge.to.event, Event::Copy | Event::UserReceive);
    let edges: Vec<&Edge> = (journey.sides.iter())
        .flat_map(|side| &side.edges)
        .filter(|edge| edge.direction == direction && edge.packets > 0)
        .filter(|edge| !within_socket_rx(edge))
        .collect();
    let edges = order::along_the_way(&edges);
    for edge in &edges {
        let named = match gaps.are_between(edge.from, edge.to) {
            true => table::by_hops(edge.from, edge.to, devices),
            false => table::name(edge.from, edge.to, devices),
        };
        let side = side_of(journey, named.device.as_ref(), direction);
        let row = Row::new(side, direction, named);
        match rows.iter_mut().find(|known| known.is_same_stage(&row)) {
            Some(known) => known.add(edge),
            None => rows.push(row.with(edge)),
        }
    }
    for (of, user) in user_times {
        let end = match user.side {
            Side::Client => journey.client,
            Side::Server => journey.server,
        };
        let last = last_hop(&edges, end.netns);
        let device = last
            .and_then(|hop| devices.get(&hop.device))
            .or_else(|| (devices.values()).find(|it| it.endpoint && it.id.netns == end.netns));
        let mut row = user_row(user, device);
        let told = !of.missing.iter().any(|it| it.hook == "sk_data_ready");
        if let Some(hop) = last
            && let Some(event) = end_of(user.stage)
        {
            let end = Hop { event, ..hop };
            let gap = match user.stage {
                // Now and then there is one: with it nothing is absent that is not without it.
                UserStage::SocketBacklog => gaps.are_there(hop, end),
                // Two in one: where that hook is there, this is no `socket_rx` as the others are.
                UserStage::SocketUnsplit if told => true,
                _ => gaps.are_between(hop, end),
            };
            if gap {
                row = row.renamed(table::by_hops(hop, end, devices));
            }
        }
        if user.stage == UserStage::SocketUnsplit && !told {
            gaps.leave_whole();
        }
        match rows.iter_mut().find(|known| known.is_same_stage(&row)) {
            Some(known) => known.add_times(&user.times),
            None => rows.push(row),
        }
    }
    rows
}

/// The hop that ends a stage which begins with the last receive.
fn end_of(stage: UserStage) -> Option<Event> {
    match stage {
        UserStage::SocketRx | UserStage::SocketUnsplit => Some(Event::UserReceive),
        UserStage::SocketWork => Some(Event::DataReady),
        UserStage::SocketBacklog => Some(Event::BacklogReady),
        _ => None,
    }
}

/// Where the way ends in a namespace: a node receives a packet on several devices there, one after
/// the other.
fn last_hop(edges: &[&Edge], netns: u32) -> Option<Hop> {
    let received = |hop: &Hop| {
        let of_receiving = [Event::NetifRx, Event::GroReceive, Event::Receive];
        of_receiving.contains(&hop.event) && hop.device.netns == netns
    };
    edges.iter().rev().map(|edge| edge.to).find(received)
}

/// Whose a device is. Between two nodes its own node tells. On one node, what is in an endpoint's
/// namespace and what it is plugged into on the other side is that endpoint's; all else, such as
/// the bridge between two pods or the loopback device, is the sender's.
fn side_of(journey: &Journey<'_>, device: Option<&Device>, direction: Direction) -> Side {
    let sender = match direction {
        Direction::Response => Side::Server,
        Direction::Request | Direction::Both => Side::Client,
    };
    let Some(device) = device else { return sender };
    let Journey { client, server, .. } = journey;
    let belongs = |end: &End<'_>| {
        if client.node != server.node {
            return device.node == end.node;
        }
        let plugged_into = device.peer.is_some_and(|peer| peer.netns == end.netns);
        device.id.netns == end.netns || plugged_into
    };
    match (belongs(client), belongs(server)) {
        (true, false) => Side::Client,
        (false, true) => Side::Server,
        _ => sender,
    }
}

/// Puts each exact self time on the row of the same direction that is about that device's
/// transmit function.
fn add_self_times(rows: &mut [Row], sides: &[&RunSide]) {
    let times = sides.iter().flat_map(|side| {
        let seam_ns = side.seam_ns.unwrap_or_default();
        side.self_times.iter().map(move |time| (time, seam_ns))
    });
    for (time, seam_ns) in times {
        let of_transmit = rows.iter_mut().find(|row| {
            row.direction == time.direction
                && row.device.as_ref().map(|device| device.id) == Some(time.device)
                && table::TRANSMIT.contains(&row.stage.as_str())
        });
        if let Some(row) = of_transmit {
            row.add_self_time(time, seam_ns);
        }
    }
}

/// A row that is the rest of a subtraction.
fn residual(stage: &str, class: Option<StageClass>, mean_ns: f64) -> Stage {
    Stage {
        side: None,
        direction: Direction::Both,
        stage: stage.to_owned(),
        class,
        device: None,
        device_kind: None,
        derived: false,
        packets: None,
        segments: None,
        ack_packets: None,
        bytes: None,
        mean_ns,
        p50_ns: None,
        p99_ns: None,
        histogram: None,
        histogram_many_segments: None,
        cpu_ns_per_packet: None,
        cpu_ns_per_byte: None,
    }
}

//! In which stage packets were dropped.
//!
//! What is known of them is their last hop. The stage that begins there is that of the packets that
//! went on, by the most of them where ways fork. Where none did, it is what the table says of the
//! hop alone, and its name where the table knows several, or where a hook is missing that it may have
//! passed since.

use std::cmp::Reverse;

use super::{
    Journey,
    gap::Gaps,
    side_of,
    table::{self, Devices, Named},
};
use crate::{
    api::RunSide,
    hop::{Direction, Dropped, Edge, Event},
    report::Drops,
};

/// The rows of all sides, most packets first; `None` where an agent that saw packets did not look for
/// drops, or nobody did.
pub(super) fn rows(
    journey: &Journey<'_>,
    devices: &Devices,
    gaps: &Gaps<'_>,
) -> Option<Vec<Drops>> {
    let blind = |side: &RunSide| side.drops.is_none() && !side.edges.is_empty();
    let looked: Vec<_> = (journey.sides.iter())
        .filter_map(|side| side.drops.as_ref())
        .collect();
    if looked.is_empty() || journey.sides.iter().any(|side| blind(side)) {
        return None;
    }
    let mut rows: Vec<Drops> = Vec::new();
    for dropped in looked.into_iter().flatten() {
        let row = row(journey, devices, gaps, dropped);
        match rows.iter_mut().find(|known| is_same(known, &row)) {
            Some(known) => {
                known.packets += row.packets;
                known.segments += row.segments;
                known.ack_packets += row.ack_packets;
                known.bytes += row.bytes;
            }
            None => rows.push(row),
        }
    }
    rows.sort_by_key(|row| (row.direction, Reverse(row.packets + row.ack_packets)));
    Some(rows)
}

fn is_same(a: &Drops, b: &Drops) -> bool {
    let key = |row: &Drops| (row.side, row.direction, row.device_kind);
    key(a) == key(b) && (&a.stage, &a.device, &a.reason) == (&b.stage, &b.device, &b.reason)
}

fn row(journey: &Journey<'_>, devices: &Devices, gaps: &Gaps<'_>, dropped: &Dropped) -> Drops {
    let Named { stage, device, .. } = named(journey, devices, gaps, dropped);
    Drops {
        side: side_of(journey, device.as_ref(), dropped.direction),
        direction: dropped.direction,
        stage,
        device: device.as_ref().map(|device| device.name.clone()),
        device_kind: device.as_ref().map(|device| device.kind),
        reason: dropped.reason.clone(),
        packets: dropped.packets,
        segments: dropped.segments,
        ack_packets: dropped.ack_packets,
        bytes: dropped.bytes,
    }
}

fn named(journey: &Journey<'_>, devices: &Devices, gaps: &Gaps<'_>, dropped: &Dropped) -> Named {
    let went_on = |edge: &&Edge| edge.direction == dropped.direction && edge.from == dropped.last;
    let edges = journey.sides.iter().flat_map(|side| &side.edges);
    let most = (edges.filter(went_on)).max_by_key(|edge| edge.packets + edge.ack_packets);
    if let Some(edge) = most {
        return gaps.name(edge.from, edge.to);
    }
    let receiver = match dropped.direction {
        Direction::Response => journey.client,
        Direction::Request | Direction::Both => journey.server,
    };
    let last = devices.get(&dropped.last.device);
    if gaps.are_possible() {
        return table::at(dropped.last, last);
    }
    let arrived = dropped.last.event == Event::Receive
        && dropped.last.device.netns == receiver.netns
        && last.is_some_and(|device| device.arrival || device.endpoint);
    table::after(dropped.last, last, arrived)
}

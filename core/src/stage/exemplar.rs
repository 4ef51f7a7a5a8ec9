//! The slowest requests hop by hop: what both sides kept of each, joined by its number.
//!
//! Each thread keeps a request under the number that is in its payload, and takes along all hops of
//! that time, those of the requests next to it too. Which of them are its own their packets tell, and they
//! tell the same on both nodes, whatever is translated, encapsulated or made anew on the way. A datagram
//! has the request's number in it. In a TCP stream the messages of one direction have one length, so the
//! place of a packet's first byte is that of a message: where the first one began is learnt from
//! the packets that left or came between the client's own stamps. Whatever is of no such place is
//! not told.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    Journey, by_id,
    gap::Gaps,
    side_of,
    table::{Devices, Named},
};
use crate::{
    api::{ExemplarSide, KeptHop, Protocol},
    device::DeviceId,
    hop::{Direction, Event, Hop, Side},
    report::{Exemplar, ExemplarHop, StageClass},
};

/// What the messages of a run are.
#[derive(Clone, Copy, Debug)]
pub struct Messages {
    /// What carries them.
    pub protocol: Protocol,
    /// Bytes of a request.
    pub request_bytes: u32,
    /// Bytes of a response.
    pub response_bytes: u32,
}

/// The requests that the client's side of a run kept, the slowest first, each with what the server's
/// side kept of it.
#[must_use]
pub fn exemplars(journey: &Journey<'_>, messages: &Messages) -> Vec<Exemplar> {
    let devices = by_id(journey.devices);
    let parts: Vec<Part<'_>> = (journey.sides.iter())
        .flat_map(|side| {
            let part = |kept| Part {
                node: &side.node,
                kept,
            };
            side.exemplars.iter().map(part)
        })
        .collect();
    let join = Join {
        journey,
        gaps: Gaps::of(journey, &devices),
        devices: &devices,
        numbering: Numbering::of(*messages, &parts),
    };
    let of = |side| parts.iter().filter(move |part| part.kept.side == side);
    let mut found: Vec<Exemplar> = of(Side::Client)
        .map(|client| {
            let same = |part: &&Part<'_>| part.kept.sequence == client.kept.sequence;
            join.exemplar(*client, of(Side::Server).find(same).copied())
        })
        .collect();
    found.sort_by_key(|exemplar| Reverse(exemplar.rtt_ns));
    found
}

/// What one agent tells of one request.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    /// The agent's node.
    node: &'a str,
    kept: &'a ExemplarSide,
}

/// Which packets are of which message.
#[derive(Debug)]
struct Numbering {
    messages: Messages,
    /// Where message 0 of each direction would begin in its stream.
    begin: BTreeMap<Direction, u32>,
}

impl Numbering {
    fn of(messages: Messages, parts: &[Part<'_>]) -> Self {
        let mut numbering = Self {
            messages,
            begin: BTreeMap::new(),
        };
        for direction in [Direction::Request, Direction::Response] {
            let mut begins: BTreeMap<u32, usize> = BTreeMap::new();
            for Part { kept, .. } in parts.iter().filter(|it| it.kept.side == Side::Client) {
                let mut hops = kept.hops.iter();
                if let Some(first) = hops.find(|hop| hop.direction == direction) {
                    let begin = numbering.message_0(kept.sequence, first);
                    *begins.entry(begin).or_default() += 1;
                }
            }
            // One may be of a packet that was sent again.
            let most = begins.into_iter().max_by_key(|&(_, requests)| requests);
            numbering.begin.extend(most.map(|(at, _)| (direction, at)));
        }
        numbering
    }

    fn bytes(&self, direction: Direction) -> u32 {
        match direction {
            Direction::Response => self.messages.response_bytes,
            Direction::Request | Direction::Both => self.messages.request_bytes,
        }
    }

    /// Where message 0 would begin, if the hop's packet began with message `sequence`.
    fn message_0(&self, sequence: u64, hop: &KeptHop) -> u32 {
        let bytes = self.bytes(hop.direction);
        let before = (sequence as u32).wrapping_mul(bytes);
        hop.sequence.wrapping_sub(before)
    }

    /// Whether a packet holds bytes of message `sequence` first.
    fn is_of(&self, sequence: u64, hop: &KeptHop) -> bool {
        match self.messages.protocol {
            Protocol::Udp => hop.sequence == sequence as u32,
            Protocol::Tcp => self.begin.get(&hop.direction).is_some_and(|begin| {
                self.message_0(sequence, hop).wrapping_sub(*begin) < self.bytes(hop.direction)
            }),
        }
    }
}

/// A point of a request's way, on a side's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Passed {
    at_ns: u64,
    direction: Direction,
    hop: Hop,
    side: Side,
}

struct Join<'a> {
    journey: &'a Journey<'a>,
    devices: &'a Devices,
    gaps: Gaps<'a>,
    numbering: Numbering,
}

impl Join<'_> {
    fn exemplar(&self, client: Part<'_>, server: Option<Part<'_>>) -> Exemplar {
        let [sent, received] = client.kept.stamps_ns;
        let joined = server.is_some();
        let mut of_client = self.points(client, joined);
        let of_server = server.map(|part| self.points(part, joined));
        let one_clock = self.journey.one_kernel;
        let hops = match of_server {
            Some(of_server) if one_clock => {
                of_client.extend(of_server);
                of_client.sort_unstable();
                // One agent on both sides kept some hops twice.
                of_client.dedup();
                of_client.retain(|point| (sent..=received).contains(&point.at_ns));
                self.told(&of_client, sent)
            }
            of_server => {
                let mut hops = self.told(&of_client, sent);
                let is_response = |hop: &ExemplarHop| hop.direction == Direction::Response;
                let between = hops.iter().position(is_response).unwrap_or(hops.len());
                let of_server = of_server.unwrap_or_default();
                let first = of_server.first().map_or(0, |point| point.at_ns);
                hops.splice(between..between, self.told(&of_server, first));
                hops
            }
        };
        Exemplar {
            sequence: client.kept.sequence,
            round: client.kept.round,
            rtt_ns: received.saturating_sub(sent),
            joined,
            lost_hops: client.kept.lost_hops + server.map_or(0, |part| part.kept.lost_hops),
            hops,
        }
    }

    /// One side's points in order of time: its hops, and its thread's stamps. Where the other side's
    /// are there too, those on its node are left to it: an agent sees the ends of wires there.
    fn points(&self, part: Part<'_>, joined: bool) -> Vec<Passed> {
        let Part { node, kept } = part;
        let devices = self.devices;
        let own = |hop: &KeptHop| {
            let device = devices.get(&hop.hop.device);
            !joined || device.is_none_or(|device| device.node == node)
        };
        let of_request = |hop: &&KeptHop| self.numbering.is_of(kept.sequence, hop) && own(hop);
        let point = |hop: &KeptHop| Passed {
            at_ns: hop.at_ns,
            direction: hop.direction,
            hop: hop.hop,
            side: side_of(self.journey, devices.get(&hop.hop.device), hop.direction),
        };
        let mut points: Vec<_> = kept.hops.iter().filter(of_request).map(point).collect();
        points.sort_unstable();
        let [first, last] = kept.stamps_ns;
        let (sends, sent, receives, received) = match kept.side {
            Side::Client => (Direction::Request, first, Direction::Response, last),
            Side::Server => (Direction::Response, last, Direction::Request, first),
        };
        let ready = kept.ready.map(|ready| {
            let event = match ready.backlog {
                true => Event::BacklogReady,
                false => Event::DataReady,
            };
            (event, ready.at_ns)
        });
        let read = kept.ready.and_then(|ready| ready.read_ns);
        let read = read.map(|at_ns| (Event::UserRead, at_ns));
        let stamp =
            |direction, (event, at_ns)| self.stamp(&points, kept.side, direction, event, at_ns);
        let mut stamps = vec![
            stamp(sends, (Event::UserSend, sent)),
            stamp(receives, (Event::UserReceive, received)),
        ];
        stamps.extend(
            [ready, read]
                .into_iter()
                .flatten()
                .map(|it| stamp(receives, it)),
        );
        points.extend(stamps);
        points.sort_unstable();
        points
    }

    /// A thread's stamp, on the device that its message leaves or comes by.
    fn stamp(
        &self,
        points: &[Passed],
        side: Side,
        direction: Direction,
        event: Event,
        at_ns: u64,
    ) -> Passed {
        let netns = match side {
            Side::Client => self.journey.client.netns,
            Side::Server => self.journey.server.netns,
        };
        let mut there = (points.iter())
            .filter(|point| point.direction == direction && point.hop.device.netns == netns);
        let next = match event {
            Event::UserSend => there.next(),
            _ => there.next_back(),
        };
        let endpoint = || {
            let mut devices = self.devices.values();
            let device = devices.find(|device| device.endpoint && device.id.netns == netns);
            device.map(|device| device.id)
        };
        let device = next.map(|point| point.hop.device).or_else(endpoint);
        let unknown = DeviceId { netns, ifindex: 0 };
        Passed {
            at_ns,
            direction,
            hop: Hop {
                device: device.unwrap_or(unknown),
                event,
            },
            side,
        }
    }

    /// Points of one clock as they are told, each with the stage that it ends.
    fn told(&self, points: &[Passed], from_ns: u64) -> Vec<ExemplarHop> {
        let before = std::iter::once(None).chain(points.iter().map(Some));
        let told = |(point, before): (&Passed, Option<&Passed>)| {
            let stage = before.and_then(|before| self.stage(before, point));
            let device = self.devices.get(&point.hop.device);
            ExemplarHop {
                side: point.side,
                direction: point.direction,
                event: point.hop.event,
                device: device.map(|device| device.name.clone()),
                device_kind: device.map(|device| device.kind),
                at_ns: point.at_ns.saturating_sub(from_ns),
                class: stage.as_ref().and_then(|stage| stage.class),
                stage: stage.map(|stage| stage.stage),
                stage_ns: before.map(|before| point.at_ns - before.at_ns),
            }
        };
        points.iter().zip(before).map(told).collect()
    }

    /// What lies between two points; `None` where the way between them was on another node.
    fn stage(&self, from: &Passed, to: &Passed) -> Option<Named> {
        if from.direction == to.direction {
            return Some(self.gaps.name(from.hop, to.hop));
        }
        let answers = (from.hop.event, to.hop.event) == (Event::UserReceive, Event::UserSend);
        answers.then(|| Named {
            stage: "responder".to_owned(),
            class: Some(StageClass::Work),
            device: None,
        })
    }
}

//! What a missing hook costs: its own stages, and no others.
//!
//! Where a hook is missing, a packet is seen at the one before and at the one after it, and the
//! edge between these is of several stages at once. Which they are is told by the table: those of
//! the longest way from the one hop over missing ones to the other, each hook once.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Journey,
    row::Row,
    table::{self, Devices, Named},
};
use crate::{
    device::DeviceId,
    hop::{
        Edge,
        Event::{self, Copy, DataReady, GroReceive, NetifRx, Queue, Receive, StartXmit, UserSend},
        Hop,
    },
    kernel::{TRACEPOINTS, Tracepoint},
};

/// A missing event, and a stage that begins or ends with it.
type Lack = (Event, &'static str);

/// The gaps of a journey, and what was found to be in them.
#[derive(Debug)]
pub(super) struct Gaps<'a> {
    devices: &'a Devices,
    /// The events of the hooks that any of the probes did without.
    missing: BTreeSet<Event>,
    /// These, on the devices that packets were seen on.
    hops: Vec<Hop>,
    absent: BTreeSet<Lack>,
    /// Parts of `socket_rx` are in it, not apart: no time is without a stage for that.
    unsplit: bool,
}

impl<'a> Gaps<'a> {
    /// Nothing is found yet.
    pub(super) fn of(journey: &Journey<'_>, devices: &'a Devices) -> Self {
        let hooks = journey.sides.iter().flat_map(|side| &side.missing);
        let missing: BTreeSet<Event> = hooks
            .filter_map(|missing| Tracepoint::named(&missing.hook)?.event)
            .filter(|event| *event != DataReady)
            .collect();
        let edges = journey.sides.iter().flat_map(|side| &side.edges);
        let seen: BTreeSet<DeviceId> = edges
            .flat_map(|edge| [edge.from.device, edge.to.device])
            .collect();
        let on = |&event: &Event| seen.iter().map(move |&device| Hop { device, event });
        Self {
            devices,
            hops: missing.iter().flat_map(on).collect(),
            missing,
            absent: BTreeSet::new(),
            unsplit: false,
        }
    }

    /// Whether missing hooks lie between two hops; if so, the stages there are absent.
    pub(super) fn are_between(&mut self, from: Hop, to: Hop) -> bool {
        let found = self.over(from, to);
        let there = found.is_some();
        self.absent.extend(found.into_iter().flatten());
        there
    }

    /// Whether missing hooks lie between two hops, of which nothing is to be told.
    pub(super) fn are_there(&self, from: Hop, to: Hop) -> bool {
        self.over(from, to).is_some()
    }

    /// What lies between two hops.
    pub(super) fn name(&self, from: Hop, to: Hop) -> Named {
        match self.are_there(from, to) {
            true => table::by_hops(from, to, self.devices),
            false => table::name(from, to, self.devices),
        }
    }

    /// Nobody could see a socket tell that it has data: its stage is whole.
    pub(super) fn leave_whole(&mut self) {
        self.unsplit = true;
    }

    /// Hooks are missing.
    pub(super) fn are_possible(&self) -> bool {
        !self.hops.is_empty()
    }

    /// The stages between two hops where these are several, and hooks are missing between them.
    fn over(&self, from: Hop, to: Hop) -> Option<Vec<Lack>> {
        // Parts of one stage are that stage.
        let whole = table::line(from, to, self.devices).map(table::Rule::stage);
        let found = self.between(from, to, &self.hops)?;
        found
            .iter()
            .any(|(_, part)| whole != Some(part))
            .then_some(found)
    }

    /// The stages between two hops where there are some of these between them.
    fn between(&self, from: Hop, to: Hop, hops: &[Hop]) -> Option<Vec<Lack>> {
        let ways = hops.iter().filter_map(|hop| {
            let lack = |stage| (hop.event, stage);
            let before = table::line(from, *hop, self.devices)?.stage();
            let others: Vec<Hop> = (hops.iter().copied())
                .filter(|other| other.event != hop.event)
                .collect();
            let rest = match self.between(*hop, to, &others) {
                Some(further) => {
                    // What lies between two missing ones lacks both.
                    let next = further.first().map(|(_, stage)| lack(*stage));
                    next.into_iter().chain(further).collect()
                }
                None => vec![lack(table::line(*hop, to, self.devices)?.stage())],
            };
            Some([vec![lack(before)], rest].concat())
        });
        ways.max_by_key(Vec::len)
    }

    /// Adds what nothing was seen of, before and after it. `wire_unseen`: the nodes are two kernels.
    pub(super) fn add_ends(&mut self, journey: &Journey<'_>, rows: &[Row], wire_unseen: bool) {
        let unseen = |stage: &str| !rows.iter().any(|row| row.stage == stage);
        let mut ends = Vec::new();
        // What is left of the round trip is not the wire alone then.
        if wire_unseen {
            let events = [StartXmit, NetifRx, GroReceive, Receive];
            ends.extend(events.map(|event| (event, "wire")));
        }
        // The end of streams' packets, which no traffic thread stamps.
        ends.push((Copy, "socket_rx"));
        // Where no packet's way begins, none is seen before it arrives on another node.
        let edges = journey.sides.iter().flat_map(|side| &side.edges);
        let begins = |edge: &Edge| {
            let device = self.devices.get(&edge.from.device);
            matches!(edge.from.event, UserSend | Queue | StartXmit)
                && device.is_some_and(|device| device.endpoint)
        };
        if !edges.clone().any(begins) {
            let stages = table::stages_at(Queue).into_iter().chain(["wire"]);
            ends.extend(stages.map(|stage| (Queue, stage)));
        }
        ends.retain(|(event, stage)| self.missing.contains(event) && unseen(stage));
        self.absent.extend(ends);
    }

    /// Stages are absent.
    pub(super) fn any(&self) -> bool {
        !self.absent.is_empty()
    }

    /// The stages that are absent, by the hook that is missing.
    pub(super) fn by_hook(&self) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        let mut by_hook: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let parts = table::OF_SOCKET.map(|part| (DataReady, part));
        let parts = parts.iter().filter(|_| self.unsplit);
        for (event, stage) in self.absent.iter().chain(parts) {
            let hook = TRACEPOINTS.iter().find(|hook| hook.event == Some(*event));
            if let Some(hook) = hook {
                by_hook.entry(hook.name).or_default().insert(*stage);
            }
        }
        by_hook
    }
}

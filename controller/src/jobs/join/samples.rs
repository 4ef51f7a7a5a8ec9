//! Sampled stacks: of one agent on a shared kernel, of both on two.

use nettoll_core::{
    api::Stacks,
    component::{self, Component, Shares},
    hop::{Direction, Event},
};

use super::{Inputs, rounds};
use crate::jobs::sides::FinishedRun;

/// The sampling source that fires on idle CPUs too, so that shares are shares of all time;
/// hardware cycles stand still there.
const CLOCK: &str = "cpu-clock";

/// The samples of all agents. Where two sampled at different rates or by different clocks theirs
/// cannot be added, and the client's stand alone.
pub(super) fn all(finished: &FinishedRun) -> Option<Stacks> {
    let mut sampled = finished.sides().filter_map(|side| side.stacks.as_ref());
    let mut all = sampled.next()?.clone();
    for more in sampled {
        if (more.hz, &more.source) != (all.hz, &all.source) {
            continue;
        }
        all.cpus += more.cpus;
        all.stacks.extend(more.stacks.iter().cloned());
        for (reason, count) in &more.lost {
            *all.lost.entry(reason.clone()).or_default() += count;
        }
    }
    Some(all)
}

/// A run's samples by component and region.
pub(super) fn shares(inputs: &Inputs<'_>) -> Option<Shares> {
    let stacks = all(inputs.finished?)?;
    let sampled = rounds::probed(inputs.rounds);
    let bytes = if inputs.plan.test.is_stream() {
        rounds::sum(&sampled, |side| side.bytes)
    } else {
        0
    };
    let mut shares = component::shares(&stacks, bytes, payload_packets(inputs))?;
    if let Some(self_ns) = tunnels_self_ns(inputs) {
        shares.set_exact_encap(self_ns, bytes);
    }
    Some(shares)
}

/// Exact self time of the tunnels' transmit functions, of the flow's packets both ways: samples do
/// not tell the ACKs' encapsulation from the data's. `None` where none was measured, or with the
/// probe's own work in it.
fn tunnels_self_ns(inputs: &Inputs<'_>) -> Option<u64> {
    let is_tunnel = |id| {
        let mut devices = inputs.devices.iter();
        devices.any(|device| device.id == id && device.kind.is_tunnel())
    };
    let times = inputs.finished?.sides().flat_map(|side| {
        side.self_times
            .iter()
            .filter(|time| is_tunnel(time.device))
            .map(|time| side.seam_ns.map(|ns| time.without_seams(ns)))
    });
    times.reduce(|sum, ns| Some(sum? + ns?))?
}

/// Data-carrying `sk_buff`s of the direction of payload: those queued at the sender's endpoint.
fn payload_packets(inputs: &Inputs<'_>) -> u64 {
    let [client, server] = inputs.netns;
    let payload = inputs.plan.test.payload();
    let sender = match payload {
        Direction::Response => server,
        _ => client,
    };
    let at_the_sender = |device| {
        let mut ends = inputs.devices.iter().filter(|known| known.endpoint);
        ends.any(|known| known.id == device && known.id.netns == sender)
    };
    let edges = inputs
        .finished
        .iter()
        .flat_map(|finished| finished.sides())
        .flat_map(|side| &side.edges);
    edges
        .filter(|edge| edge.direction == payload && edge.from.event == Event::Queue)
        .filter(|edge| at_the_sender(edge.from.device))
        .map(|edge| edge.packets)
        .sum()
}

/// The share of samples that were not idle, where the source samples idle CPUs at all.
pub(super) fn busy_share(stacks: &Stacks) -> Option<f64> {
    if stacks.source != CLOCK {
        return None;
    }
    let Shares { components, .. } = component::shares(stacks, 0, 0)?;
    let idle = components
        .iter()
        .find(|share| share.name == Component::Idle.as_str())?;
    Some(1.0 - idle.share)
}

//! Packets that the kernel drops: where they were last, and its reason.
//!
//! Only who is dropped pays for this, so that here headers are read: an address alone is not believed.
//! Many packets end without an event, and the next one at their address may be dropped. What is
//! dropped before its first hop (by a rule, a classifier or for want of a route) has no slot; it is known
//! by its headers, and by having no device yet or that where its way begins.
//!
//! A packet may be dropped in any context: an interrupt between load and store that drops a packet
//! of the same flow, at the same place, can lose one count.

use aya_ebpf::bindings::BPF_NOEXIST;
use nettoll_agent_common::hops::{
    Config, DropCount, DropKey, EventCode, Loss, NO_DEVICE, PACKET_MOVING, PACKET_PASSED,
    PacketSlot, ProgramCode, hop_code,
};

use crate::{
    follow, headers,
    kernel::Skb,
    maps::{self, Here},
};

/// A packet is freed because nobody takes it further.
#[inline(always)]
pub(crate) fn dropped(skb: Skb, reason: u32, here: &mut Here) -> Option<()> {
    let config = maps::CONFIG.get(0)?;
    let (key, slot) = follow::packet(skb, config)?;
    let known = slot.skb == key;
    let packet = *slot;
    if known {
        slot.skb = 0;
    }
    let counted = count(skb, reason, known.then_some(&packet), config, here);
    let under_way = known && packet.state == PACKET_MOVING && follow::counted(&packet).is_some();
    if counted.is_some() || under_way {
        // In no row where its headers are not those of the flow: inside a tunnel other than VXLAN.
        here.lose(Loss::Dropped);
    }
    counted
}

/// Counts it where it is of a followed flow, and where its place is known.
#[inline(always)]
fn count(
    skb: Skb,
    reason: u32,
    packet: Option<&PacketSlot>,
    config: &'static Config,
    here: &mut Here,
) -> Option<()> {
    let sent_again = packet.is_some_and(|packet| is_sent_again(skb, packet, config));
    // Before the protocol's receive function no network header need be set.
    let unparsed = packet.is_some_and(|packet| {
        let event = packet.last & 0xF;
        !sent_again && (event == EventCode::NetifRx as u16 || event == EventCode::GroReceive as u16)
    });
    let network_header = if unparsed {
        skb.data()
    } else {
        skb.network_header()
    };
    let headers = headers::parse(network_header, config, true)?;
    // SAFETY: the value is two plain integers; a concurrent change of the map is a new run.
    let flow = *unsafe { maps::FLOW_KEYS.get(&headers.key) }?;
    let state = maps::flow_state(u32::from(flow.flow))?;
    if state.counted == 0 {
        return None;
    }
    let origin = state.origin[follow::way(flow.direction)];
    let same = packet.filter(|packet| {
        packet.generation == state.generation
            && packet.flow == flow.flow
            && packet.direction == flow.direction
            && packet.sequence == headers.sequence
            && !sent_again
    });
    let last = match same {
        Some(packet) if packet.state == PACKET_PASSED => return None,
        Some(packet) => packet.last,
        None => first_hop(skb, config, origin)?,
    };
    let bytes = headers.payload(skb, network_header)?;
    here.matched(ProgramCode::Free);
    let key = DropKey {
        reason,
        flow: flow.flow,
        direction: flow.direction,
        last,
        pad: 0,
    };
    let mut one = DropCount::default();
    if bytes == 0 {
        one.ack_packets = 1;
    } else {
        one.packets = 1;
        one.segments = u64::from(skb.segments());
        one.bytes = u64::from(bytes);
    }
    // Without room it is among the losses alone.
    let _ = add(&key, &one);
    Some(())
}

/// Whether it is where its flow's way begins, though the followed one was further on: another packet of
/// the flow, often the same bytes sent again, at the same address. TCP clones what it sends into the place
/// beside the original (`skb_clone` of an fclone), which is free again once the clone before was
/// received, often without an event.
#[inline(always)]
fn is_sent_again(skb: Skb, packet: &PacketSlot, config: &'static Config) -> bool {
    let Some(state) = follow::counted(packet) else {
        return false;
    };
    let origin = state.origin[follow::way(packet.direction)];
    if packet.last >> 4 == origin {
        return false;
    }
    let device = skb.device();
    device.ifindex() != 0
        && follow::look_up(device, device.key(config), config)
            .is_some_and(|known| known.flags != 0 && known.index == origin)
}

/// The hop before the first one of a packet that is on its way there.
#[inline(always)]
fn first_hop(skb: Skb, config: &'static Config, origin: u16) -> Option<u16> {
    let device = skb.device();
    // A read through no device is 0.
    let elsewhere = device.ifindex() != 0 && {
        let known = follow::look_up(device, device.key(config), config)?;
        known.flags == 0 || known.index != origin
    };
    (origin != NO_DEVICE && !elsewhere).then(|| hop_code(origin, EventCode::UserSend))
}

#[inline(always)]
fn add(key: &DropKey, one: &DropCount) -> Option<()> {
    let sum = match maps::DROP_COUNTS.get_ptr_mut(key) {
        Some(sum) => sum,
        None => {
            // Another CPU may be first.
            let _ = maps::DROP_COUNTS.insert(key, DropCount::default(), u64::from(BPF_NOEXIST));
            maps::DROP_COUNTS.get_ptr_mut(key)?
        }
    };
    // SAFETY: this CPU's own part of an entry of the map, which lives as long as the program.
    let sum = unsafe { &mut *sum };
    sum.packets += one.packets;
    sum.segments += one.segments;
    sum.ack_packets += one.ack_packets;
    sum.bytes += one.bytes;
    Some(())
}

//! One packet's way from hop to hop.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use nettoll_agent_common::hops::{
    BUCKETS, Config, DEVICE_ENDPOINT, DEVICE_OWN, DEVICE_PEER, DEVICE_UNDERLAY, DeviceEntry,
    EdgeCell, EventCode, FLOWS, FlowState, Loss, PACKET_DELIVERED, PACKET_MOVING, PACKET_PASSED,
    PACKET_SLOTS, PacketSlot, ProgramCode, STALE_NS, WIRE_SLOTS, WireSlot, bucket, device_slot,
    edge_key, hop_code, self_key, wire_key,
};

use crate::{
    headers,
    kernel::{Device, Skb},
    maps, nest,
};

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// A packet's key and its slot in the packet table (Fibonacci hashing; `sk_buff`s are aligned to
/// cache lines).
#[inline(always)]
fn packet(skb: Skb, config: &'static Config) -> Option<(u64, &'static mut PacketSlot)> {
    let key = skb.key(config);
    let mixed = (key >> 6).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let slot = maps::packet((mixed >> (64 - PACKET_SLOTS.trailing_zeros())) as u32)?;
    Some((key, slot))
}

#[inline(always)]
fn wire_slot(key: u64) -> u32 {
    let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (64 - WIRE_SLOTS.trailing_zeros())) as u32
}

/// The device's entry, `None` for a device that no path goes over.
#[inline(always)]
fn known(device: Device, config: &Config) -> Option<&'static DeviceEntry> {
    let (netns, ifindex) = (device.netns(), device.ifindex());
    let entry = maps::device(device_slot(netns, ifindex, config.seed))?;
    (entry.netns == netns && entry.ifindex == ifindex).then_some(&*entry)
}

/// The state of a slot's flow, where the slot is of its present registration and counted.
#[inline(always)]
fn counted(slot: &PacketSlot) -> Option<&'static mut FlowState> {
    let state = maps::flow_state(u32::from(slot.flow))?;
    (state.counted != 0 && state.generation == slot.generation).then_some(state)
}

#[inline(always)]
fn way(direction: u16) -> usize {
    core::hint::black_box(direction) as usize & 1
}

/// A packet passes a point of the kernel. `None` where it is nobody's.
#[inline(always)]
pub(crate) fn hop(skb: Skb, device: Device, event: EventCode, program: ProgramCode) -> Option<()> {
    let config = maps::CONFIG.get(0)?;
    let entry = known(device, config)?;
    let (key, slot) = packet(skb, config)?;
    if slot.skb == key
        && let Some(state) = counted(slot)
    {
        if slot.state == PACKET_PASSED && entry.flags & DEVICE_PEER != 0 {
            return None;
        }
        // A lifetime starts anew at the queue of its flow's first device: the address was freed
        // without an event and belongs to a new packet.
        let anew = event as u8 == EventCode::Queue as u8
            && state.origin[way(slot.direction)] == entry.index;
        if slot.state == PACKET_MOVING && !anew && entry.flags & DEVICE_OWN != 0 {
            return pass(slot, state, entry, device, config, event, program);
        }
    }
    begin(skb, key, slot, entry, config, event, program)
}

/// A followed packet passes a further hop.
#[inline(always)]
fn pass(
    slot: &mut PacketSlot,
    state: &mut FlowState,
    entry: &DeviceEntry,
    device: Device,
    config: &Config,
    event: EventCode,
    program: ProgramCode,
) -> Option<()> {
    let now = now_ns();
    let elapsed = now.wrapping_sub(slot.last_ns);
    if elapsed > STALE_NS {
        maps::count_loss(Loss::Stale);
        slot.skb = 0;
        return None;
    }
    let to = hop_code(entry.index, event);
    count(slot, to, elapsed);
    maps::count_match(program);
    slot.last = to;
    slot.last_ns = now;
    match event {
        EventCode::StartXmit => {
            if config.exact != 0 {
                let key = self_key(slot.flow, slot.direction, entry.index);
                nest::enter(device, now, key, slot.bytes);
            }
            if entry.flags & DEVICE_UNDERLAY != 0 && state.over_wire == 0 {
                leave_on_wire(slot, to, now);
            }
        }
        EventCode::Receive if state.terminal[way(slot.direction)] == entry.index => {
            if slot.bytes != 0 {
                state.received_ns[way(slot.direction)] = now;
            }
            slot.state = PACKET_DELIVERED;
        }
        _ => {}
    }
    Some(())
}

/// From here on the packet is known by flow and sequence.
#[inline(always)]
fn leave_on_wire(slot: &mut PacketSlot, hop: u16, now: u64) {
    let key = wire_key(slot.generation, slot.direction, slot.sequence);
    if let Some(wire) = maps::wire(wire_slot(key)) {
        if wire.key != 0 && wire.key != key && now.wrapping_sub(wire.sent_ns) < STALE_NS {
            maps::count_loss(Loss::WireTaken);
        }
        *wire = WireSlot {
            key,
            sent_ns: now,
            hop,
            segments: slot.segments,
            bytes: slot.bytes,
        };
    }
    slot.skb = 0;
}

/// An unknown packet: its way on this node may begin here.
#[inline(always)]
fn begin(
    skb: Skb,
    key: u64,
    slot: &mut PacketSlot,
    entry: &DeviceEntry,
    config: &Config,
    event: EventCode,
    program: ProgramCode,
) -> Option<()> {
    let sent = match event {
        EventCode::Queue if entry.flags & DEVICE_ENDPOINT != 0 => true,
        EventCode::NetifRx | EventCode::GroReceive | EventCode::Receive
            if entry.flags & (DEVICE_UNDERLAY | DEVICE_PEER) != 0 =>
        {
            false
        }
        _ => return None,
    };
    let now = now_ns();
    let network_header = if sent {
        skb.network_header()
    } else {
        skb.data()
    };
    let headers = headers::parse(network_header, config, !sent)?;
    // SAFETY: the value is two plain integers; a concurrent change of the map is a new run.
    let flow = *unsafe { maps::FLOW_KEYS.get(&headers.key) }?;
    let state = maps::flow_state(u32::from(flow.flow) & (FLOWS as u32 - 1))?;
    if state.counted == 0 {
        return None;
    }
    let before_network_header = network_header.wrapping_sub(skb.data()) as u32;
    let bytes = skb
        .len()
        .wrapping_sub(before_network_header)
        .wrapping_sub(headers.header_bytes);
    if bytes > i32::MAX as u32 {
        maps::count_loss(Loss::Unreadable);
        return None;
    }
    let to = hop_code(entry.index, event);
    let mut packet = PacketSlot {
        skb: key,
        last_ns: now,
        generation: state.generation,
        sequence: headers.sequence,
        bytes,
        segments: if bytes == 0 { 1 } else { skb.segments() },
        last: to,
        flow: flow.flow,
        direction: flow.direction,
        state: PACKET_MOVING,
    };
    let way = way(flow.direction);
    if sent {
        if state.origin[way] != entry.index {
            return None;
        }
        let sent_ns = state.sent_ns[way];
        if sent_ns != 0 && bytes != 0 {
            state.sent_ns[way] = 0;
            packet.last = hop_code(entry.index, EventCode::UserSend);
            count(&packet, to, now.wrapping_sub(sent_ns));
            packet.last = to;
        }
    } else if entry.flags & DEVICE_OWN == 0 {
        arrive_from_wire(&mut packet, to, now)?;
    }
    maps::count_match(program);
    if slot.skb != 0
        && slot.skb != packet.skb
        && slot.state == PACKET_MOVING
        && counted(slot).is_some()
        && now.wrapping_sub(slot.last_ns) < STALE_NS
    {
        maps::count_loss(Loss::SlotTaken);
    }
    *slot = packet;
    Some(())
}

/// The packet's first event on the other node's underlay device: the end of its wire.
#[inline(always)]
fn arrive_from_wire(packet: &mut PacketSlot, to: u16, now: u64) -> Option<()> {
    let key = wire_key(packet.generation, packet.direction, packet.sequence);
    let wire = maps::wire(wire_slot(key))?;
    if wire.key != key {
        return None;
    }
    wire.key = 0;
    packet.last = wire.hop;
    packet.segments = wire.segments;
    packet.bytes = wire.bytes;
    count(packet, to, now.wrapping_sub(wire.sent_ns));
    packet.state = PACKET_PASSED;
    Some(())
}

/// A delivered packet is copied to user space.
#[inline(always)]
pub(crate) fn copied(skb: Skb) -> Option<()> {
    let (key, slot) = packet(skb, maps::CONFIG.get(0)?)?;
    if slot.skb != key || slot.state != PACKET_DELIVERED {
        return None;
    }
    slot.skb = 0;
    counted(slot)?;
    let to = (slot.last & !0xF) | EventCode::Copy as u16;
    count(slot, to, now_ns().wrapping_sub(slot.last_ns));
    maps::count_match(ProgramCode::Copy);
    Some(())
}

/// A packet is freed.
#[inline(always)]
pub(crate) fn ended(skb: Skb, dropped: bool) -> Option<()> {
    let (key, slot) = packet(skb, maps::CONFIG.get(0)?)?;
    if slot.skb != key {
        return None;
    }
    slot.skb = 0;
    if slot.state == PACKET_MOVING && counted(slot).is_some() {
        maps::count_match(if dropped {
            ProgramCode::Free
        } else {
            ProgramCode::Consume
        });
        maps::count_loss(if dropped { Loss::Dropped } else { Loss::Merged });
    }
    Some(())
}

/// Adds a packet to the edge from its last hop to this one.
#[inline(always)]
fn count(packet: &PacketSlot, to: u16, elapsed: u64) {
    let key = edge_key(
        packet.flow,
        packet.direction,
        packet.segments > 1,
        packet.last,
        to,
    );
    let Some(cell) = edge(key) else {
        maps::count_loss(Loss::EdgesFull);
        return;
    };
    if packet.bytes == 0 {
        cell.ack_packets += 1;
        return;
    }
    cell.packets += 1;
    cell.segments += u64::from(packet.segments);
    cell.bytes += u64::from(packet.bytes);
    cell.sum_ns += elapsed;
    // The black box keeps the bound that the verifier wants.
    let index = core::hint::black_box(bucket(elapsed)) as usize;
    if index < BUCKETS {
        cell.histogram[index] += 1;
    }
}

/// The edge's cell on this CPU, made where it is new.
#[inline(always)]
fn edge(key: u32) -> Option<&'static mut EdgeCell> {
    let cell = match maps::EDGE_CELLS.get_ptr_mut(key) {
        Some(cell) => cell,
        None => {
            let empty = maps::NEW_EDGE.get(0)?;
            // Another CPU may have made it meanwhile: then there is one.
            let _ = maps::EDGE_CELLS.insert(key, empty, 1 /* BPF_NOEXIST */);
            maps::EDGE_CELLS.get_ptr_mut(key)?
        }
    };
    // SAFETY: per CPU. The same edge can be counted in process context and in a softirq that
    // interrupts it: an increment can be lost then, at worst.
    Some(unsafe { &mut *cell })
}

//! One packet's way from hop to hop.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use nettoll_agent_common::hops::{
    BUCKETS, Config, DEVICE_CACHE, DEVICE_ENDPOINT, DEVICE_ENTRY, DEVICE_OWN, DEVICE_PEER,
    DEVICE_TUNNEL, DEVICE_UNDERLAY, EventCode, FRAME_TUNNEL, FlowState, KnownDevice, Loss,
    PACKET_DELIVERED, PACKET_MOVING, PACKET_PASSED, PACKET_SLOTS, PacketSlot, ProgramCode,
    STALE_NS, WIRE_SLOTS, WireSlot, bucket, device_slot, edge_key, hop_code, self_key, wire_key,
};

use crate::{
    headers,
    kernel::{Device, Skb},
    maps::{self, Here},
    nest, trail,
};

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// A packet's key and its slot in the packet table (Fibonacci hashing; `sk_buff`s are aligned to
/// cache lines).
#[inline(always)]
pub(crate) fn packet(skb: Skb, config: &'static Config) -> Option<(u64, &'static mut PacketSlot)> {
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

/// The device, by this CPU's cache; `None` for one that no path goes over.
#[inline(always)]
fn known(device: Device, config: &'static Config, here: &Here) -> Option<&'static KnownDevice> {
    let key = device.key(config);
    let mixed = (key >> 5).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let known = here.known_device((mixed >> (64 - DEVICE_CACHE.trailing_zeros())) as u32)?;
    if known.key != key || known.generation != config.generation {
        *known = look_up(device, key, config)?;
    }
    (known.flags != 0).then_some(&*known)
}

/// The device, by the table.
#[inline(always)]
pub(crate) fn look_up(device: Device, key: u64, config: &Config) -> Option<KnownDevice> {
    let (netns, ifindex) = (device.netns(), device.ifindex());
    let entry = maps::device(device_slot(netns, ifindex, config.seed))?;
    let (index, flags) = if entry.netns == netns && entry.ifindex == ifindex {
        (entry.index, entry.flags)
    } else {
        (0, 0)
    };
    Some(KnownDevice {
        key,
        generation: config.generation,
        index,
        flags,
    })
}

/// The state of a slot's flow, where the slot is of its present registration and counted.
#[inline(always)]
pub(crate) fn counted(slot: &PacketSlot) -> Option<&'static mut FlowState> {
    let state = maps::flow_state(u32::from(slot.flow))?;
    (state.counted != 0 && state.generation == slot.generation).then_some(state)
}

/// A direction as an index.
#[inline(always)]
pub(crate) fn way(direction: u16) -> usize {
    core::hint::black_box(direction) as usize & 1
}

/// What a hook is on a packet's way, beside a point of it.
#[derive(Clone, Copy)]
pub(crate) struct Role {
    /// The way begins there, on its sender's device.
    begins: bool,
    /// It leaves this node there, on the underlay device.
    leaves: bool,
    /// It ends there, on its receiver's device.
    ends: bool,
}

impl Role {
    pub(crate) const PASSES: Self = Self {
        begins: false,
        leaves: false,
        ends: false,
    };
    pub(crate) const BEGINS: Self = Self {
        begins: true,
        ..Self::PASSES
    };
    pub(crate) const LEAVES: Self = Self {
        leaves: true,
        ..Self::PASSES
    };
    pub(crate) const ENDS: Self = Self {
        ends: true,
        ..Self::PASSES
    };
    pub(crate) const BEGINS_AND_LEAVES: Self = Self {
        leaves: true,
        ..Self::BEGINS
    };
}

/// Which point a packet passes.
struct Point<'a> {
    config: &'static Config,
    device: &'static KnownDevice,
    event: EventCode,
    role: Role,
    /// The hop's code in edge keys.
    code: u16,
    /// A stamp from the program's very beginning; 0 for none.
    early_ns: u64,
    here: &'a mut Here,
}

impl Point<'_> {
    #[inline(always)]
    fn on(&self, flags: u16) -> bool {
        self.device.flags & flags != 0
    }

    /// It is where packets come in on the underlay device, and no later than that hop there.
    #[inline(always)]
    fn comes_in_after(&self, last: u16) -> bool {
        let received = matches!(
            self.event,
            EventCode::NetifRx | EventCode::GroReceive | EventCode::Receive
        );
        let here = last >> 4 == self.device.index;
        // A bridge that is itself the underlay device hands up what its port received.
        let handed_up = !here && is(self.event, EventCode::Receive) && of(last, EventCode::Receive);
        let same = handed_up || here && last < self.code;
        received && self.on(DEVICE_UNDERLAY) && !same
    }

    #[inline(always)]
    fn lose(&mut self, reason: Loss) {
        self.here.lose(reason);
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        if self.early_ns != 0 {
            self.early_ns
        } else {
            now_ns()
        }
    }

    /// A hop was stored. The programs are numbered so that the event gives the program.
    #[inline(always)]
    fn matched(&mut self) {
        self.here.matched(program_of(self.event));
    }
}

#[inline(always)]
fn program_of(event: EventCode) -> ProgramCode {
    match event {
        EventCode::UserSend | EventCode::Queue => ProgramCode::Queue,
        EventCode::StartXmit => ProgramCode::StartXmit,
        EventCode::NetifRx => ProgramCode::NetifRx,
        EventCode::GroReceive => ProgramCode::GroReceive,
        EventCode::Receive => ProgramCode::Receive,
        EventCode::Copy => ProgramCode::Copy,
    }
}

#[inline(always)]
fn is(event: EventCode, other: EventCode) -> bool {
    event as u8 == other as u8
}

/// Whether a hop's code is of that event.
#[inline(always)]
fn of(hop: u16, event: EventCode) -> bool {
    hop & 0xF == event as u16
}

/// A packet passes a point of the kernel. `None` where it is nobody's. `early_ns` is a stamp from
/// the program's very beginning, 0 where there is none.
#[inline(always)]
pub(crate) fn hop(
    skb: Skb,
    device: Device,
    event: EventCode,
    role: Role,
    early_ns: u64,
    here: &mut Here,
) -> Option<()> {
    let config = maps::CONFIG.get(0)?;
    let device = known(device, config, here)?;
    let code = hop_code(device.index, event);
    let mut point = Point {
        config,
        device,
        event,
        role,
        code,
        early_ns,
        here,
    };
    let (key, slot) = packet(skb, config)?;
    if slot.skb == key
        && let Some(state) = counted(slot)
    {
        // The same packet further up the receive path. The events' numbers follow its order: the
        // same event once more is a new packet at an address that was freed meanwhile.
        if slot.state == PACKET_PASSED && point.on(DEVICE_PEER) && slot.last < point.code {
            slot.last = point.code;
            return None;
        }
        // A lifetime starts anew where packets of its flow come in, from either end or the wire: the
        // address was freed without an event and belongs to a new packet.
        let from_end = role.begins && state.origin.contains(&device.index);
        let from_wire = state.over_wire == 0 && point.comes_in_after(slot.last);
        if slot.state == PACKET_MOVING {
            if !from_end && !from_wire && point.on(DEVICE_OWN) {
                return pass(slot, state, &mut point);
            }
            if from_wire {
                // What GRO merged into another packet ends without an event.
                if of(slot.last, EventCode::GroReceive) {
                    point.lose(Loss::Merged);
                } else {
                    point.lose(Loss::Stale);
                }
            }
            if from_end || from_wire {
                slot.skb = 0;
            }
        }
    }
    begin(skb, key, slot, &mut point)
}

/// A followed packet passes a further hop.
#[inline(always)]
fn pass(slot: &mut PacketSlot, state: &mut FlowState, point: &mut Point<'_>) -> Option<()> {
    let now = point.now_ns();
    let elapsed = now.wrapping_sub(slot.last_ns);
    if elapsed > STALE_NS {
        point.lose(Loss::Stale);
        slot.skb = 0;
        return None;
    }
    count(slot, point.code, elapsed, point.here);
    trail::append(slot, state, point.code, now);
    point.matched();
    slot.last = point.code;
    slot.last_ns = now;
    transmit(slot, state, now, point);
    deliver(slot, state, point);
    Some(())
}

/// A transmit function is called for a packet, or its way on this node ends for other reasons.
#[inline(always)]
fn transmit(slot: &mut PacketSlot, state: &FlowState, now: u64, point: &mut Point<'_>) {
    if is(point.event, EventCode::StartXmit) && point.config.exact != 0 {
        let key = self_key(slot.flow, slot.direction, point.device.index);
        if point.on(DEVICE_TUNNEL) {
            // What this program took belongs to no one's self time.
            nest::enter(
                point.here.nest,
                point.device.key,
                now_ns(),
                key | FRAME_TUNNEL,
                slot.bytes,
            );
        } else {
            nest::enter(point.here.nest, point.device.key, now, key, slot.bytes);
        }
    }
    if point.role.leaves && point.on(DEVICE_UNDERLAY) && state.over_wire == 0 {
        leave_on_wire(slot, now, point);
    }
}

/// A packet's way ends at the receive on its flow's last device, where this is one.
#[inline(always)]
fn deliver(packet: &mut PacketSlot, state: &mut FlowState, point: &mut Point<'_>) {
    if !point.role.ends {
        return;
    }
    let way = way(packet.direction);
    if state.terminal[way] == point.device.index {
        if packet.bytes != 0 {
            state.received_ns[way] = packet.last_ns;
            *point.here.delivered += 1;
        }
        packet.state = PACKET_DELIVERED;
    }
}

/// From here on the packet is known by flow and sequence.
#[inline(always)]
fn leave_on_wire(slot: &mut PacketSlot, now: u64, point: &mut Point<'_>) {
    let key = wire_key(slot.generation, slot.direction, slot.sequence);
    if let Some(wire) = maps::wire(wire_slot(key)) {
        if wire.key != 0 && wire.key != key && now.wrapping_sub(wire.sent_ns) < STALE_NS {
            point.lose(Loss::WireTaken);
        }
        *wire = WireSlot {
            key,
            sent_ns: now,
            hop: point.code,
            segments: slot.segments,
            bytes: slot.bytes,
        };
    }
    slot.skb = 0;
}

/// An unknown packet: its way on this node may begin here.
#[inline(always)]
fn begin(skb: Skb, key: u64, slot: &mut PacketSlot, point: &mut Point<'_>) -> Option<()> {
    let sent = point.role.begins;
    let begins = match point.event {
        _ if sent => DEVICE_ENDPOINT,
        EventCode::NetifRx | EventCode::GroReceive | EventCode::Receive => {
            DEVICE_UNDERLAY | DEVICE_PEER | DEVICE_ENTRY
        }
        EventCode::UserSend | EventCode::Queue | EventCode::StartXmit | EventCode::Copy => 0,
    };
    if !point.on(begins) {
        return None;
    }
    let now = now_ns();
    let network_header = if sent {
        skb.network_header()
    } else {
        skb.data()
    };
    let headers = headers::parse(network_header, point.config, !sent)?;
    // SAFETY: the value is two plain integers; a concurrent change of the map is a new run.
    let flow = *unsafe { maps::FLOW_KEYS.get(&headers.key) }?;
    let state = maps::flow_state(u32::from(flow.flow))?;
    let way = way(flow.direction);
    if state.counted == 0 || (sent && state.origin[way] != point.device.index) {
        return None;
    }
    let Some(bytes) = headers.payload(skb, network_header) else {
        point.lose(Loss::Unreadable);
        return None;
    };
    let mut packet = PacketSlot {
        skb: key,
        last_ns: now,
        generation: state.generation,
        sequence: headers.sequence,
        bytes,
        segments: if bytes == 0 { 1 } else { skb.segments() },
        last: point.code,
        flow: flow.flow,
        direction: flow.direction,
        state: PACKET_MOVING,
    };
    if sent {
        let sent_ns = state.sent_ns[way];
        if sent_ns != 0 && bytes != 0 {
            state.sent_ns[way] = 0;
            packet.last = hop_code(point.device.index, EventCode::UserSend);
            count(&packet, point.code, now.wrapping_sub(sent_ns), point.here);
            packet.last = point.code;
        }
    } else if !point.on(DEVICE_OWN) {
        arrive_from_wire(&mut packet, now, point)?;
    } else {
        // Some drivers have no event before this one (TUN, TAP).
        deliver(&mut packet, state, point);
    }
    trail::append(&packet, state, point.code, now);
    point.matched();
    if slot.skb != 0
        && slot.skb != key
        && slot.state == PACKET_MOVING
        && counted(slot).is_some()
        && now.wrapping_sub(slot.last_ns) < STALE_NS
    {
        point.lose(Loss::SlotTaken);
    }
    *slot = packet;
    if sent {
        transmit(slot, state, now, point);
    }
    Some(())
}

/// The packet's first event on the other node's underlay device: the end of its wire.
#[inline(always)]
fn arrive_from_wire(packet: &mut PacketSlot, now: u64, point: &mut Point<'_>) -> Option<()> {
    let key = wire_key(packet.generation, packet.direction, packet.sequence);
    let wire = maps::wire(wire_slot(key))?;
    if wire.key != key {
        return None;
    }
    wire.key = 0;
    packet.last = wire.hop;
    packet.segments = wire.segments;
    packet.bytes = wire.bytes;
    count(
        packet,
        point.code,
        now.wrapping_sub(wire.sent_ns),
        point.here,
    );
    packet.last = point.code;
    packet.state = PACKET_PASSED;
    Some(())
}

/// A delivered packet is copied to user space.
#[inline(always)]
pub(crate) fn copied(skb: Skb, here: &mut Here) -> Option<()> {
    let (key, slot) = packet(skb, maps::CONFIG.get(0)?)?;
    if slot.skb != key || slot.state != PACKET_DELIVERED {
        return None;
    }
    slot.skb = 0;
    counted(slot)?;
    let to = (slot.last & !0xF) | EventCode::Copy as u16;
    count(slot, to, now_ns().wrapping_sub(slot.last_ns), here);
    here.matched(ProgramCode::Copy);
    Some(())
}

/// A packet is done; on its way it was merged into another one.
#[inline(always)]
pub(crate) fn consumed(skb: Skb, here: &mut Here) -> Option<()> {
    let (key, slot) = packet(skb, maps::CONFIG.get(0)?)?;
    if slot.skb != key {
        return None;
    }
    slot.skb = 0;
    if slot.state == PACKET_MOVING {
        counted(slot)?;
        here.lose(Loss::Merged);
    }
    Some(())
}

/// Adds a packet to the edge from its last hop to this one.
#[inline(always)]
fn count(packet: &PacketSlot, to: u16, elapsed: u64, here: &mut Here) {
    let key = edge_key(
        packet.flow,
        packet.direction,
        packet.segments > 1,
        packet.last,
        to,
    );
    let Some(cell) = maps::edge(here, key) else {
        here.lose(Loss::EdgesFull);
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

//! What is counted between two hops.

/// Cells that one CPU has for edges of all flows, and as many for self times, a power of two.
pub const CELLS: usize = 512;
/// Places where a key's cell can be, one after the other: so many that all edges of a group of
/// runs (some 160) find one, with ample room.
pub const PLACES: u32 = 32;
/// Buckets of a histogram: 8 for each octave, times up to 2³⁶ ns (68 s).
pub const BUCKETS: usize = 272;
/// Buckets for each octave, as a power of two.
pub const SUB_BITS: u32 = 3;

/// The bucket of a time: exact below 16 ns, then 8 for each octave (HDR layout). The exponent is
/// searched by halves because BPF has no instruction that counts leading zeros.
#[inline(always)]
#[must_use]
pub const fn bucket(ns: u64) -> u32 {
    if ns >> 36 != 0 {
        return BUCKETS as u32 - 1;
    }
    let mut rest = ns;
    let mut shift = 0;
    if rest >> 20 != 0 {
        rest >>= 16;
        shift += 16;
    }
    if rest >> 12 != 0 {
        rest >>= 8;
        shift += 8;
    }
    if rest >> 8 != 0 {
        rest >>= 4;
        shift += 4;
    }
    if rest >> 6 != 0 {
        rest >>= 2;
        shift += 2;
    }
    if rest >> 5 != 0 {
        rest >>= 1;
        shift += 1;
    }
    if rest >> 4 != 0 {
        rest >>= 1;
        shift += 1;
    }
    (shift << SUB_BITS) + rest as u32
}

/// The events, as numbered in edge keys.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventCode {
    /// The traffic thread's stamp before its send call.
    UserSend = 0,
    /// `net_dev_queue`.
    Queue = 1,
    /// `net_dev_start_xmit`.
    StartXmit = 2,
    /// `netif_rx`.
    NetifRx = 3,
    /// `napi_gro_receive_entry`.
    GroReceive = 4,
    /// `netif_receive_skb`.
    Receive = 5,
    /// `skb_copy_datagram_iovec`.
    Copy = 6,
}

/// A hop: device index and event.
#[inline(always)]
#[must_use]
pub const fn hop_code(device: u16, event: EventCode) -> u16 {
    (device << 4) | event as u16
}

/// The key of an edge: flow (6 bits), direction, many segments, earlier hop (12), later hop (12).
#[inline(always)]
#[must_use]
pub const fn edge_key(flow: u16, direction: u16, many: bool, from: u16, to: u16) -> u32 {
    ((flow as u32 & 63) << 26)
        | ((direction as u32 & 1) << 25)
        | ((many as u32) << 24)
        | ((from as u32 & 0xFFF) << 12)
        | (to as u32 & 0xFFF)
}

/// Where a key's cell is looked for first.
#[inline(always)]
#[must_use]
pub const fn first_place(key: u32) -> u32 {
    key.wrapping_mul(0x9E37_79B1) >> (32 - CELLS.trailing_zeros())
}

/// What is counted of an edge on one CPU. Cells are an open-addressed table: there is no helper
/// call in looking one up.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeCell {
    /// [`edge_key`]; 0 for an empty cell (no edge ends in [`EventCode::UserSend`]).
    pub key: u32,
    /// Keeps the alignment.
    pub pad: u32,
    /// Data-carrying `sk_buff`s.
    pub packets: u64,
    /// Wire packets in them.
    pub segments: u64,
    /// Packets without payload.
    pub ack_packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Sum of the times.
    pub sum_ns: u64,
    /// Times, by [`bucket`].
    pub histogram: [u32; BUCKETS],
    /// Fills the cache line.
    pub fill: [u64; 2],
}

impl Default for EdgeCell {
    /// An empty cell.
    fn default() -> Self {
        Self {
            key: 0,
            pad: 0,
            packets: 0,
            segments: 0,
            ack_packets: 0,
            bytes: 0,
            sum_ns: 0,
            histogram: [0; BUCKETS],
            fill: [0; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_monotonic_and_within_an_eighth() {
        let mut last = 0;
        for ns in 0..100_000_u64 {
            let index = bucket(ns);
            assert!(index == last || index == last + 1, "{ns}");
            last = index;
        }
        assert_eq!(bucket(15), 15);
        assert_eq!(bucket(16), 16);
        assert_eq!(bucket(17), 16);
        assert_eq!(bucket(u64::MAX), BUCKETS as u32 - 1);
        assert_eq!(bucket((1 << 36) - 1), BUCKETS as u32 - 1);
    }

    /// Puts a key where the programs would; false where there is no room.
    fn place(cells: &mut [u32; CELLS], key: u32) -> bool {
        let first = first_place(key);
        (first..first + PLACES).any(|place| {
            let cell = &mut cells[place as usize % CELLS];
            if *cell == 0 {
                *cell = key;
            }
            *cell == key
        })
    }

    #[test]
    fn all_edges_of_a_group_of_runs_find_a_place() {
        const FLOWS: u16 = 4;
        const HOPS: usize = 12;
        let mut state = 1_u32;
        for _ in 0..2_000 {
            let mut cells = [0; CELLS];
            for flow in 0..FLOWS {
                for direction in 0..2 {
                    // Any devices, in any order.
                    let hops = [(); HOPS + 1].map(|()| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        ((state >> 16) as u16 % 24) << 4 | (1 + (state >> 28) as u16 % 6)
                    });
                    for edge in hops.windows(2) {
                        for many in [false, true] {
                            let key = edge_key(flow, direction, many, edge[0], edge[1]);
                            assert!(place(&mut cells, key), "no room for {key:#x}");
                        }
                    }
                }
            }
        }
    }
}

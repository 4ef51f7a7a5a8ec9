//! What the kernel dropped, and what it calls the reasons.

use aya::maps::{MapData, PerCpuHashMap};
use nettoll_agent_common::hops::{DropCount, DropKey, NO_REASON};
use nettoll_core::{hop::Dropped, kernel::DropReasons};

use super::{
    ProbeError,
    counts::{direction, hop},
    devices::Devices,
};

/// The table of drops.
pub(super) struct Drops {
    counts: PerCpuHashMap<MapData, DropKey, DropCount>,
    /// `None` where the kernel tells none.
    reasons: Option<DropReasons>,
}

impl Drops {
    pub(super) fn new(
        map: aya::maps::Map,
        reasons: Option<DropReasons>,
    ) -> Result<Self, ProbeError> {
        Ok(Self {
            counts: map.try_into()?,
            reasons,
        })
    }

    /// What was dropped of a flow.
    pub(super) fn of(&self, flow: u16, devices: &Devices) -> Result<Vec<Dropped>, ProbeError> {
        let mut drops = Vec::new();
        for key in self.keys(flow)? {
            let Some(last) = hop(key.last.into(), devices) else {
                continue;
            };
            let mut count = DropCount::default();
            for cpu in self.counts.get(&key, 0)?.iter() {
                count.packets += cpu.packets;
                count.segments += cpu.segments;
                count.ack_packets += cpu.ack_packets;
                count.bytes += cpu.bytes;
            }
            let name = |reasons: &DropReasons| reasons.name(key.reason);
            drops.push(Dropped {
                direction: direction(key.direction.into()),
                last,
                reason: (self.reasons.as_ref())
                    .filter(|_| key.reason != NO_REASON)
                    .map(name),
                packets: count.packets,
                segments: count.segments,
                ack_packets: count.ack_packets,
                bytes: count.bytes,
            });
        }
        Ok(drops)
    }

    /// Forgets what was counted of a flow, of which nothing may be counted any more.
    pub(super) fn clear(&mut self, flow: u16) -> Result<(), ProbeError> {
        for key in self.keys(flow)? {
            self.counts.remove(&key)?;
        }
        Ok(())
    }

    fn keys(&self, flow: u16) -> Result<Vec<DropKey>, ProbeError> {
        let keys = self.counts.keys().filter(|key| match key {
            Ok(key) => key.flow == flow,
            Err(_) => true,
        });
        Ok(keys.collect::<Result<_, _>>()?)
    }
}

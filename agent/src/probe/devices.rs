//! The device table: direct-mapped under a seed with which no two devices collide.

use std::collections::{BTreeMap, BTreeSet};

use nettoll_agent_common::hops::{DEVICE_SLOTS, DeviceEntry, device_slot};
use nettoll_core::device::{Device, DeviceId, DeviceKind};

/// Devices have 8 bits in an edge's key.
pub(crate) const MAX_DEVICES: usize = 255;
/// Tries for a seed. 255 devices in 16,384 slots: about exp(−255²/2/16384), one seed in seven,
/// has no collision.
const MAX_SEEDS: u32 = 1_000;

/// The devices that all followed flows pass, with the union of their flags.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    entries: BTreeMap<DeviceId, (u16, u16)>,
    /// UDP ports of tunnels, by kind.
    ports: BTreeSet<(DeviceKind, u16)>,
    next: u16,
}

impl Devices {
    /// Adds a device or flags of it; its index, `None` where the table is full.
    pub(crate) fn add(&mut self, id: DeviceId, flags: u16) -> Option<u16> {
        if let Some((index, known)) = self.entries.get_mut(&id) {
            *known |= flags;
            return Some(*index);
        }
        if usize::from(self.next) >= MAX_DEVICES {
            return None;
        }
        let index = self.next;
        self.next += 1;
        self.entries.insert(id, (index, flags));
        Some(index)
    }

    /// Learns the UDP port of a tunnel, its own node's or another's.
    pub(crate) fn learn(&mut self, device: &Device) {
        let port = device.tunnel_port.map(|port| (device.kind, port));
        self.ports.extend(port);
    }

    /// The first two UDP ports of tunnels of a kind; 0 for none.
    pub(crate) fn ports(&self, kind: DeviceKind) -> [u16; 2] {
        let mut ports = self.ports.iter().filter(|(of, _)| *of == kind);
        [(); 2].map(|()| ports.next().map_or(0, |(_, port)| *port))
    }

    /// Forgets all devices (when no flow is followed).
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The device of an index in an edge's key.
    pub(crate) fn id(&self, index: u16) -> Option<DeviceId> {
        self.entries
            .iter()
            .find(|(_, (known, _))| *known == index)
            .map(|(id, _)| *id)
    }

    /// A seed and the entries under it; `None` where no seed was found.
    pub(crate) fn place(&self) -> Option<(u32, Vec<(u32, DeviceEntry)>)> {
        (0..MAX_SEEDS).find_map(|number| {
            let seed = number.wrapping_mul(0x85EB_CA6B);
            let mut taken = vec![false; DEVICE_SLOTS];
            let mut placed = Vec::with_capacity(self.entries.len());
            for (id, (index, flags)) in &self.entries {
                let slot = device_slot(id.netns, id.ifindex, seed);
                if std::mem::replace(&mut taken[slot as usize], true) {
                    return None;
                }
                let entry = DeviceEntry {
                    netns: id.netns,
                    ifindex: id.ifindex,
                    index: *index,
                    flags: *flags,
                };
                placed.push((slot, entry));
            }
            Some((seed, placed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_of_all_devices_until_none_is_followed() {
        let mut devices = Devices::default();
        for port in [(DeviceKind::Vxlan, 8472), (DeviceKind::Geneve, 6081)] {
            devices.ports.insert(port);
        }
        assert_eq!(devices.ports(DeviceKind::Vxlan), [8472, 0]);
        assert_eq!(devices.ports(DeviceKind::Geneve), [6081, 0]);
        devices.clear();
        assert_eq!(devices.ports(DeviceKind::Vxlan), [0, 0]);
    }

    #[test]
    fn every_device_has_a_slot_of_its_own() {
        let mut devices = Devices::default();
        for netns in 0..80 {
            for ifindex in 1..4 {
                devices
                    .add(
                        DeviceId {
                            netns: 4_026_532_000 + netns,
                            ifindex,
                        },
                        1,
                    )
                    .unwrap();
            }
        }
        let (seed, placed) = devices.place().unwrap();
        assert_eq!(placed.len(), 240);
        for (slot, entry) in placed {
            assert_eq!(slot, device_slot(entry.netns, entry.ifindex, seed));
        }
    }
}

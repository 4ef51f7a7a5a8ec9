//! Which packets the programs follow: a flow's keys, the devices on its way, and where it begins and
//! ends.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
};

use aya::maps::MapError;
use nettoll_agent_common::hops::{
    DEVICE_ENDPOINT, DEVICE_ENTRY, DEVICE_OWN, DEVICE_PEER, DEVICE_TUNNEL, DEVICE_UNDERLAY, FLOWS,
    FlowKey, FlowRef, NO_DEVICE,
};
use nettoll_core::{
    api::{Flow, Protocol},
    device::{Device, DeviceKind},
};

use super::{FlowId, Probe, ProbeError, Way, devices::MAX_DEVICES};

impl Probe {
    /// Follows a flow over the devices of the way's `nodes`, and to the first event on another
    /// node's underlay device (the end of `wire`).
    pub(crate) fn follow(&mut self, flow: &Flow, way: &Way<'_>) -> Result<FlowId, ProbeError> {
        let free = (0..FLOWS as u16).find(|index| !self.flows.contains_key(index));
        let index = free.ok_or(ProbeError::TooManyFlows)?;
        let ours = |device: &Device| way.nodes.contains(&device.node);
        // Where packets begin and end, at the client and at the server.
        let (mut begin, mut end) = ([NO_DEVICE; 2], [NO_DEVICE; 2]);
        for device in way.within(MAX_DEVICES) {
            self.devices.learn(device);
            let encrypts = device.kind == DeviceKind::Wireguard;
            let flags = if ours(device) {
                let also = [
                    (device.endpoint, DEVICE_ENDPOINT),
                    (device.underlay, DEVICE_UNDERLAY),
                    (device.kind.is_tunnel(), DEVICE_TUNNEL),
                    (encrypts, DEVICE_ENTRY),
                ];
                let also = also.iter().filter(|(so, _)| *so);
                also.fold(DEVICE_OWN, |flags, (_, flag)| flags | flag)
            } else if device.underlay || encrypts {
                DEVICE_PEER
            } else {
                continue;
            };
            let number = self
                .devices
                .add(device.id, flags)
                .ok_or(ProbeError::TooManyDevices)?;
            for (at, netns) in [way.client, way.server].into_iter().enumerate() {
                if ours(device) && device.id.netns == netns {
                    if device.endpoint {
                        begin[at] = number;
                    }
                    if device.arrival {
                        end[at] = number;
                    }
                }
            }
        }
        self.generation += 1;
        self.write_devices()?;

        // Rules that give a flow another client's address give it that of the device by which it
        // leaves, and answers come back there.
        if flow.at_client.client.ip() != flow.at_server.client.ip() {
            end[0] = begin[0];
        }
        let state = self.states.get(index.into());
        state.counted.store(0, Ordering::Release);
        let ways = state.origin.iter().zip(&state.terminal);
        for ((origin, terminal), (begin, end)) in ways.zip(begin.iter().zip(end.iter().rev())) {
            origin.store(*begin, Ordering::Relaxed);
            terminal.store(*end, Ordering::Relaxed);
        }
        let whole = !begin.contains(&NO_DEVICE);
        state.over_wire.store(whole.into(), Ordering::Relaxed);
        state.trail.store(0, Ordering::Relaxed);
        self.states.trails.clear(index.into());
        state.generation.store(self.generation, Ordering::Release);

        let keys = flow_keys(flow);
        // Known from here on, so that a key that does not fit leaves none behind.
        self.flows
            .insert(index, keys.iter().map(|(key, _)| *key).collect());
        for (key, direction) in &keys {
            let entry = FlowRef {
                flow: index,
                direction: *direction,
            };
            if let Err(error) = self.flow_table.insert(key, entry, 0) {
                self.unfollow(FlowId(index))?;
                return Err(error.into());
            }
        }
        Ok(FlowId(index))
    }

    /// Ends following; the flow's counts are gone.
    pub(crate) fn unfollow(&mut self, flow: FlowId) -> Result<(), ProbeError> {
        let state = self.states.get(flow.0.into());
        state.counted.store(0, Ordering::Release);
        for key in self.flows.remove(&flow.0).into_iter().flatten() {
            ignore_missing(self.flow_table.remove(&key))?;
        }
        if self.flows.is_empty() {
            self.devices.clear();
        }
        self.counts.clear(flow.0);
        self.drops.clear(flow.0)
    }
}

/// The keys of a flow, each with its direction. Wherever on its way a packet is met first, it has the
/// addresses of one of these.
fn flow_keys(flow: &Flow) -> Vec<(FlowKey, u16)> {
    let mut tuples = vec![flow.at_client];
    for tuple in [Some(flow.at_server), flow.between].into_iter().flatten() {
        if !tuples.contains(&tuple) {
            tuples.push(tuple);
        }
    }
    let keys = tuples.iter().flat_map(|it| {
        [
            (flow_key(it.protocol, it.client, it.server), 0),
            (flow_key(it.protocol, it.server, it.client), 1),
        ]
    });
    keys.collect()
}

/// One direction's key.
fn flow_key(protocol: Protocol, from: SocketAddr, to: SocketAddr) -> FlowKey {
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    FlowKey {
        source: octets(from),
        destination: octets(to),
        source_port: from.port(),
        destination_port: to.port(),
        protocol: match protocol {
            Protocol::Tcp => libc::IPPROTO_TCP as u32,
            Protocol::Udp => libc::IPPROTO_UDP as u32,
        },
    }
}

/// Removing what is not there is no error.
fn ignore_missing(result: Result<(), MapError>) -> Result<(), ProbeError> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use nettoll_core::api::FlowTuple;

    use super::*;

    #[test]
    fn a_flow_is_known_by_the_addresses_of_both_its_ends() {
        let tuple = |client: &str, server: &str| FlowTuple {
            protocol: Protocol::Tcp,
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
        };
        let at_client = tuple("198.18.1.2:40000", "198.18.128.1:80");
        let at_server = tuple("198.18.1.1:50000", "198.18.1.2:9489");
        let translated = flow_keys(&Flow {
            at_client,
            at_server,
            between: Some(at_server),
        });
        let ports = |keys: &[(FlowKey, u16)]| -> Vec<_> {
            keys.iter()
                .map(|(key, direction)| (key.source_port, key.destination_port, *direction))
                .collect()
        };
        assert_eq!(
            ports(&translated),
            [
                (40_000, 80, 0),
                (80, 40_000, 1),
                (50_000, 9489, 0),
                (9489, 50_000, 1)
            ]
        );
        assert_eq!(translated[3].0.destination[12..], [198, 18, 1, 1]);
        let plain = flow_keys(&Flow::from(at_client));
        assert_eq!(ports(&plain), [(40_000, 80, 0), (80, 40_000, 1)]);
    }
}

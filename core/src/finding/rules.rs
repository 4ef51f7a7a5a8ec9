//! The rules. What an offload does is in the kernel's `Documentation/networking/segmentation-offloads.rst`
//! and `checksum-offloads.rst`.

use super::{Finding, Severity, Way};
use crate::{device::DeviceKind, report::DeviceContext};

/// Bytes that VXLAN puts before an inner IP packet over IPv4: outer IP 20, UDP 8, VXLAN 8, and the
/// inner Ethernet header 14.
const VXLAN_BYTES: u32 = 50;
/// An unused rest of the underlay's MTU that is worth a word.
const WORTH_BYTES: u32 = 100;

/// Bytes of IPv4's and TCP's headers without options.
const TCP_IP_BYTES: u32 = 40;

/// What is found on one side. `mss`: the largest segment that TCP made on the path, if it was seen.
pub(super) fn of_side(way: &Way<'_>, mss: Option<u32>) -> Vec<Finding> {
    let mut found = Vec::new();
    for tunnel in way.tunnels() {
        found.extend(segmented_before_encapsulation(tunnel));
        found.extend(checksums_before_encapsulation(tunnel));
        found.extend(not_merged(tunnel));
        for endpoint in way.pod() {
            found.extend(larger_than_the_tunnel(endpoint, tunnel, mss));
        }
        for underlay in way.underlay() {
            found.extend(segmented_in_software(underlay, tunnel));
            found.extend(fragmented(underlay, tunnel));
            found.extend(unused(underlay, tunnel));
        }
    }
    for device in way.devices.iter().filter(|device| !device.kind.is_tunnel()) {
        found.extend(segmented_by_the_stack(device));
    }
    let cards = way
        .underlay()
        .filter(|card| card.kind == DeviceKind::Physical);
    found.extend(cards.filter_map(not_merged));
    found
}

/// What is found by comparing both sides.
pub(super) fn of_both(ways: &[Way<'_>]) -> Option<Finding> {
    let [client, server] = ways else {
        return None;
    };
    // Like with like: a pod behind a tunnel and a node must differ.
    let pods = client.pod().next().zip(server.pod().next());
    let nodes = client.underlay().next().zip(server.underlay().next());
    let mut pairs = [pods, nodes].into_iter().flatten();
    let (ours, theirs) = pairs.find(|(ours, theirs)| ours.mtu != theirs.mtu)?;
    Some(finding(
        "mtu-differs",
        Severity::Problem,
        ours,
        format!(
            "its MTU is {}, that of {} in {} is {}: the larger packets depend on path MTU discovery \
             or are lost",
            ours.mtu, theirs.name, theirs.place, theirs.mtu
        ),
        "give both ends the same MTU".to_owned(),
    ))
}

fn segmented_before_encapsulation(tunnel: &DeviceContext) -> Option<Finding> {
    let off = off(tunnel, &["tx-tcp-segmentation", "tx-generic-segmentation"])?;
    Some(finding(
        "segmented-before-encapsulation",
        Severity::Cost,
        tunnel,
        format!(
            "it has {off} off: each packet of up to 64 KB is segmented before encapsulation, and \
             every segment is encapsulated, routed and sent alone"
        ),
        format!("ethtool -K {} tso on gso on", tunnel.name),
    ))
}

fn checksums_before_encapsulation(tunnel: &DeviceContext) -> Option<Finding> {
    let off = off(tunnel, &["tx-checksum-ip-generic"])?;
    Some(finding(
        "checksums-before-encapsulation",
        Severity::Cost,
        tunnel,
        format!(
            "it has {off} off: checksums are computed on the CPU before encapsulation, and without \
             them nothing can be segmented later"
        ),
        format!(
            "ethtool -K {} tx-checksum-ip-generic on; some CNIs switch it off because of a fault of \
             kernels before 5.7",
            tunnel.name
        ),
    ))
}

fn segmented_in_software(underlay: &DeviceContext, tunnel: &DeviceContext) -> Option<Finding> {
    if tunnel.kind != DeviceKind::Vxlan {
        return None;
    }
    let off = off(underlay, &["tx-udp_tnl-segmentation"])?;
    Some(finding(
        "tunnel-segmented-in-software",
        Severity::Cost,
        underlay,
        format!(
            "it has {off} off: what {} encapsulated is segmented on the CPU, not by the device",
            tunnel.name
        ),
        format!(
            "ethtool -K {0} tx-udp_tnl-segmentation on; where that is 'off [fixed]', the card or its \
             driver cannot do it",
            underlay.name
        ),
    ))
}

fn segmented_by_the_stack(device: &DeviceContext) -> Option<Finding> {
    if device.kind == DeviceKind::Loopback {
        return None;
    }
    let off = off(device, &["tx-scatter-gather", "tx-tcp-segmentation"])?;
    Some(finding(
        "segmented-early",
        Severity::Cost,
        device,
        format!(
            "it has {off} off: TCP's packets of up to 64 KB are segmented before it, and all that \
             follows is done for each segment"
        ),
        format!("ethtool -K {} sg on tso on", device.name),
    ))
}

fn not_merged(device: &DeviceContext) -> Option<Finding> {
    off(device, &["rx-gro"])?;
    Some(finding(
        "not-merged",
        Severity::Cost,
        device,
        "it has rx-gro off: each received segment climbs the stack alone".to_owned(),
        format!("ethtool -K {} gro on", device.name),
    ))
}

/// A route may say a smaller MTU than the device has: what TCP made of both counts.
fn larger_than_the_tunnel(
    endpoint: &DeviceContext,
    tunnel: &DeviceContext,
    mss: Option<u32>,
) -> Option<Finding> {
    let too_large = endpoint.mtu > tunnel.mtu && mss? + TCP_IP_BYTES > tunnel.mtu;
    too_large.then(|| {
        finding(
            "mtu-over-tunnel",
            Severity::Problem,
            endpoint,
            format!(
                "its MTU is {}, that of {} only {}: full packets are refused there, and their \
                 sender must learn it for each destination",
                endpoint.mtu, tunnel.name, tunnel.mtu
            ),
            format!(
                "set the pods' MTU to {} in the CNI's configuration",
                tunnel.mtu
            ),
        )
    })
}

fn fragmented(underlay: &DeviceContext, tunnel: &DeviceContext) -> Option<Finding> {
    let needed = tunnel.mtu + VXLAN_BYTES;
    (tunnel.kind == DeviceKind::Vxlan && needed > underlay.mtu).then(|| {
        finding(
            "fragmented-after-encapsulation",
            Severity::Problem,
            tunnel,
            format!(
                "its MTU is {}, which makes {needed} bytes with VXLAN's headers, and {} takes {}: full \
                 packets are fragmented or dropped",
                tunnel.mtu, underlay.name, underlay.mtu
            ),
            format!(
                "set its MTU to {} at most",
                underlay.mtu.saturating_sub(VXLAN_BYTES)
            ),
        )
    })
}

fn unused(underlay: &DeviceContext, tunnel: &DeviceContext) -> Option<Finding> {
    let possible = underlay.mtu.saturating_sub(VXLAN_BYTES);
    (tunnel.kind == DeviceKind::Vxlan && possible >= tunnel.mtu + WORTH_BYTES).then(|| {
        finding(
            "mtu-unused",
            Severity::Note,
            tunnel,
            format!(
                "its MTU is {}, though {} would carry {possible}",
                tunnel.mtu, underlay.name
            ),
            format!("set the CNI's MTU to {possible} if every node's network carries that"),
        )
    })
}

/// Those of the offloads that are off, `None` where all are on or nobody knows.
fn off(device: &DeviceContext, offloads: &[&str]) -> Option<String> {
    let on = device.offloads.as_ref()?;
    let is_off = |name: &&&str| !on.iter().any(|other| other == **name);
    let off: Vec<&str> = offloads.iter().filter(is_off).copied().collect();
    (!off.is_empty()).then(|| off.join(" and "))
}

fn finding(
    rule: &'static str,
    severity: Severity,
    device: &DeviceContext,
    what: String,
    remedy: String,
) -> Finding {
    Finding {
        rule,
        severity,
        place: device.place.clone(),
        device: device.name.clone(),
        what,
        remedy,
    }
}

//! How many pairs the budgets pay for.

use super::Settings;
use crate::api::Protocol;

/// Ethernet, IP and UDP headers.
const UDP_HEADERS: u64 = 42;
/// Ethernet, IP and TCP headers, with the stamps that are usual.
const TCP_HEADERS: u64 = 66;
/// What the pod network adds to them: nothing for the nodes' own, VXLAN's for the pods'.
const TUNNELS: [u64; 2] = [0, 50];
/// Processor time of one request on the node that asks and of one on the node that answers, with the
/// probe in a fifth of the rounds: an agent that asked and answered 10 edges (16.7 requests a
/// second) took 0.32 % of a core over 30 s, 0.05 % of it without any.
const UDP_REQUEST_NS: u64 = 160_000;
/// The same over TCP without the probe, with its part of the connection: on a busier machine as many
/// requests besides took 0.36 % of a core where those over UDP took 0.33 %.
const TCP_REQUEST_NS: u64 = 180_000;

/// Pairs that may be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// That a node may probe, and by which it may be probed.
    pub(super) of_node: usize,
    /// In the cluster.
    pub(super) of_cluster: usize,
    /// With series of their own.
    pub(super) exported: usize,
}

impl Budget {
    pub(super) fn of(settings: &Settings) -> Self {
        let pair = pair_bits_per_second(settings).max(1);
        // A node sends the requests of its own pairs and as many responses to others.
        let by_bits = settings.node_bits_per_second / pair;
        let by_cpu = u64::from(settings.node_cpu_permille) * 1_000_000
            / pair_cpu_ns_per_second(settings).max(1);
        let most = settings.max_pairs() as u64;
        let size = |pairs: u64| usize::try_from(pairs).unwrap_or(usize::MAX);
        Self {
            of_node: size(by_bits.min(by_cpu).min(most)),
            of_cluster: size(settings.cluster_bits_per_second / pair),
            exported: settings.max_series / series_of_pair(settings),
        }
    }
}

fn series_of_pair(settings: &Settings) -> usize {
    let tcp = if settings.tcp_rr {
        super::TCP_SERIES_PER_PAIR
    } else {
        0
    };
    super::SERIES_PER_PAIR + tcp
}

/// What both nodes of a pair send, on both paths.
fn pair_bits_per_second(settings: &Settings) -> u64 {
    let payload = u64::from(settings.payload_bytes);
    let message = |protocol: &Protocol, tunnel| match protocol {
        Protocol::Udp => payload + UDP_HEADERS + tunnel,
        // Each is acknowledged by a packet of its own at the worst, which is more than there is, and
        // pays for the connection.
        Protocol::Tcp => payload + 2 * (TCP_HEADERS + tunnel),
    };
    let both = |protocol: &Protocol| -> u64 {
        TUNNELS
            .iter()
            .map(|tunnel| 2 * message(protocol, tunnel))
            .sum()
    };
    let round_trip: u64 = settings.protocols().iter().map(both).sum();
    round_trip * 8 * u64::from(settings.requests) * 1_000 / u64::from(settings.period_ms.max(1))
}

fn pair_cpu_ns_per_second(settings: &Settings) -> u64 {
    let of = |protocol: &Protocol| match protocol {
        Protocol::Udp => UDP_REQUEST_NS,
        Protocol::Tcp => TCP_REQUEST_NS,
    };
    let request: u64 = settings.protocols().iter().map(of).sum();
    2 * u64::from(settings.requests) * request * 1_000 / u64::from(settings.period_ms.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_pays_for_more_than_the_default() {
        let budget = Budget::of(&Settings::default());
        // (64 + 42 + 64 + 92) · 2 · 8 · 50 / 30 s = 7 kbit/s.
        assert_eq!(pair_bits_per_second(&Settings::default()), 6_986);
        // Five neighbours, and two edges to each of two other zones.
        assert_eq!(budget.of_node, 9);
        assert_eq!(budget.of_cluster, 143_143);
        assert_eq!(budget.exported, 6_000);
    }

    #[test]
    fn rounds_over_tcp_are_paid_for() {
        let both = Settings {
            tcp_rr: true,
            ..Settings::default()
        };
        // And (64 + 132 + 64 + 232) · 2 · 8 · 50 / 30 s = 13 kbit/s.
        assert_eq!(pair_bits_per_second(&both), 6_986 + 13_120);
        let budget = Budget::of(&both);
        assert_eq!(budget.of_node, 4);
        assert_eq!(budget.of_cluster, 49_736);
        // 34 series a pair.
        assert_eq!(budget.exported, 3_529);
        let with = |node_cpu_permille| {
            let settings = Settings {
                node_cpu_permille,
                ..both.clone()
            };
            Budget::of(&settings).of_node
        };
        // What the default pays for without them.
        assert_eq!((with(10), with(11)), (8, 9));
        assert_eq!(with(1_000), 16);
    }

    #[test]
    fn each_budget_counts() {
        let with = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            Budget::of(&settings)
        };
        assert_eq!(with(|s| s.node_bits_per_second = 21_000).of_node, 3);
        assert_eq!(with(|s| s.node_cpu_permille = 1).of_node, 1);
        assert_eq!(with(|s| s.node_cpu_permille = 1_000).of_node, 32);
        assert_eq!(with(|s| s.cluster_bits_per_second = 70_000).of_cluster, 10);
        assert_eq!(with(|s| s.max_series = 16).exported, 0);
    }
}

//! Our traffic and other tools', on the nodes' bare network.

use anyhow::Result;
use nettoll_core::{random::SplitMix64, report::Run};

use super::{
    Effort,
    bed::Bed,
    comparison::{Comparison, Goal},
    peers::{DATAGRAM_BYTES, Peer, RR_BYTES},
    seed,
};

/// What the issue asks for.
const STREAM_GOAL: Goal = Goal::AtLeast(1.0);
const RR_GOAL: Goal = Goal::AtLeast(0.98);
const DATAGRAM_GOAL: Goal = Goal::AtLeast(1.08);
/// Datagrams that are sent and do not arrive are no achievement.
const MOST_LOST: f64 = 0.03;

/// Ours and the tools that do the same.
struct Contest {
    test: &'static str,
    options: &'static [&'static str],
    peers: &'static [Peer],
    what: &'static str,
    unit: &'static str,
    figure: fn(&Run) -> Option<f64>,
    goal: Goal,
}

const CONTESTS: [Contest; 4] = [
    Contest {
        test: "tcp_stream",
        options: &["--message-bytes", "131072"],
        peers: &[Peer::Iperf3],
        what: "throughput",
        unit: "Gbit/s",
        figure: |run| Some(run.throughput_bits_per_second?.mean / 1e9),
        goal: STREAM_GOAL,
    },
    Contest {
        test: "tcp_reverse",
        options: &["--message-bytes", "131072"],
        peers: &[Peer::Iperf3Reverse],
        what: "throughput",
        unit: "Gbit/s",
        figure: |run| Some(run.throughput_bits_per_second?.mean / 1e9),
        goal: STREAM_GOAL,
    },
    Contest {
        test: "udp_stream",
        options: &["--message-bytes", DATAGRAM_BYTES],
        peers: &[Peer::Iperf3Udp],
        what: "datagrams sent",
        unit: "1/s",
        figure: |run| {
            let udp = run
                .udp
                .as_ref()
                .filter(|udp| udp.lost_share <= Some(MOST_LOST))?;
            let bits = f64::from(run.options.datagram_bytes) * 8.0;
            Some(udp.sent_bits_per_second?.mean / bits)
        },
        goal: DATAGRAM_GOAL,
    },
    Contest {
        test: "tcp_rr",
        options: &["--request-bytes", RR_BYTES, "--response-bytes", RR_BYTES],
        peers: &[Peer::Sockperf, Peer::Qperf],
        what: "transactions",
        unit: "1/s",
        figure: |run| Some(run.transactions_per_second?.mean),
        goal: RR_GOAL,
    },
];

pub(super) fn run(bed: &mut Bed<'_>, effort: Effort) -> Result<Vec<Comparison>> {
    let server = bed.address("n2")?;
    let mut comparisons = Vec::new();
    for contest in &CONTESTS {
        comparisons.extend(contest.run(bed, &server, effort)?);
    }
    Ok(comparisons)
}

impl Contest {
    fn run(&self, bed: &mut Bed<'_>, server: &str, effort: Effort) -> Result<Vec<Comparison>> {
        let servers = self.peers.iter().map(|peer| peer.serve(bed));
        let _servers = servers.collect::<Result<Vec<_>>>()?;
        let mut random = SplitMix64::new(seed());
        // Of each pair: ours, then each peer's.
        let mut measured: Vec<Vec<f64>> = Vec::new();
        let mut planned = 0;
        loop {
            for _ in 0..effort.pairs {
                measured.extend(self.pair(bed, server, effort.seconds, &mut random)?);
            }
            planned += effort.pairs;
            let comparisons: Result<Vec<_>, _> = (1..=self.peers.len())
                .map(|peer| self.compare(peer, &measured))
                .collect();
            let done = comparisons
                .as_ref()
                .is_ok_and(|all| all.iter().all(Comparison::concluded));
            if done || !effort.goes_on(planned) {
                return Ok(comparisons?);
            }
        }
    }

    /// A slice of each, in random order; `None` where ours is invalid.
    fn pair(
        &self,
        bed: &mut Bed<'_>,
        server: &str,
        seconds: u32,
        random: &mut SplitMix64,
    ) -> Result<Option<Vec<f64>>> {
        let mut order: Vec<usize> = (0..=self.peers.len()).collect();
        random.shuffle(&mut order);
        let mut figures = vec![None; order.len()];
        for index in order {
            figures[index] = match index.checked_sub(1) {
                Some(peer) => Some(self.peers[peer].slice(bed, server, seconds)?),
                None => self.slice(bed, seconds)?,
            };
        }
        Ok(figures.into_iter().collect())
    }

    /// Ours: ten rounds, the fewest of a test, which take the slice's time together.
    fn slice(&self, bed: &mut Bed<'_>, seconds: u32) -> Result<Option<f64>> {
        let seconds = seconds.to_string();
        let arguments = [
            &["--from", "node/n1", "--to", "node/n2", "--type", self.test],
            self.options,
            &["--probe", "off", "--pairs", "10", "--warmup-ms", "20"],
            &["--seconds", &seconds],
        ]
        .concat();
        let run = bed.test(&arguments, 0)?;
        Ok(run.as_ref().and_then(self.figure))
    }

    fn compare(
        &self,
        peer: usize,
        measured: &[Vec<f64>],
    ) -> Result<Comparison, nettoll_core::stats::StatsError> {
        let pairs: Vec<[f64; 2]> = measured.iter().map(|all| [all[0], all[peer]]).collect();
        let name = format!(
            "{} {}, over {}",
            self.test,
            self.what,
            self.peers[peer - 1].name()
        );
        Comparison::of_pairs(name, self.unit, &pairs, Some(self.goal))
    }
}

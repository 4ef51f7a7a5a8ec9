//! What both nodes of an edge saw of one round, and what that leaves.
//!
//! Each agent tells the stages on its own node. Joined by the round's first sequence they add up
//! to all of the round-trip time but the wire, which is what neither node saw. That rest of a
//! `host-to-host` round is the wire of the `pod-to-pod` round beside it, too: both go over the
//! same devices. So how much of a pod's round trip is explained (`closure`) can be told on any two
//! nodes, without a common clock.

use std::collections::VecDeque;

use super::beside::Beside;
use crate::{
    api::{LightRound, LightWatched},
    report::Stage,
};

/// The closure is the median of so many rounds. Their mean is no use on a virtual machine: one
/// stolen millisecond in a `host-to-host` round is more than all round-trip times of a pod's.
const ROUNDS: usize = 10;

/// One node's part of a round.
#[derive(Clone, Copy, Debug)]
struct Part {
    first_sequence: u64,
    requests: u64,
    /// All stages of all requests.
    seen_ns: f64,
}

/// A round that both probes followed, per request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Joint {
    /// When it ended, by the caller's clock.
    at_ms: u64,
    requests: u64,
    rtt_ns: f64,
    seen_ns: f64,
}

/// The time on the wire, both ways, derived from all that was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wire {
    /// Mean of a request and its response.
    pub mean_ns: f64,
    /// Of so many.
    pub requests: u64,
}

impl Joint {
    /// `None` where the nodes claim to have seen more than there was.
    pub(super) fn wire(&self) -> Option<Wire> {
        let mean_ns = self.rtt_ns - self.seen_ns;
        (mean_ns >= 0.0).then_some(Wire {
            mean_ns,
            requests: self.requests,
        })
    }
}

/// The parts of an edge's last rounds.
#[derive(Clone, Debug, Default)]
struct Parts {
    /// With the mean round-trip time and the end of the round.
    client: Option<(Part, f64, u64)>,
    server: Option<Part>,
}

impl Parts {
    /// The round that is whole now: each request of it was answered, and seen by both.
    fn join(&self) -> Option<Joint> {
        let ((client, rtt_ns, at_ms), server) = self.client.zip(self.server)?;
        let whole =
            (client.first_sequence, client.requests) == (server.first_sequence, server.requests);
        whole.then(|| Joint {
            at_ms,
            requests: client.requests,
            rtt_ns,
            seen_ns: (client.seen_ns + server.seen_ns) / client.requests as f64,
        })
    }
}

/// The rounds of a pair that both probes follow.
#[derive(Clone, Debug, Default)]
pub(super) struct Joints {
    edges: [Parts; 2],
    beside: Beside<Joint>,
    closure: Closure,
}

/// The last rounds' ratios, oldest first, and when the last one was.
#[derive(Clone, Debug, Default)]
struct Closure {
    ratios: VecDeque<f64>,
    at_ms: u64,
}

impl Closure {
    fn add(&mut self, ratio: f64, at_ms: u64) {
        if self.ratios.len() == ROUNDS {
            self.ratios.pop_front();
        }
        self.ratios.push_back(ratio);
        self.at_ms = self.at_ms.max(at_ms);
    }

    fn median(&self) -> Option<f64> {
        let mut ratios: Vec<f64> = self.ratios.iter().copied().collect();
        ratios.sort_by(f64::total_cmp);
        let [low, high] = [ratios.len().checked_sub(1)? / 2, ratios.len() / 2];
        Some((ratios[low] + ratios[high]) / 2.0)
    }
}

impl Joints {
    /// Adds the part of the node that asked, at which time the round ended.
    pub(super) fn client(
        &mut self,
        pods: bool,
        round: &LightRound,
        at_ms: u64,
        apart_ms: u64,
    ) -> Option<Wire> {
        if round.lost > 0 || round.answered == 0 {
            return None;
        }
        let part = part(round.first_sequence, round.answered, &round.stages)?;
        let rtt_ns = round.rtt.sum_ns as f64 / round.answered as f64;
        self.edges[usize::from(pods)].client = Some((part, rtt_ns, at_ms));
        self.join(pods, apart_ms)
    }

    /// Adds the part of the node that answered.
    pub(super) fn server(
        &mut self,
        pods: bool,
        round: &LightWatched,
        apart_ms: u64,
    ) -> Option<Wire> {
        let part = part(round.first_sequence, round.answered, &round.stages)?;
        self.edges[usize::from(pods)].server = Some(part);
        self.join(pods, apart_ms)
    }

    /// Whether this round of the node that answered was added before: agents tell the last one
    /// again and again.
    pub(super) fn has(&self, pods: bool, round: &LightWatched) -> bool {
        let known = self.edges[usize::from(pods)].server;
        known.is_some_and(|known| known.first_sequence == round.first_sequence)
    }

    /// What the stages and the wire add up to, of the mean round-trip time between pods, where a
    /// round since `since_ms` told.
    pub(super) fn closure(&self, since_ms: u64) -> Option<f64> {
        let told = self.closure.at_ms >= since_ms;
        told.then(|| self.closure.median()).flatten()
    }

    fn join(&mut self, pods: bool, apart_ms: u64) -> Option<Wire> {
        let joint = self.edges[usize::from(pods)].join()?;
        let near = |a: &Joint, b: &Joint| a.at_ms.abs_diff(b.at_ms) <= apart_ms;
        if let Some([host, pod]) = self.beside.add(pods, joint, near) {
            let ratio = (pod.seen_ns + host.rtt_ns - host.seen_ns) / pod.rtt_ns;
            if ratio.is_finite() {
                self.closure.add(ratio, pod.at_ms);
            }
        }
        joint.wire()
    }
}

/// `None` where the probe was not there.
fn part(first_sequence: u64, requests: u64, stages: &[Stage]) -> Option<Part> {
    let sum = |stage: &Stage| stage.mean_ns * stage.packets.unwrap_or_default() as f64;
    (requests > 0 && !stages.is_empty()).then(|| Part {
        first_sequence,
        requests,
        seen_ns: stages.iter().map(sum).sum(),
    })
}

/// Whether the stages of a round can be what a probe saw.
pub(super) fn sensible(stages: &[Stage]) -> bool {
    stages.iter().all(|stage| {
        let counts = [&stage.histogram, &stage.histogram_many_segments];
        let counted = (counts.into_iter().flatten().flatten())
            .try_fold(0_u64, |sum, &(_, count)| sum.checked_add(count));
        stage.mean_ns >= 0.0
            && stage.mean_ns < MAX_NS
            && stage.packets.is_none_or(|packets| packets < MAX_PACKETS)
            && counted.is_some_and(|counted| counted < MAX_PACKETS)
    })
}

/// An hour: the longest period of a round.
const MAX_NS: f64 = 3.6e12;
/// Far beyond what a round has.
const MAX_PACKETS: u64 = 1 << 32;

#[cfg(test)]
mod tests;

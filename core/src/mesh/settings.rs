//! What the configuration says about the mesh.

use serde::{Deserialize, Serialize};

use crate::{
    api::{LIGHT_IDLE_SECONDS, LightPlan, LightPlanError, MAX_LIGHT_EDGES, Protocol},
    inventory::Selector,
};

/// Least of `idle_seconds`, and what is enough for any period: an agent is asked twice in a period
/// and every 15 s.
const IDLE_SECONDS: [u32; 2] = [10, 30];

/// The longest stream.
const MAX_STREAM_SECONDS: u32 = 60;
/// From one stream of a pair to its next it is at least so many times as long as a stream.
const STREAM_REST: u32 = 10;

/// All settings of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// There are rounds at all.
    pub enabled: bool,
    /// Which nodes are members.
    pub nodes: Selector,
    /// How many next nodes of the ring each node probes.
    pub neighbours: usize,
    /// How many pairs of nodes more for each ordered pair of zones.
    pub zone_pairs: usize,
    /// From one round of a pair to its next.
    pub period_ms: u32,
    /// Requests of a round.
    pub requests: u32,
    /// Payload of a request.
    pub payload_bytes: u32,
    /// How fast they follow each other.
    pub requests_per_second: u32,
    /// When a request is lost.
    pub timeout_ms: u32,
    /// Each edge has the same rounds over TCP besides.
    pub tcp_rr: bool,
    /// How long agents go on by themselves when no controller asks them any more.
    pub idle_seconds: u32,
    /// For how many of its pairs a node's probe follows the rounds.
    pub probed_pairs: usize,
    /// There are streams: one in each `stream_period_seconds` for each pair.
    pub streams: bool,
    /// Measured time of a stream, on each of the pair's two paths.
    pub stream_seconds: u32,
    /// From one stream of a pair to its next.
    pub stream_period_seconds: u32,
    /// Budget: what streams to and from a node may carry, as a mean.
    pub stream_node_bits_per_second: u64,
    /// Budget: what all streams may carry, as a mean.
    pub stream_cluster_bits_per_second: u64,
    /// Budget: what a node may send.
    pub node_bits_per_second: u64,
    /// Budget: what all nodes together may send.
    pub cluster_bits_per_second: u64,
    /// Budget: thousandths of a core that rounds may take on a node.
    pub node_cpu_permille: u32,
    /// Budget: series of pairs on the controller.
    pub max_series: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let light = LightPlan::default();
        Self {
            enabled: true,
            nodes: Selector::default(),
            neighbours: 5,
            zone_pairs: 2,
            period_ms: light.period_ms,
            requests: light.requests,
            payload_bytes: light.payload_bytes,
            requests_per_second: light.requests_per_second,
            timeout_ms: light.timeout_ms,
            tcp_rr: false,
            idle_seconds: light.idle_seconds,
            probed_pairs: 1,
            streams: true,
            stream_seconds: 2,
            stream_period_seconds: 86_400,
            stream_node_bits_per_second: 10_000_000,
            stream_cluster_bits_per_second: 10_000_000_000,
            node_bits_per_second: 1_000_000,
            cluster_bits_per_second: 1_000_000_000,
            node_cpu_permille: 5,
            max_series: 120_000,
        }
    }
}

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// More than an agent takes.
    #[error("mesh.neighbours is {value}, but must be from 1 to {most}")]
    Neighbours {
        /// What it is.
        value: usize,
        /// The most.
        most: usize,
    },
    /// No stream, or one that is no rare thing.
    #[error(
        "mesh.stream_seconds is {0}, but must be from 1 to {MAX_STREAM_SECONDS}, and \
         mesh.stream_period_seconds at least {STREAM_REST} times as much"
    )]
    Streams(u32),
    /// A plan that would end between two questions, or outlast what its rounds say.
    #[error(
        "mesh.idle_seconds is {value}, but must be from {least} to {LIGHT_IDLE_SECONDS}, that agents \
         go on from one question of the controller to the next"
    )]
    Idle {
        /// What it is.
        value: u32,
        /// The least.
        least: u32,
    },
    /// Out of an agent's bounds.
    #[error("the settings of mesh make no plan that an agent takes: {0}")]
    Light(#[from] LightPlanError),
}

impl Settings {
    /// Checks what the agents would refuse.
    pub fn check(&self) -> Result<(), SettingsError> {
        let (value, most) = (self.neighbours, self.max_pairs());
        if !(1..=most).contains(&value) {
            return Err(SettingsError::Neighbours { value, most });
        }
        let seconds = self.stream_seconds;
        let rare = self.stream_period_seconds >= seconds.saturating_mul(STREAM_REST);
        if !((1..=MAX_STREAM_SECONDS).contains(&seconds) && rare) {
            return Err(SettingsError::Streams(seconds));
        }
        let value = self.idle_seconds;
        let period = self.period_ms.div_ceil(1_000);
        let least = period.clamp(IDLE_SECONDS[0], IDLE_SECONDS[1]);
        if !(least..=LIGHT_IDLE_SECONDS).contains(&value) {
            return Err(SettingsError::Idle { value, least });
        }
        Ok(self.empty_plan().check()?)
    }

    /// What rounds go over, in the order in which they follow each other.
    pub(super) fn protocols(&self) -> &'static [Protocol] {
        match self.tcp_rr {
            false => &[Protocol::Udp],
            true => &[Protocol::Udp, Protocol::Tcp],
        }
    }

    /// Rounds that a pair has in a period: on both of its paths.
    pub(super) fn rounds_of_pair(&self) -> usize {
        2 * self.protocols().len()
    }

    /// Most pairs that an agent takes.
    pub(super) fn max_pairs(&self) -> usize {
        MAX_LIGHT_EDGES / self.rounds_of_pair()
    }

    /// A plan with these numbers and nothing to do.
    pub(super) fn empty_plan(&self) -> LightPlan {
        LightPlan {
            period_ms: self.period_ms,
            requests: self.requests,
            payload_bytes: self.payload_bytes,
            requests_per_second: self.requests_per_second,
            timeout_ms: self.timeout_ms,
            idle_seconds: self.idle_seconds,
            ..LightPlan::default()
        }
    }

    /// From one stream of a pair to its next.
    pub(super) fn stream_period_ms(&self) -> u64 {
        u64::from(self.stream_period_seconds.max(1)) * 1_000
    }

    /// How long the requests of one round go out.
    pub(super) fn sending_ms(&self) -> u32 {
        let ms = u64::from(self.requests) * 1_000 / u64::from(self.requests_per_second.max(1));
        u32::try_from(ms).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_order() {
        assert_eq!(Settings::default().check(), Ok(()));
        assert_eq!(Settings::default().sending_ms(), 500);
        // Without a controller agents go on for ten minutes.
        assert_eq!(Settings::default().idle_seconds, 600);
    }

    #[test]
    fn what_an_agent_would_refuse_is_refused_before() {
        let none = Settings {
            neighbours: 33,
            ..Settings::default()
        };
        let told = none.check().unwrap_err().to_string();
        assert!(told.contains("from 1 to 32"), "{told}");
        let twice = Settings {
            tcp_rr: true,
            neighbours: 17,
            ..Settings::default()
        };
        let told = twice.check().unwrap_err().to_string();
        assert!(told.contains("from 1 to 16"), "{told}");
        for (stream_seconds, stream_period_seconds) in [(0, 60), (61, 86_400), (6, 59)] {
            let often = Settings {
                stream_seconds,
                stream_period_seconds,
                ..Settings::default()
            };
            let told = often.check().unwrap_err().to_string();
            assert!(told.contains("from 1 to 60"), "{told}");
        }
        for (period_ms, idle_seconds) in [(30_000, 29), (4_000, 9), (60_000, 601)] {
            let forgetful = Settings {
                period_ms,
                idle_seconds,
                ..Settings::default()
            };
            let told = forgetful.check().unwrap_err().to_string();
            assert!(told.contains("mesh.idle_seconds is"), "{told}");
        }
        for (period_ms, idle_seconds) in [(3_600_000, 30), (4_000, 10)] {
            let enough = Settings {
                period_ms,
                idle_seconds,
                ..Settings::default()
            };
            assert_eq!(enough.check(), Ok(()));
        }
        let short = Settings {
            period_ms: 1_200,
            ..Settings::default()
        };
        let told = short.check().unwrap_err().to_string();
        assert!(told.contains("more than the period"), "{told}");
    }
}

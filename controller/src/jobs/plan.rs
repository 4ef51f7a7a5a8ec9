//! A job → runs with their places, ids and options. What is compared and in which order comes
//! from [`nettoll_core::plan`].

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use nettoll_core::{
    api::{Inventory, Job, ProbeMode, RUN_IDLE_SECONDS, TRAFFIC_PORT_FIRST, TRAFFIC_PORT_LAST},
    endpoint::{Endpoint, Path},
    plan::{self, Group, PlannedRound, RoundsPlan},
    report::{Options, TestType},
};

/// Unmeasured traffic before each round of a toll: TCP's window has grown and the CPU's caches
/// are warm well before.
const TOLL_WARMUP_MS: u32 = 100;
/// What iperf3 sends with one call.
const TOLL_MESSAGE_BYTES: u32 = 128 << 10;
/// The smallest Ethernet frame's size, and room for a message's header.
const TOLL_REQUEST_BYTES: u32 = 64;
/// What a round takes beyond its traffic, generously.
const ROUND_OVERHEAD_SECONDS: f64 = 0.2;
/// The longest measured time of a run.
const MAX_SECONDS: f64 = 3_600.0;
/// The most pairs of rounds.
const MAX_ROUNDS: u32 = 2_000;
/// The longest id that agents take.
const MAX_ID: usize = 64;

/// Why a job cannot be planned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// What is asked for does not exist, or makes no comparison.
    #[error(transparent)]
    Core(#[from] plan::PlanError),
    /// There are not so many ports.
    #[error(
        "{runs} paths would end at node {node} at once; it has ports for {}: ask for fewer networks",
        TRAFFIC_PORT_LAST - TRAFFIC_PORT_FIRST + 1
    )]
    Ports {
        /// The node.
        node: String,
        /// Runs with their server there.
        runs: usize,
    },
    /// It would take for ever.
    #[error(
        "{seconds} s in {rounds} pairs of rounds is too much for one job; ask for {MAX_SECONDS} s in \
         {MAX_ROUNDS} pairs at most"
    )]
    TooLong {
        /// Of one run.
        seconds: f64,
        /// Of one run.
        rounds: u32,
    },
    /// Agents would take the runs for abandoned.
    #[error(
        "a warm-up of {0} ms is too long for {1} interleaved paths; make it shorter or compare fewer"
    )]
    Warmup(u32, usize),
}

/// What a job measures.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) groups: Vec<RunGroup>,
    /// Which states of the probe the rounds have.
    pub(super) probe: ProbeMode,
    /// What the user should know before anything runs.
    pub(super) warnings: Vec<String>,
    /// Rounds in all.
    pub(super) rounds: u32,
    /// Traffic of all rounds, warm-up included.
    pub(super) seconds: f64,
}

/// Runs that are interleaved with each other.
#[derive(Clone, Debug)]
pub(super) struct RunGroup {
    pub(super) runs: Vec<PlannedRun>,
    /// Which are compared: (path, baseline).
    pub(super) pairs: Vec<(usize, usize)>,
}

/// A run, before anything is known of its devices.
#[derive(Clone, Debug)]
pub(super) struct PlannedRun {
    pub(super) id: String,
    pub(super) path: Path,
    pub(super) test: TestType,
    pub(super) options: Options,
    pub(super) client: Site,
    pub(super) server: Site,
    pub(super) port: u16,
}

/// One end of a run's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) endpoint: Endpoint,
    pub(super) address: IpAddr,
    pub(super) node: String,
    pub(super) node_address: IpAddr,
}

impl Plan {
    /// Plans a job. `nonce` tells its runs from those of other jobs.
    pub(super) fn new(inventory: &Inventory, job: &Job, nonce: u32) -> Result<Self, PlanError> {
        let (groups, options, pairs, probe): (_, _, fn(&Group) -> _, _) = match job {
            Job::Toll(toll) => {
                let options = Options {
                    seconds: toll.seconds,
                    rounds: toll.pairs,
                    warmup_ms: TOLL_WARMUP_MS,
                    message_bytes: TOLL_MESSAGE_BYTES,
                    request_bytes: TOLL_REQUEST_BYTES,
                    response_bytes: TOLL_REQUEST_BYTES,
                    sample_hz: toll.sample_hz,
                };
                let groups = plan::toll_groups(inventory, toll)?;
                (groups, options, plan::toll_pairs, ProbeMode::Both)
            }
            Job::Test(test) => {
                let group = plan::test_group(inventory, test)?;
                (
                    vec![group],
                    test.options.clone(),
                    plan::test_pairs,
                    test.probe,
                )
            }
        };
        let Options {
            seconds, rounds, ..
        } = options;
        if seconds > MAX_SECONDS || rounds > MAX_ROUNDS {
            return Err(PlanError::TooLong { seconds, rounds });
        }
        let mut plan = Self {
            groups: vec![],
            probe,
            warnings: vec![],
            rounds: 0,
            seconds: 0.0,
        };
        let mut number = 0;
        for group in groups {
            let rounds = enough_rounds(&options, group.members.len())?;
            if rounds > options.rounds {
                plan.warnings.push(format!(
                    "{}: {rounds} pairs of rounds instead of {}, since long rounds of many paths \
                     would let an agent take a run for abandoned",
                    group.test, options.rounds
                ));
            }
            let options = Options {
                rounds,
                ..options.clone()
            };
            let pairs = pairs(&group);
            let mut ports = Ports::default();
            let mut runs = Vec::new();
            for path in group.members {
                number += 1;
                let id = run_id(&path, group.test, number, nonce);
                runs.push(PlannedRun::new(
                    inventory, path, group.test, &options, id, &mut ports,
                )?);
            }
            let group = RunGroup { runs, pairs };
            // Refuses what makes no rounds while the user can still be told so.
            let rounds = group.rounds(probe, 0, 0)?;
            plan.rounds += rounds.len() as u32;
            plan.seconds += group.traffic_seconds(&rounds);
            plan.groups.push(group);
        }
        Ok(plan)
    }

    /// All runs of all groups.
    pub(super) fn runs(&self) -> impl Iterator<Item = &PlannedRun> {
        self.groups.iter().flat_map(|group| &group.runs)
    }

    /// The nodes of all runs.
    pub(super) fn nodes(&self) -> BTreeSet<&str> {
        self.runs()
            .flat_map(|run| [run.client.node.as_str(), &run.server.node])
            .collect()
    }
}

impl RunGroup {
    /// The group's rounds in their order.
    pub(super) fn rounds(
        &self,
        probe: ProbeMode,
        first_sequence: u32,
        seed: u64,
    ) -> Result<Vec<PlannedRound>, plan::PlanError> {
        let Some(PlannedRun { options, .. }) = self.runs.first() else {
            return Ok(Vec::new());
        };
        plan::rounds(&RoundsPlan {
            runs: self.runs.len(),
            pairs: options.rounds,
            seconds: options.seconds,
            probe,
            first_sequence,
            seed,
        })
    }

    /// Traffic of these rounds, warm-up included.
    pub(super) fn traffic_seconds(&self, rounds: &[PlannedRound]) -> f64 {
        let of = |round: &PlannedRound| {
            self.runs
                .get(round.run)
                .map_or(0.0, |run| run.traffic_seconds(round.seconds))
        };
        rounds.iter().map(of).sum()
    }

    /// The group without the runs that `keep` refuses, and their comparisons.
    pub(super) fn kept(&self, keep: impl Fn(&PlannedRun) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.runs.len())
            .filter(|&run| keep(&self.runs[run]))
            .collect();
        let place = |run| kept.iter().position(|&kept| kept == run);
        let pairs = self
            .pairs
            .iter()
            .filter_map(|&(path, baseline)| Some((place(path)?, place(baseline)?)));
        Self {
            runs: kept.iter().map(|&run| self.runs[run].clone()).collect(),
            pairs: pairs.collect(),
        }
    }
}

impl PlannedRun {
    fn new(
        inventory: &Inventory,
        path: Path,
        test: TestType,
        options: &Options,
        id: String,
        ports: &mut Ports,
    ) -> Result<Self, PlanError> {
        let route = plan::classify(&path.from, &path.to, path.network.as_deref(), inventory)?;
        let site = |endpoint: &Endpoint, place: plan::Place| {
            let node = inventory.nodes.iter().find(|node| node.name == place.node);
            Site {
                endpoint: endpoint.clone(),
                address: place.address,
                node_address: node.map_or(place.address, |node| node.address),
                node: place.node,
            }
        };
        let (client, server) = (site(&path.from, route.client), site(&path.to, route.server));
        let port = ports.next(&server.node)?;
        Ok(Self {
            id,
            path,
            test,
            options: options.clone(),
            client,
            server,
            port,
        })
    }

    /// Both ends are on one node.
    pub(super) fn one_node(&self) -> bool {
        self.client.node == self.server.node
    }

    /// Traffic of a round, warm-up included.
    pub(super) fn traffic_seconds(&self, round_seconds: f64) -> f64 {
        round_seconds + f64::from(self.options.warmup_ms) / 1e3
    }
}

/// The node of an endpoint, empty for an unknown one.
pub(super) fn node_of(inventory: &Inventory, endpoint: &Endpoint) -> String {
    plan::classify(endpoint, endpoint, None, inventory)
        .map(|route| route.client.node)
        .unwrap_or_default()
}

/// Hands out the ports of test traffic: the servers of interleaved runs listen at once.
#[derive(Default)]
struct Ports(BTreeMap<String, u16>);

impl Ports {
    fn next(&mut self, node: &str) -> Result<u16, PlanError> {
        let taken = self.0.entry(node.to_owned()).or_default();
        let port = TRAFFIC_PORT_FIRST + *taken;
        *taken += 1;
        if port > TRAFFIC_PORT_LAST {
            return Err(PlanError::Ports {
                node: node.to_owned(),
                runs: usize::from(*taken),
            });
        }
        Ok(port)
    }
}

/// As many pairs of rounds as asked for, or as are needed for agents to hear of each run often
/// enough: a run may come first in one block of rounds and last in the next.
fn enough_rounds(options: &Options, runs: usize) -> Result<u32, PlanError> {
    let quiet = RUN_IDLE_SECONDS as f64 * 0.8 / 2.0;
    let states = 2.0;
    let fixed =
        runs as f64 * states * (f64::from(options.warmup_ms) / 1e3 + ROUND_OVERHEAD_SECONDS);
    if fixed * 2.0 > quiet {
        return Err(PlanError::Warmup(options.warmup_ms, runs));
    }
    let needed = (runs as f64 * options.seconds / (quiet - fixed)).ceil();
    // What is no number becomes 0, and is refused where rounds are planned.
    Ok(options.rounds.max(needed as u32))
}

/// Says what the run is, and is unique.
fn run_id(path: &Path, test: TestType, number: u32, nonce: u32) -> String {
    let network = path
        .network
        .iter()
        .map(|network| format!("-{network}"))
        .collect::<String>();
    let tail = format!("-{test}-{number}-{nonce:08x}");
    let mut id: String = format!("{}{network}", path.kind)
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    id.truncate(MAX_ID - tail.len());
    id + &tail
}

#[cfg(test)]
mod tests {
    use nettoll_core::api::TollJob;

    use super::*;
    use crate::inventory::tests::sample;

    fn toll() -> TollJob {
        TollJob {
            path_cost_networks: vec!["vxlan".into(), "host-gw".into()],
            networks: vec!["vxlan".into()],
            tests: vec![TestType::PathCost, TestType::TcpRr],
            seconds: 5.0,
            pairs: 10,
            sample_hz: 99,
        }
    }

    fn planned(job: TollJob) -> Result<Plan, PlanError> {
        Plan::new(&sample(), &Job::Toll(job), 7)
    }

    #[test]
    fn runs_of_a_group_have_places_ids_and_ports_of_their_own() {
        let plan = planned(toll()).unwrap();
        assert_eq!(plan.warnings, [""; 0]);
        assert_eq!(plan.nodes().into_iter().collect::<Vec<_>>(), ["n1", "n2"]);
        let ids: BTreeSet<_> = plan.runs().map(|run| &run.id).collect();
        assert_eq!(ids.len(), plan.runs().count());
        for group in &plan.groups {
            let ports: BTreeSet<_> = group
                .runs
                .iter()
                .map(|run| (&run.server.node, run.port))
                .collect();
            assert_eq!(ports.len(), group.runs.len());
        }
        let cross = plan.groups[1].runs.last().unwrap();
        assert_eq!(cross.id, "pod-to-pod-vxlan-tcp_rr-9-00000007");
        assert_eq!(cross.client.address.to_string(), "198.18.101.2");
        assert_eq!(cross.client.node_address.to_string(), "198.18.0.1");
        assert_eq!((cross.server.node.as_str(), cross.port), ("n2", 9481));
    }

    #[test]
    fn no_id_is_too_long_or_has_strange_characters() {
        let path = Path {
            kind: nettoll_core::endpoint::PathKind::PodToPodSameNode,
            from: "node/n1".parse().unwrap(),
            to: "node/n1".parse().unwrap(),
            network: Some("a network/with é and far too long a name for anybody".into()),
        };
        let id = run_id(&path, TestType::TcpStream, 12, u32::MAX);
        assert!(
            id.len() <= 64 && id.ends_with("-tcp_stream-12-ffffffff"),
            "{id}"
        );
        assert!(
            id.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
    }

    #[test]
    fn no_run_is_silent_for_as_long_as_an_agent_waits() {
        let plan = planned(TollJob {
            seconds: 600.0,
            ..toll()
        })
        .unwrap();
        assert_eq!(plan.warnings.len(), 2);
        for group in &plan.groups {
            let rounds = group.rounds(ProbeMode::Both, 0, 1).unwrap();
            for run in 0..group.runs.len() {
                let mut silent = 0.0;
                for round in &rounds {
                    silent += group.runs[0].traffic_seconds(round.seconds) + ROUND_OVERHEAD_SECONDS;
                    if round.run == run {
                        assert!(silent < RUN_IDLE_SECONDS as f64, "{silent} s");
                        silent = 0.0;
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_refused_takes_its_comparisons_along() {
        let plan = planned(toll()).unwrap();
        let group = plan.groups[0].kept(PlannedRun::one_node);
        let kinds: Vec<_> = group
            .runs
            .iter()
            .map(|run| run.path.kind.as_str())
            .collect();
        assert_eq!(kinds, ["loopback", "pod-to-pod-same-node"]);
        assert_eq!(group.pairs, [(1, 0)]);
    }

    #[test]
    fn jobs_that_cannot_run_are_refused() {
        let told = |job| planned(job).unwrap_err().to_string();
        assert!(told(TollJob { pairs: 3, ..toll() }).contains("at least 10"));
        let unknown = TollJob {
            networks: vec!["ipip".into()],
            ..toll()
        };
        assert!(told(unknown).contains("there are vxlan, host-gw"));
        assert!(
            told(TollJob {
                seconds: 1e300,
                ..toll()
            })
            .contains("3600 s")
        );
        let many = TollJob {
            path_cost_networks: vec!["vxlan".into(); 11],
            ..toll()
        };
        assert!(told(many).contains("100 ms is too long for 14 interleaved paths"));
        let mut ports = Ports::default();
        let ten: Result<BTreeSet<_>, _> = (0..10).map(|_| ports.next("n2")).collect();
        assert_eq!(ten.unwrap().len(), 10);
        assert!(
            ports
                .next("n2")
                .unwrap_err()
                .to_string()
                .contains("end at node n2")
        );
        assert!(ports.next("n1").is_ok());
    }
}

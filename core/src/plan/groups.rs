//! Which paths a job compares with which.

use super::{Backends, Ends, PlanError, classify};
use crate::{
    api::{Inventory, TestJob, TollJob},
    endpoint::{Endpoint, Path, PathKind},
    report::TestType,
    stats::MIN_PAIRS,
};

/// Paths that one test runs on, interleaved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The type of traffic.
    pub test: TestType,
    /// The paths; a path compared with itself is in here twice.
    pub members: Vec<Path>,
}

/// The groups of a toll job, one for each of its tests: loopback, two pods of one node, the two
/// nodes themselves, and a pod on each, in each network.
pub fn toll_groups(inventory: &Inventory, job: &TollJob) -> Result<Vec<Group>, PlanError> {
    if job.tests.is_empty() {
        return Err(PlanError::NoTests);
    }
    if (job.pairs as usize) < MIN_PAIRS {
        return Err(PlanError::TooFewPairs(job.pairs));
    }
    if !(job.seconds.is_finite() && job.seconds > 0.0) {
        return Err(PlanError::Seconds(job.seconds));
    }
    let ends = Ends::new(inventory, job.from_node.as_deref(), job.to_node.as_deref())?;

    let mut groups: Vec<Group> = Vec::new();
    for &test in &job.tests {
        if groups.iter().any(|group| group.test == test) {
            continue;
        }
        let networks = match test {
            TestType::PathCost => &job.path_cost_networks,
            _ => &job.networks,
        };
        if networks.is_empty() {
            return Err(PlanError::NetworkUnnamed(test.to_string()));
        }
        let path = |kind, network| ends.path(kind, Backends::Any, network, test);
        let mut members = vec![
            path(PathKind::Loopback, None)?,
            path(PathKind::PodToPodSameNode, None)?,
            path(PathKind::HostToHost, None)?,
        ];
        for network in networks {
            members.push(path(PathKind::PodToPod, Some(network))?);
        }
        groups.push(Group { test, members });
    }
    Ok(groups)
}

/// The group of a test job: its path first, then what that is compared with, which is the
/// baseline of its kind between the same nodes, and `against` where the job names one.
pub fn test_group(inventory: &Inventory, job: &TestJob) -> Result<Group, PlanError> {
    let classify = |from, to| classify(from, to, job.network.as_deref(), job.test, inventory);
    let route = classify(&job.from, &job.to)?;
    let node = |name: &String| Endpoint::Node(name.clone());
    let baseline = match route.path.kind.baseline() {
        Some(PathKind::Loopback) => Some((node(&route.client.node), node(&route.client.node))),
        Some(_) => Some((node(&route.client.node), node(&route.server.node))),
        None => None,
    };
    let mut members = vec![route.path];
    for (from, to) in baseline.iter().chain(&job.against) {
        members.push(classify(from, to)?.path);
    }
    Ok(Group {
        test: job.test,
        members,
    })
}

/// Which members of a toll job's group are compared: (path, baseline).
///
/// Each path is compared with the baseline of its kind; `pod-to-pod` besides with `loopback` and
/// `pod-to-pod-same-node`, and in `path_cost` `host-to-host` with `loopback`.
#[must_use]
pub fn toll_pairs(group: &Group) -> Vec<(usize, usize)> {
    let further = |kind| match kind {
        PathKind::PodToPod => [PathKind::Loopback, PathKind::PodToPodSameNode].as_slice(),
        PathKind::HostToHost if group.test == TestType::PathCost => &[PathKind::Loopback],
        _ => &[],
    };
    let mut pairs = Vec::new();
    for (index, path) in group.members.iter().enumerate() {
        for &kind in path.kind.baseline().iter().chain(further(path.kind)) {
            let baseline = group.members.iter().position(|member| member.kind == kind);
            pairs.extend(baseline.map(|baseline| (index, baseline)));
        }
    }
    pairs
}

/// Which members of a test job's group are compared: the first with each other one.
#[must_use]
pub fn test_pairs(group: &Group) -> Vec<(usize, usize)> {
    (1..group.members.len()).map(|other| (0, other)).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::paths::tests::inventory, *};
    use crate::{
        api::{InventoryNode, InventoryPod, ProbeMode},
        report::Options,
    };

    fn job() -> TollJob {
        TollJob {
            from_node: None,
            to_node: None,
            path_cost_networks: vec!["vxlan".to_owned(), "host-gw".to_owned()],
            networks: vec!["vxlan".to_owned()],
            tests: vec![TestType::PathCost, TestType::TcpRr],
            seconds: 5.0,
            pairs: 10,
            sample_hz: 99,
        }
    }

    fn labels(group: &Group) -> Vec<String> {
        group.members.iter().map(Path::label).collect()
    }

    /// Path and baseline in words.
    fn compared(group: &Group) -> Vec<(String, String)> {
        let labels = labels(group);
        let pairs = toll_pairs(group).into_iter();
        pairs
            .map(|(path, baseline)| (labels[path].clone(), labels[baseline].clone()))
            .collect()
    }

    #[test]
    fn a_toll_job_has_a_group_for_each_test() {
        let groups = toll_groups(&inventory(), &job()).unwrap();
        assert_eq!(groups.len(), 2);
        let expected = [
            "loopback",
            "pod-to-pod-same-node",
            "host-to-host",
            "pod-to-pod (vxlan)",
            "pod-to-pod (host-gw)",
        ];
        assert_eq!(labels(&groups[0]), expected);
        assert_eq!(labels(&groups[1]), expected[..4]);
        let cross = &groups[1].members[3];
        assert_eq!(cross.from.to_string(), "pod/lab/n1-a");
        assert_eq!(cross.to.to_string(), "pod/lab/n2-a");
        assert_eq!(groups[1].members[1].to.to_string(), "pod/lab/n1-b");
    }

    #[test]
    fn paths_are_compared_with_their_baselines() {
        let groups = toll_groups(&inventory(), &job()).unwrap();
        let pair = |path: &str, baseline: &str| (path.to_owned(), baseline.to_owned());
        assert_eq!(
            compared(&groups[1]),
            [
                pair("pod-to-pod-same-node", "loopback"),
                pair("pod-to-pod (vxlan)", "host-to-host"),
                pair("pod-to-pod (vxlan)", "loopback"),
                pair("pod-to-pod (vxlan)", "pod-to-pod-same-node"),
            ]
        );
        let path_cost = compared(&groups[0]);
        assert_eq!(path_cost.len(), 1 + 1 + 3 + 3);
        assert!(path_cost.contains(&pair("host-to-host", "loopback")));
        assert!(path_cost.contains(&pair("pod-to-pod (host-gw)", "host-to-host")));
    }

    #[test]
    fn a_toll_lies_between_the_nodes_that_are_named() {
        let mut inventory = inventory();
        let pod = |name: &str, pod: &InventoryPod| InventoryPod {
            name: format!("lab/{name}"),
            ..pod.clone()
        };
        let third = &inventory.nodes[1];
        let third = InventoryNode {
            name: "n3".to_owned(),
            pods: vec![pod("n3-a", &third.pods[0]), pod("n3-b", &third.pods[0])],
            ..third.clone()
        };
        inventory.nodes.push(third);
        for (from, to, expected) in [
            (None, None, ["n1", "n2"]),
            (Some("n3"), None, ["n3", "n1"]),
            (None, Some("n3"), ["n1", "n3"]),
            (None, Some("n1"), ["n2", "n1"]),
            (Some("n3"), Some("n1"), ["n3", "n1"]),
        ] {
            let job = TollJob {
                from_node: from.map(str::to_owned),
                to_node: to.map(str::to_owned),
                ..job()
            };
            let members = toll_groups(&inventory, &job).unwrap().remove(0).members;
            let nodes = [&members[2].from, &members[2].to].map(ToString::to_string);
            assert_eq!(nodes, expected.map(|name| format!("node/{name}")));
        }
        let job = TollJob {
            from_node: Some("n3".to_owned()),
            ..job()
        };
        let path = toll_groups(&inventory, &job)
            .unwrap()
            .remove(0)
            .members
            .remove(3);
        assert_eq!(
            (path.from.to_string(), path.to.to_string()),
            ("pod/lab/n3-a".to_owned(), "pod/lab/n1-a".to_owned())
        );
    }

    #[test]
    fn jobs_that_cannot_be_measured_say_why() {
        let with = |change: fn(&mut Inventory, &mut TollJob)| {
            let (mut inventory, mut job) = (inventory(), job());
            change(&mut inventory, &mut job);
            toll_groups(&inventory, &job).unwrap_err().to_string()
        };
        for (found, expected) in [
            (
                with(|i, _| i.nodes.truncate(1)),
                "two nodes are needed; the inventory has 1",
            ),
            (
                with(|i, _| i.nodes[0].pods.truncate(1)),
                "2 pods are needed on node/n1; the inventory has 1",
            ),
            (
                with(|i, _| i.nodes[1].pods.clear()),
                "1 pods are needed on node/n2",
            ),
            (
                with(|_, j| j.networks.clear()),
                "no pod network is named for tcp_rr",
            ),
            (
                with(|_, j| j.networks = vec!["x".to_owned()]),
                "there are vxlan, host-gw",
            ),
            (with(|_, j| j.tests.clear()), "no test is named"),
            (
                with(|_, j| j.tests = vec![TestType::HttpRr]),
                "the tests there are tcp_stream, tcp_reverse, udp_stream, tcp_rr, udp_rr, path_cost",
            ),
            (
                with(|_, j| j.from_node = Some("n9".to_owned())),
                "there is no node/n9; there are node/n1, node/n2",
            ),
            (
                with(|_, j| j.to_node = j.from_node.insert("n2".to_owned()).clone().into()),
                "both are n2",
            ),
            (with(|_, j| j.pairs = 9), "at least 10"),
            (with(|_, j| j.seconds = f64::NAN), "NaN seconds"),
        ] {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_test_job_compares_its_path_with_the_baseline_and_what_is_asked() {
        let end = |text: &str| text.parse::<Endpoint>().unwrap();
        let mut job = TestJob {
            from: end("pod/lab/n1-a"),
            to: end("pod/lab/n2-a"),
            network: Some("host-gw".to_owned()),
            test: TestType::TcpRr,
            options: Options {
                seconds: 5.0,
                rounds: 10,
                warmup_ms: 100,
                message_bytes: 131_072,
                request_bytes: 1,
                response_bytes: 1,
                sample_hz: 0,
                mss_bytes: None,
                datagram_bytes: 1_400,
                rate_bits_per_second: None,
            },
            against: Some((end("pod/lab/n1-a"), end("pod/lab/n1-b"))),
            probe: ProbeMode::Off,
        };
        let group = test_group(&inventory(), &job).unwrap();
        assert_eq!(
            labels(&group),
            [
                "pod-to-pod (host-gw)",
                "host-to-host",
                "pod-to-pod-same-node"
            ]
        );
        assert_eq!(test_pairs(&group), [(0, 1), (0, 2)]);
        // To a service whose only backend is on the client's node.
        (job.from, job.to) = (end("pod/lab/n1-b"), end("service/lab/echo:81"));
        (job.against, job.network) = (None, None);
        let group = test_group(&inventory(), &job).unwrap();
        assert_eq!(labels(&group), ["pod-to-service", "loopback"]);
        job.to = end("service/lab/echo");
        let group = test_group(&inventory(), &job).unwrap();
        assert_eq!(labels(&group), ["pod-to-service (vxlan)", "host-to-host"]);
        job.network = Some("host-gw".to_owned());
        let refused = test_group(&inventory(), &job).unwrap_err().to_string();
        assert!(
            refused.contains("'vxlan' alone, not in 'host-gw'"),
            "{refused}"
        );
        // An A/A run.
        (job.from, job.to) = (end("node/n1"), end("node/n2"));
        job.against = Some((end("node/n1"), end("node/n2")));
        let group = test_group(&inventory(), &job).unwrap();
        assert_eq!(labels(&group), ["host-to-host", "host-to-host"]);
        assert_eq!(test_pairs(&group), [(0, 1)]);
    }
}

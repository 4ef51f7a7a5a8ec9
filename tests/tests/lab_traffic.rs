//! Two agents make traffic between two pods; the kernel's own counters say what was there.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::{
        Calibrate, FlowTuple, Place, Prepared, ResolveRequest, Resolved, Role, RoundSide,
        RoundSpec, RunSide, RunSpec, TRAFFIC_PORT_FIRST,
    },
    device::Device,
    endpoint::{Path, PathKind},
    report::{Options, TestType},
};
use nettoll_lab::{
    Lab, Network, netns,
    plan::{Node, PodNetwork},
};
use nettoll_tests::{
    agent::{Agent, Certificates},
    bed, require_root,
};

const WARMUP_MS: u32 = 20;

struct Bed {
    client: Agent,
    server: Agent,
    lab: Lab,
}

impl Bed {
    fn up() -> Result<Self> {
        require_root()?;
        let lab = Lab::up(&bed::options(Network::Vxlan))?;
        let certificates = Certificates::new()?;
        let [client, server] =
            [0, 1].map(|node| Agent::start(&lab.plan().nodes[node], &certificates));
        Ok(Self {
            client: client?,
            server: server?,
            lab,
        })
    }

    fn node(&self, index: usize) -> &Node {
        &self.lab.plan().nodes[index]
    }

    /// The namespace of a node's first pod.
    fn pod(&self, index: usize) -> String {
        self.node(index).pods[0].netns()
    }

    /// A node's first pod as one end of a path, and the devices of the node.
    fn place(&self, index: usize) -> Result<(Place, Vec<Device>)> {
        let address = |index: usize| self.node(index).pods[0].address(PodNetwork::Vxlan).into();
        let (agent, other) = if index == 0 {
            (&self.client, 1)
        } else {
            (&self.server, 0)
        };
        let ask = ResolveRequest {
            endpoint: format!("pod/lab/{}", self.node(index).pods[0].name).parse()?,
            pod_uid: None,
            local_address: address(index),
            peer_address: address(other),
            peer_node_address: Some(self.node(other).address().into()),
        };
        let Resolved { netns, devices, .. } = agent.ask("POST", "/v1/resolve", &ask)?;
        let place = Place {
            endpoint: ask.endpoint,
            pod_uid: None,
            netns,
            address: ask.local_address,
        };
        Ok((place, devices))
    }

    fn spec(&self, test: TestType) -> Result<RunSpec> {
        let ((client, mut devices), (server, others)) = (self.place(0)?, self.place(1)?);
        devices.extend(others);
        Ok(RunSpec {
            id: test.as_str().to_owned(),
            path: Path {
                kind: PathKind::PodToPod,
                from: client.endpoint.clone(),
                to: server.endpoint.clone(),
                network: Some("vxlan".to_owned()),
            },
            test,
            options: Options {
                seconds: 1.0,
                rounds: 1,
                warmup_ms: WARMUP_MS,
                message_bytes: 131_072,
                request_bytes: 64,
                response_bytes: 64,
                sample_hz: 0,
            },
            role: Role::Client,
            client,
            server,
            port: TRAFFIC_PORT_FIRST,
            service: None,
            devices,
            count_nodes: vec!["n1".to_owned()],
            sample: false,
        })
    }

    /// Prepares, connects and warms up.
    fn begin_run(&self, spec: &RunSpec) -> Result<()> {
        let of_server = RunSpec {
            role: Role::Server,
            count_nodes: vec!["n2".to_owned()],
            ..spec.clone()
        };
        self.server
            .ask::<Prepared>("POST", "/v1/runs", &of_server)?;
        let prepared: Prepared = self.client.ask("POST", "/v1/runs", spec)?;
        let flow: FlowTuple = prepared.flow.context("the client has no flow")?;
        self.server
            .ask::<FlowTuple>("POST", &format!("/v1/runs/{}/flow", spec.id), &flow)?;
        self.client
            .ask("POST", &format!("/v1/runs/{}/start", spec.id), &())
    }

    /// One round; what both sides measured.
    fn round(&self, id: &str, round: &RoundSpec) -> Result<(RoundSide, RoundSide)> {
        let path = |what| format!("/v1/runs/{id}/{what}");
        self.server.ask::<()>("POST", &path("begin"), round)?;
        self.client.ask::<()>("POST", &path("begin"), round)?;
        let client = self.client.ask("POST", &path("run"), round)?;
        let server = self.server.ask("POST", &path("end"), &())?;
        self.client.ask::<RoundSide>("POST", &path("end"), &())?;
        Ok((client, server))
    }

    fn end_run(&self, id: &str) -> Result<()> {
        for agent in [&self.client, &self.server] {
            agent.ask::<()>("DELETE", &format!("/v1/runs/{id}"), &())?;
        }
        Ok(())
    }
}

fn round(probe: bool) -> RoundSpec {
    RoundSpec {
        pair: 0,
        sequence: 0,
        probe,
        calibrate: None,
        seconds: 0.5,
    }
}

/// Reads a file of /proc/net as a thread in the namespace sees it.
fn proc_net(namespace: &str, file: &str) -> Result<String> {
    let path = format!("/proc/thread-self/net/{file}");
    netns::within(namespace, || fs::read_to_string(&path))?.with_context(|| path.clone())
}

/// A counter of /proc/net/snmp, which has a line of names and a line of values per protocol.
fn snmp(namespace: &str, protocol: &str, name: &str) -> Result<u64> {
    let text = proc_net(namespace, "snmp")?;
    let mut lines = text.lines().filter(|line| line.starts_with(protocol));
    let (names, values) = lines.next().zip(lines.next()).context("no such protocol")?;
    let counters: BTreeMap<_, _> = names
        .split_whitespace()
        .zip(values.split_whitespace())
        .collect();
    Ok(counters.get(name).context("no such counter")?.parse()?)
}

/// Bytes that a device of the namespace sent.
fn sent_bytes(namespace: &str, device: &str) -> Result<u64> {
    let text = proc_net(namespace, "dev")?;
    let of_device = |line: &str| {
        Some(
            line.trim_start()
                .strip_prefix(device)?
                .strip_prefix(':')?
                .to_owned(),
        )
    };
    let counters = text.lines().find_map(of_device).context("no such device")?;
    Ok(counters
        .split_whitespace()
        .nth(8)
        .context("no counter")?
        .parse()?)
}

#[test]
fn datagrams_are_those_that_the_kernel_delivered() -> Result<()> {
    let bed = Bed::up()?;
    let spec = bed.spec(TestType::UdpRr)?;
    bed.begin_run(&spec)?;
    for probe in [false, true] {
        let delivered = || -> Result<(u64, u64)> {
            Ok((
                snmp(&bed.pod(0), "Udp:", "InDatagrams")?,
                snmp(&bed.pod(1), "Udp:", "InDatagrams")?,
            ))
        };
        let before = delivered()?;
        let (client, server) = bed.round(&spec.id, &round(probe))?;
        let after = delivered()?;
        ensure!(client.transactions > 0 && client.lost == 0, "{client:?}");
        assert_eq!(
            after.0 - before.0,
            client.transactions,
            "responses, probe {probe}"
        );
        assert_eq!(
            after.1 - before.1,
            client.transactions,
            "requests, probe {probe}"
        );
        assert_eq!(server.transactions, client.transactions);
    }
    bed.end_run(&spec.id)
}

#[test]
fn acknowledged_bytes_went_over_the_pods_device() -> Result<()> {
    let bed = Bed::up()?;
    let mut spec = bed.spec(TestType::TcpStream)?;
    spec.options.warmup_ms = 0;
    bed.begin_run(&spec)?;
    let before = sent_bytes(&bed.pod(0), "eth0")?;
    let (client, server) = bed.round(&spec.id, &round(false))?;
    let went = sent_bytes(&bed.pod(0), "eth0")? - before;
    // Beside the payload: headers, at most 66 of some 1,400 bytes, and what was under way at the
    // end, at most the send buffer.
    let buffers: u64 = 8 << 20;
    ensure!(
        went >= client.bytes && went as f64 <= 1.06 * client.bytes as f64 + buffers as f64,
        "{went} bytes on the device, {} acknowledged",
        client.bytes
    );
    ensure!(
        server.bytes <= went && server.bytes + buffers >= client.bytes,
        "{} received, {} acknowledged",
        server.bytes,
        client.bytes
    );
    bed.end_run(&spec.id)
}

#[test]
fn a_deleted_run_leaves_no_socket_in_the_pods() -> Result<()> {
    let bed = Bed::up()?;
    let port = format!(":{TRAFFIC_PORT_FIRST:04X}");
    for (test, table) in [(TestType::TcpRr, "tcp"), (TestType::UdpRr, "udp")] {
        let spec = bed.spec(test)?;
        bed.begin_run(&spec)?;
        let there = |pod: usize| -> Result<Vec<String>> {
            let sockets = proc_net(&bed.pod(pod), table)?;
            // 06 is TIME_WAIT: nobody's socket any more.
            let ours = |line: &&str| line.contains(&port) && !line.contains(" 06 ");
            Ok(sockets.lines().filter(ours).map(str::to_owned).collect())
        };
        ensure!(
            !there(0)?.is_empty() && !there(1)?.is_empty(),
            "{test} has no sockets"
        );
        bed.end_run(&spec.id)?;
        assert_eq!(
            [there(0)?, there(1)?],
            [Vec::<String>::new(), Vec::new()],
            "{test}"
        );
    }
    Ok(())
}

#[test]
fn a_pod_of_another_inode_is_refused() -> Result<()> {
    let bed = Bed::up()?;
    let mut spec = bed.spec(TestType::TcpRr)?;
    spec.client.netns += 1;
    let (status, body) = bed.client.request("POST", "/v1/runs", &spec)?;
    assert_eq!(status, 409, "{body}");
    ensure!(body.contains("resolve the path again"), "{body}");
    Ok(())
}

#[test]
fn a_calibration_changes_nothing_but_the_programs_times() -> Result<()> {
    let bed = Bed::up()?;
    let spec = bed.spec(TestType::TcpRr)?;
    bed.begin_run(&spec)?;
    let (measured, _) = bed.round(&spec.id, &round(true))?;
    let calibration = |calibrate| RoundSpec {
        calibrate: Some(calibrate),
        ..round(true)
    };
    // After seams the run goes on, after run times it does not.
    bed.round(&spec.id, &calibration(Calibrate::Seams))?;
    let (more, _) = bed.round(&spec.id, &round(true))?;
    bed.round(&spec.id, &calibration(Calibrate::Seams))?;
    bed.round(&spec.id, &calibration(Calibrate::RunTimes))?;
    let transactions = measured.transactions + more.transactions;
    let path = |what| format!("/v1/runs/{}/{what}", spec.id);
    let (status, body) = bed.client.request("POST", &path("begin"), &round(true))?;
    assert_eq!(status, 409, "{body}");
    for agent in [&bed.client, &bed.server] {
        let side: RunSide = agent.ask("POST", &path("finish"), &())?;
        let queue = side
            .programs
            .iter()
            .find(|program| program.name == "net_dev_queue");
        let queue = queue.context("no program net_dev_queue")?;
        let (mean, empty) = queue
            .mean_ns
            .zip(queue.empty_mean_ns)
            .context("not calibrated")?;
        ensure!(mean > empty && empty > 0.0, "{mean} ns, empty {empty} ns");
        let seam = side.seam_ns.context("no seam")?;
        ensure!(
            seam > 1.0 && seam < 300.0,
            "{seam} ns between two programs on one tracepoint"
        );
        for user in &side.user_times {
            ensure!(
                user.times.count.abs_diff(transactions) * 100 <= transactions,
                "{} {:?}, {transactions} transactions in measured rounds",
                user.times.count,
                user.stage,
            );
        }
    }
    bed.end_run(&spec.id)
}

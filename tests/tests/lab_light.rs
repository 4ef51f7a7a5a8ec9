//! Light rounds between real agents: what comes of a plan, of a packet that is dropped, of a link
//! that is cut and mended.

use std::{
    process::Command,
    sync::atomic::Ordering,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::{
        LIGHT_CLIENT_PORT, LIGHT_PORT, LightEdge, LightPlace, LightPlan, LightResponder,
        LightResults, LightRound, Prepared, RoundSide, RoundSpec, RunSpec,
    },
    endpoint::{Path, PathKind},
    hop::{Direction, Side},
};
use nettoll_lab::{
    Lab, Network, Options, Underlay,
    plan::{Node, POD_NAMESPACE, PodNetwork},
};
use nettoll_tests::{
    agent::{Agent, Certificates},
    bed::options,
    forwarder::Forwarder,
    require_root,
};

/// Of the edges' ids.
const HOST: &str = "host";
const POD: &str = "pod";
/// For what a plan says to come about.
const PATIENCE: Duration = Duration::from_secs(15);

/// A lab with an agent on each node.
struct Mesh {
    lab: Lab,
    first: Agent,
    second: Agent,
    /// The agents read them again and again.
    _certificates: Certificates,
    instance: u64,
    next: u64,
}

impl Mesh {
    fn up() -> Result<Self> {
        Self::over(Underlay::Veth)
    }

    fn over(underlay: Underlay) -> Result<Self> {
        require_root()?;
        let lab = Lab::up(&Options {
            underlay,
            ..options(Network::Vxlan)
        })?;
        let certificates = Certificates::new()?;
        let nodes = &lab.plan().nodes;
        Ok(Self {
            first: Agent::start(&nodes[0], &certificates)?,
            second: Agent::start(&nodes[1], &certificates)?,
            lab,
            _certificates: certificates,
            instance: 0,
            next: 0,
        })
    }

    fn nodes(&self) -> (&Node, &Node) {
        let nodes = &self.lab.plan().nodes;
        (&nodes[0], &nodes[1])
    }

    /// The first node asks, the second one answers.
    fn put(&self, plan: &LightPlan) -> Result<()> {
        let (_, second) = self.nodes();
        let answers = LightPlan {
            version: plan.version.clone(),
            responders: vec![
                LightResponder {
                    place: host(second),
                    port: LIGHT_PORT,
                },
                LightResponder {
                    place: pod(second),
                    port: LIGHT_PORT,
                },
            ],
            ..LightPlan::default()
        };
        self.second.ask::<()>("PUT", "/v1/light", &answers)?;
        self.first.ask("PUT", "/v1/light", plan)
    }

    /// The rounds since the last call.
    fn rounds(&mut self) -> Result<Vec<LightRound>> {
        let path = format!("/v1/light?after={}", self.next);
        let results: LightResults = self.first.ask("GET", &path, &())?;
        ensure!(
            self.instance == 0 || self.instance == results.instance,
            "another start of the agent"
        );
        (self.instance, self.next) = (results.instance, results.next);
        Ok(results.rounds)
    }

    /// The next round of an edge for which this holds.
    fn until(&mut self, edge: &str, holds: impl Fn(&LightRound) -> bool) -> Result<LightRound> {
        let begin = Instant::now();
        let mut last = None;
        loop {
            for round in self.rounds()? {
                if round.edge == edge && holds(&round) {
                    return Ok(round);
                }
                last = Some(round);
            }
            ensure!(begin.elapsed() < PATIENCE, "the last round: {last:?}");
            sleep(Duration::from_millis(100));
        }
    }
}

fn host(node: &Node) -> LightPlace {
    LightPlace {
        endpoint: nettoll_core::endpoint::Endpoint::Node(node.name.clone()),
        pod_uid: None,
        address: node.address().into(),
    }
}

fn pod(node: &Node) -> LightPlace {
    let pod = &node.pods[0];
    LightPlace {
        endpoint: nettoll_core::endpoint::Endpoint::Pod {
            namespace: POD_NAMESPACE.to_owned(),
            name: pod.name.clone(),
        },
        pod_uid: None,
        address: pod.address(PodNetwork::Vxlan).into(),
    }
}

fn edge(id: &str, kind: PathKind, from: LightPlace, to: &LightPlace, to_node: &Node) -> LightEdge {
    LightEdge {
        id: id.to_owned(),
        path: Path {
            kind,
            from: from.endpoint.clone(),
            to: to.endpoint.clone(),
            network: None,
        },
        from,
        to: to.address,
        to_node: Some(to_node.address().into()),
        from_port: LIGHT_CLIENT_PORT,
        to_port: LIGHT_PORT,
        offset_ms: 0,
        probe: false,
    }
}

/// A plan that does not take long: both edges of the two nodes.
fn plan(mesh: &Mesh, version: &str) -> LightPlan {
    let (first, second) = mesh.nodes();
    let mut pods = edge(POD, PathKind::PodToPod, pod(first), &pod(second), second);
    pods.offset_ms = 700;
    LightPlan {
        version: version.to_owned(),
        period_ms: 1_500,
        requests: 20,
        timeout_ms: 500,
        edges: vec![
            edge(
                HOST,
                PathKind::HostToHost,
                host(first),
                &host(second),
                second,
            ),
            pods,
        ],
        ..LightPlan::default()
    }
}

fn whole(round: &LightRound) -> bool {
    round.failed.is_none() && round.answered == 20 && round.lost == 0
}

/// Runs a command in a namespace of the lab.
fn inside(netns: &str, command: &[&str]) -> Result<()> {
    let status = Command::new("ip")
        .args(["netns", "exec", netns])
        .args(command)
        .status()?;
    ensure!(status.success(), "{command:?} in {netns}: {status}");
    Ok(())
}

#[test]
fn rounds_come_by_the_plan_and_survive_a_new_one() -> Result<()> {
    let mut mesh = Mesh::up()?;
    let before: LightResults = mesh.first.ask("GET", "/v1/light", &())?;
    assert_eq!((before.version, before.rounds.len()), (None, 0));
    let mut planned = plan(&mesh, "one");
    mesh.put(&planned)?;
    // The responders may open a moment later than the first requests come.
    for id in [HOST, POD] {
        let round = mesh.until(id, whole)?;
        println!(
            "{id}: mean {} ns, late {} ns",
            round.rtt.sum_ns / 20,
            round.late_ns / 20
        );
        assert_eq!((round.sent, round.rtt.count), (20, 20));
        assert!(round.late_ns < 20 * 10_000_000, "{round:?}");
        let told: u64 = round.rtt.histogram.iter().map(|(_, count)| count).sum();
        assert_eq!(told, 20);
        assert!(round.age_ms < 10_000 && round.stages.is_empty());
        assert_eq!((round.no_probe, round.refused), (None, None));
    }

    // The pods' edge goes; the responders and the other edge do not notice.
    planned.version = "two".to_owned();
    planned.edges.truncate(1);
    mesh.put(&planned)?;
    mesh.rounds()?;
    let begin = Instant::now();
    let mut rounds = Vec::new();
    while begin.elapsed() < Duration::from_secs(5) {
        sleep(Duration::from_millis(500));
        rounds.extend(mesh.rounds()?);
    }
    assert!(
        (3..=4).contains(&rounds.len()),
        "{} rounds in 5 s",
        rounds.len()
    );
    for round in &rounds {
        assert!(round.edge == HOST && whole(round), "{round:?}");
    }
    let numbers: Vec<_> = rounds.iter().map(|round| round.sequence).collect();
    assert!(
        numbers.windows(2).all(|two| two[1] == two[0] + 1),
        "{numbers:?}"
    );
    let results: LightResults = mesh.second.ask("GET", "/v1/light", &())?;
    assert_eq!(results.version.as_deref(), Some("two"));
    for state in &results.responders {
        assert!(state.failed.is_none() && state.answered >= 20, "{state:?}");
    }
    let (_, page) = mesh.first.page("/metrics")?;
    for series in [
        "nettoll_agent_light_edges 1",
        "nettoll_agent_light_requests_total{outcome=\"lost\"}",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
    ] {
        assert!(page.contains(series), "{series}\n{page}");
    }
    Ok(())
}

#[test]
fn a_plan_out_of_bounds_is_refused_and_changes_nothing() -> Result<()> {
    let mut mesh = Mesh::up()?;
    mesh.put(&plan(&mesh, "good"))?;
    let mut bad = plan(&mesh, "bad");
    bad.edges[1].id = HOST.to_owned();
    let (status, body) = mesh.first.request("PUT", "/v1/light", &bad)?;
    assert!(status == 400 && body.contains("twice"), "{status} {body}");
    let (status, body) = mesh.first.request("GET", "/v1/light?after=x", &())?;
    assert!(status == 400 && body.contains("after="), "{status} {body}");
    mesh.until(HOST, whole)?;
    let results: LightResults = mesh.first.ask("GET", "/v1/light", &())?;
    assert_eq!(results.version.as_deref(), Some("good"));
    Ok(())
}

#[test]
fn what_cannot_be_made_fails_alone_and_says_why() -> Result<()> {
    let mut mesh = Mesh::up()?;
    let mut planned = plan(&mesh, "gone");
    planned.edges[1].from.pod_uid = Some("0a1b2c3d-1111-2222-3333-444455556666".to_owned());
    mesh.put(&planned)?;
    let failed = mesh.until(POD, |round| round.failed.is_some())?;
    assert_eq!(
        (failed.sent, failed.lost),
        (0, 0),
        "nothing was sent, so nothing was lost"
    );
    let why = failed.failed.context("no reason")?;
    assert!(why.contains("0a1b2c3d"), "{why}");
    mesh.until(HOST, whole)?;
    Ok(())
}

#[test]
fn a_pod_that_goes_away_ends_its_own_rounds_alone() -> Result<()> {
    let mut mesh = Mesh::up()?;
    mesh.put(&plan(&mesh, "restart"))?;
    mesh.until(POD, whole)?;
    let (first, second) = mesh.nodes();
    let (asks, answers) = (first.pods[0].netns(), second.pods[0].netns());
    for netns in [&asks, &answers] {
        let status = Command::new("ip").args(["netns", "del", netns]).status()?;
        ensure!(status.success(), "cannot delete {netns}: {status}");
    }
    let gone = mesh.until(POD, |round| round.failed.is_some())?;
    println!("{:?}", gone.failed);
    let host = mesh.until(HOST, |_| true)?;
    assert!(whole(&host), "{host:?}");
    let begin = Instant::now();
    loop {
        let results: LightResults = mesh.second.ask("GET", "/v1/light", &())?;
        let failed: Vec<_> = results
            .responders
            .iter()
            .filter_map(|state| state.failed.as_ref())
            .collect();
        match failed.as_slice() {
            [why] => {
                println!("{why}");
                assert!(why.contains(&answers), "{why}");
                return Ok(());
            }
            more => ensure!(
                more.is_empty() && begin.elapsed() < PATIENCE,
                "responders: {:?}",
                results.responders
            ),
        }
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_dropped_request_is_lost_and_never_fast() -> Result<()> {
    let mut mesh = Mesh::over(Underlay::Tap)?;
    let forwarder = Forwarder::start(&mesh.lab)?;
    mesh.put(&plan(&mesh, "drops"))?;
    mesh.until(HOST, whole)?;
    let quiet = mesh.until(POD, whole)?;
    forwarder.request.drop_every.store(4, Ordering::Relaxed);
    let lossy = mesh.until(POD, |round| round.lost == 5)?;
    assert_eq!((lossy.sent, lossy.answered), (20, 15));
    assert_eq!((lossy.rtt.count, &lossy.failed), (15, &None));
    // What is lost has no latency, and what is not is as it was: neither zero nor the timeout.
    let fastest = |round: &LightRound| round.rtt.histogram.first().map_or(0, |(bound, _)| *bound);
    assert!(fastest(&lossy) * 3 > fastest(&quiet), "{lossy:?} {quiet:?}");
    assert!(lossy.rtt.max_ns < 400_000_000, "{lossy:?}");
    let host = mesh.until(HOST, |_| true)?;
    assert!(whole(&host), "the other edge does not notice: {host:?}");
    forwarder.request.drop_every.store(0, Ordering::Relaxed);
    mesh.until(POD, whole)?;
    Ok(())
}

#[test]
fn a_queue_is_seen_from_outside_and_late_answers_are_nobodys() -> Result<()> {
    let mut mesh = Mesh::over(Underlay::Tap)?;
    let forwarder = Forwarder::start(&mesh.lab)?;
    mesh.put(&plan(&mesh, "queue"))?;
    mesh.until(POD, whole)?;
    // One packet in 25 ms where one comes every 10 ms: the last of 20 waits for some 300 ms. A
    // closed loop would see 25 ms.
    forwarder
        .request
        .hold_ns
        .store(25_000_000, Ordering::Relaxed);
    let queued = mesh.until(POD, |round| whole(round) && round.rtt.max_ns > 200_000_000)?;
    println!("mean {} ms", queued.rtt.sum_ns / 20_000_000);
    assert!(queued.rtt.sum_ns / 20 > 100_000_000, "{queued:?}");
    // Now the later half comes back after its time, and partly in the next round.
    forwarder
        .request
        .hold_ns
        .store(70_000_000, Ordering::Relaxed);
    let late = mesh.until(POD, |round| round.lost > 5)?;
    assert_eq!(late.answered + late.lost, 20);
    assert!(late.rtt.max_ns <= 500_000_000, "{late:?}");
    forwarder.request.hold_ns.store(0, Ordering::Relaxed);
    let back = mesh.until(POD, whole)?;
    assert!(back.rtt.max_ns < 400_000_000, "{back:?}");
    Ok(())
}

#[test]
fn a_cut_link_is_seen_and_its_mending_too() -> Result<()> {
    let mut mesh = Mesh::up()?;
    mesh.put(&plan(&mesh, "cut"))?;
    mesh.until(HOST, whole)?;
    mesh.until(POD, whole)?;
    let (_, second) = mesh.nodes();
    let netns = second.netns();
    inside(&netns, &["ip", "link", "set", "eth0", "down"])?;
    for id in [HOST, POD] {
        let dead = mesh.until(id, |round| round.answered == 0)?;
        assert_eq!((dead.sent, dead.lost), (20, 20), "{dead:?}");
        assert_eq!((dead.rtt.count, &dead.failed), (0, &None));
    }
    inside(&netns, &["ip", "link", "set", "eth0", "up"])?;
    mesh.until(HOST, whole)?;
    mesh.until(POD, whole)?;
    Ok(())
}

#[test]
fn the_probe_follows_a_round_and_gives_way_to_a_run() -> Result<()> {
    let mut mesh = Mesh::up()?;
    let mut planned = plan(&mesh, "probe");
    planned.edges.iter_mut().for_each(|edge| edge.probe = true);
    mesh.put(&planned)?;
    let round = mesh.until(POD, |round| whole(round) && !round.stages.is_empty())?;
    for stage in &round.stages {
        println!(
            "{:?} {} {} {:?} {:?} {:.0} ns, cpu {:?}",
            stage.side,
            stage.direction.as_str(),
            stage.stage,
            stage.device_kind,
            stage.packets,
            stage.mean_ns,
            stage.cpu_ns_per_packet
        );
    }
    assert_eq!(round.no_probe, None);
    let find = |direction, name: &str| {
        let found = round
            .stages
            .iter()
            .find(|stage| stage.direction == direction && stage.stage == name);
        found.with_context(|| format!("no stage {name}"))
    };
    let encap = find(Direction::Request, "encap")?;
    assert_eq!(encap.packets, Some(20), "{encap:?}");
    assert_eq!(encap.side, Some(Side::Client));
    assert!(
        encap.cpu_ns_per_packet.is_some_and(|ns| ns > 0.0),
        "{encap:?}"
    );
    find(Direction::Request, "socket_tx")?;
    find(Direction::Response, "socket_rx")?;
    let host = mesh.until(HOST, |round| whole(round) && !round.stages.is_empty())?;
    assert!(
        host.stages.iter().all(|stage| stage.stage != "encap"),
        "{host:?}"
    );
    let (_, page) = mesh.first.page("/metrics")?;
    assert!(
        page.contains("nettoll_agent_stage_packets_total{path=\"pod-to-pod\",side=\"client\",direction=\"request\",stage=\"encap\""),
        "{page}"
    );

    // A run takes the probe, and light rounds go on without it.
    let (first, _) = mesh.nodes();
    let spec = loopback(&mesh.first, first)?;
    let probed = RoundSpec {
        pair: 0,
        sequence: 0,
        probe: true,
        calibrate: None,
        seconds: 1.0,
    };
    mesh.first.ask::<Prepared>("POST", "/v1/runs", &spec)?;
    mesh.first.ask::<()>("POST", "/v1/runs/one/start", &())?;
    mesh.first
        .ask::<()>("POST", "/v1/runs/one/begin", &probed)?;
    mesh.rounds()?;
    mesh.first
        .ask::<RoundSide>("POST", "/v1/runs/one/run", &probed)?;
    let without = mesh.until(POD, |round| round.no_probe.is_some())?;
    assert!(without.stages.is_empty() && whole(&without), "{without:?}");
    mesh.first
        .ask::<RoundSide>("POST", "/v1/runs/one/end", &())?;
    mesh.first.ask::<()>("DELETE", "/v1/runs/one", &())?;
    mesh.until(POD, |round| !round.stages.is_empty())?;
    Ok(())
}

/// A run over the node's loopback device.
fn loopback(agent: &Agent, node: &Node) -> Result<RunSpec> {
    use nettoll_core::{
        api::{Place, ResolveRequest, Resolved, Role, TRAFFIC_PORT_FIRST},
        report::{Options as RunOptions, TestType},
    };
    let LightPlace {
        endpoint, address, ..
    } = host(node);
    let ask = ResolveRequest {
        endpoint: endpoint.clone(),
        pod_uid: None,
        local_address: address,
        peer_address: address,
        peer_node_address: None,
    };
    let Resolved { netns, devices } = agent.ask("POST", "/v1/resolve", &ask)?;
    let place = Place {
        endpoint: endpoint.clone(),
        pod_uid: None,
        netns,
        address,
    };
    Ok(RunSpec {
        id: "one".to_owned(),
        path: Path {
            kind: PathKind::Loopback,
            from: endpoint.clone(),
            to: endpoint,
            network: None,
        },
        test: TestType::UdpRr,
        options: RunOptions {
            seconds: 1.0,
            rounds: 1,
            warmup_ms: 10,
            message_bytes: 1,
            request_bytes: 64,
            response_bytes: 64,
            sample_hz: 0,
        },
        role: Role::Both,
        client: place.clone(),
        server: place,
        port: TRAFFIC_PORT_FIRST,
        devices,
        count_nodes: vec![node.name.clone()],
        sample: false,
    })
}

#[test]
fn an_idle_mesh_costs_little() -> Result<()> {
    let mut mesh = Mesh::up()?;
    let (first, second) = mesh.nodes();
    mesh.first
        .ask::<()>("PUT", "/v1/light", &default_mesh(first, second))?;
    mesh.second
        .ask::<()>("PUT", "/v1/light", &default_mesh(second, first))?;
    sleep(Duration::from_secs(12));
    let value = |page: &str, name: &str| -> Result<f64> {
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.context("no such series")?.trim().parse()?)
    };
    let cpu = |page: &str| value(page, "process_cpu_seconds_total ");
    let (begin, before) = (Instant::now(), cpu(&mesh.first.page("/metrics")?.1)?);
    sleep(Duration::from_secs(30));
    let page = mesh.first.page("/metrics")?.1;
    let share = (cpu(&page)? - before) / begin.elapsed().as_secs_f64();
    let mib = value(&page, "process_resident_memory_bytes ")? / f64::from(1 << 20);
    println!("{:.3} % of a core, {mib:.1} MiB", share * 100.0);
    assert!(mesh.rounds()?.len() >= 10);
    assert!(share <= 0.005, "{:.3} % of a core", share * 100.0);
    assert!(mib <= 32.0, "{mib:.1} MiB");
    Ok(())
}

/// What an agent has to do in the default mesh: five neighbours, each by host and by pod, those of
/// the first followed by the probe, and as many that ask it.
fn default_mesh(own: &Node, other: &Node) -> LightPlan {
    let edges = (0..5_u16).flat_map(|number| {
        [
            edge(HOST, PathKind::HostToHost, host(own), &host(other), other),
            edge(POD, PathKind::PodToPod, pod(own), &pod(other), other),
        ]
        .map(|edge| LightEdge {
            id: format!("{}-{number}", edge.id),
            from_port: LIGHT_CLIENT_PORT - number,
            offset_ms: u32::from(number) * 6_000 + if edge.id == POD { 500 } else { 0 },
            probe: number == 0,
            ..edge
        })
    });
    let responders = [host(own), pod(own)].map(|place| LightResponder {
        place,
        port: LIGHT_PORT,
    });
    LightPlan {
        version: "idle".to_owned(),
        edges: edges.collect(),
        responders: responders.into(),
        ..LightPlan::default()
    }
}

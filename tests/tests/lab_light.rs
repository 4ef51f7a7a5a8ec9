//! Light rounds between real agents: what comes of a plan, the probe in them, and what they cost.

use std::{
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::{
        LIGHT_CLIENT_PORT, LIGHT_PORT, LightEdge, LightPlan, LightResults, Prepared, Protocol,
        RoundSide, RoundSpec,
    },
    endpoint::PathKind,
    hop::{Direction, Side},
    report::{Stage, TestType},
};
use nettoll_lab::plan::{Node, PodNetwork, UNDERLAY_MTU};
use nettoll_tests::{
    agent::Agent,
    loopback::loopback,
    mesh::{
        HOST, Mesh, PATIENCE, POD, edge, host, over_tcp, plan, pod, responders, watches, whole,
    },
};

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

    // What the devices of the lab have.
    for (id, bytes) in [(HOST, UNDERLAY_MTU), (POD, mesh.lab.plan().pod_mtu())] {
        let test = mesh.path_mtu(id)?;
        assert_eq!((test.bytes, test.ok), (bytes, true), "{test:?}");
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

/// Beside each other, as in the mesh's plans.
#[test]
fn rounds_over_tcp_go_beside_those_over_udp() -> Result<()> {
    let mut mesh = Mesh::up()?;
    let mut planned = plan(&mesh, "both");
    let mut tcp = over_tcp(plan(&mesh, "tcp")).edges;
    for edge in &mut tcp {
        edge.id = format!("{}-tcp", edge.id);
        edge.offset_ms += 200;
    }
    planned.edges.extend(tcp);
    mesh.put(&planned)?;
    for id in [HOST, POD, "host-tcp", "pod-tcp"] {
        let round = mesh.until(id, whole)?;
        let [mean_ns, late_ns] = [round.rtt.sum_ns, round.late_ns].map(|ns| ns / 20);
        println!("{id}: mean {mean_ns} ns, late {late_ns} ns");
        assert_eq!((round.sent, round.rtt.count), (20, 20));
        assert_eq!((round.refused, round.stages.len()), (None, 0));
    }
    // In the pods' own namespaces, from a port of the kernel's choice to the responder's.
    let (first, second) = mesh.nodes();
    let [from, to] = [first, second].map(|node| node.pods[0].address(PodNetwork::Vxlan));
    let asks = sockets_of(&first.pods[0].netns())?;
    let answers = sockets_of(&second.pods[0].netns())?;
    println!("{asks}{answers}");
    let is_flow = |line: &str| {
        line.contains(&format!("{from}:")) && line.contains(&format!("{to}:{LIGHT_PORT}"))
    };
    assert!(asks.lines().any(is_flow), "{asks}");
    let listens =
        |line: &str| line.starts_with("LISTEN") && line.contains(&format!("{to}:{LIGHT_PORT}"));
    assert!(answers.lines().any(listens), "{answers}");
    for state in mesh
        .second
        .ask::<LightResults>("GET", "/v1/light", &())?
        .responders
    {
        assert!(state.failed.is_none() && state.answered >= 20, "{state:?}");
    }
    Ok(())
}

/// The TCP sockets of a namespace.
fn sockets_of(netns: &str) -> Result<String> {
    let ss = ["netns", "exec", netns, "ss", "--tcp", "--all", "--numeric"];
    let told = Command::new("ip").args(ss).output()?;
    ensure!(told.status.success(), "ss in {netns}: {}", told.status);
    Ok(String::from_utf8(told.stdout)?)
}

/// The test is the controller: it asks for nothing while it is to be missed.
#[test]
fn without_a_controller_rounds_go_on_for_the_plans_time_and_a_new_one_takes_over() -> Result<()> {
    let mut mesh = Mesh::up()?;
    let mut planned = plan(&mesh, "last");
    planned.idle_seconds = 5;
    mesh.put(&planned)?;
    for id in [HOST, POD] {
        mesh.until(id, whole)?;
    }
    // What the agent tells everybody is no news of a controller.
    let told = |agent: &Agent| -> Result<[f64; 2]> {
        let page = agent.page("/metrics")?.1;
        Ok([
            value(&page, "nettoll_agent_light_edges ")?,
            value(&page, "nettoll_agent_light_rounds_total{outcome=\"made\"} ")?,
        ])
    };
    mesh.rounds()?;
    let gone = Instant::now();
    let [edges, begun] = told(&mesh.first)?;
    assert_eq!(edges, 2.0);
    sleep(Duration::from_secs(4));
    let [edges, made] = told(&mesh.first)?;
    // Two edges, each in 1.5 s.
    assert!(
        edges == 2.0 && made >= begun + 4.0,
        "{edges} {begun} {made}"
    );
    while told(&mesh.first)?[0] > 0.0 {
        assert!(gone.elapsed() < PATIENCE, "the plan does not end");
        sleep(Duration::from_millis(100));
    }
    let lived = gone.elapsed();
    assert!(lived >= Duration::from_secs(5), "it ended after {lived:?}");
    println!("the plan ended after {lived:?}");
    let ended = told(&mesh.first)?;
    sleep(Duration::from_secs(2));
    assert_eq!(told(&mesh.first)?, ended, "rounds without a plan");

    // The next controller hears of what was measured meanwhile, and that there is no plan.
    let results: LightResults = mesh.first.ask("GET", "/v1/light", &())?;
    assert_eq!(results.version, None);
    assert!(results.rounds.len() as f64 >= made, "{results:?}");
    mesh.rounds()?;
    planned.version = "next".to_owned();
    mesh.put(&planned)?;
    for id in [HOST, POD] {
        mesh.until(id, whole)?;
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
fn both_probes_follow_a_round_and_give_way_to_runs() -> Result<()> {
    let mut mesh = Mesh::up()?;
    let mut planned = plan(&mesh, "probe");
    planned.edges.iter_mut().for_each(|edge| edge.probe = true);
    mesh.put(&planned)?;
    let round = mesh.until(POD, |round| whole(round) && !round.stages.is_empty())?;
    assert_eq!(round.no_probe, None);
    let encap = find(&round.stages, Side::Client, Direction::Request, "encap")?;
    assert_eq!(encap.packets, Some(20), "{encap:?}");
    assert!(
        encap.cpu_ns_per_packet.is_some_and(|ns| ns > 0.0),
        "{encap:?}"
    );
    find(&round.stages, Side::Client, Direction::Request, "socket_tx")?;
    find(
        &round.stages,
        Side::Client,
        Direction::Response,
        "socket_rx",
    )?;
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

    // What the other node saw of the same requests.
    for id in [HOST, POD] {
        // The first one may come before the devices are known there.
        let watched = |mesh: &mut Mesh| {
            let round = mesh.until(id, |round| whole(round) && !round.stages.is_empty())?;
            Ok::<_, anyhow::Error>((mesh.watched(&round)?, round))
        };
        watched(&mut mesh)?;
        let (watched, round) = watched(&mut mesh)?;
        assert_eq!((watched.answered, &watched.no_probe), (20, &None));
        let mut seen_ns = 0.0;
        for stage in round.stages.iter().chain(&watched.stages) {
            let packets = stage.packets.context("no packets")?;
            seen_ns += stage.mean_ns * packets as f64 / 20.0;
            println!(
                "{id} {:?} {} {} {:?} {packets} {:.0} ns, cpu {:?}",
                stage.side,
                stage.direction.as_str(),
                stage.stage,
                stage.device_kind,
                stage.mean_ns,
                stage.cpu_ns_per_packet
            );
        }
        let rtt_ns = round.rtt.sum_ns as f64 / 20.0;
        println!("{id} {seen_ns:.0} of {rtt_ns:.0} ns are seen");
        for (direction, name) in [
            (Direction::Request, "socket_rx"),
            (Direction::Request, "responder"),
            (Direction::Response, "socket_tx"),
        ] {
            let stage = find(&watched.stages, Side::Server, direction, name)?;
            assert_eq!(stage.packets, Some(20), "{stage:?}");
        }
        if id == POD {
            find(&watched.stages, Side::Server, Direction::Request, "decap")?;
            find(&watched.stages, Side::Server, Direction::Response, "encap")?;
        }
        // All but the two ways over the wire, which here is one veth.
        assert!(
            (0.75..1.0).contains(&(seen_ns / rtt_ns)),
            "{seen_ns} of {rtt_ns}"
        );
    }

    // A run takes the probe, and light rounds go on without it.
    let (first, _) = mesh.nodes();
    let spec = loopback(&mesh.first, first, "one", TestType::UdpRr)?;
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

/// The value of the series whose line begins so.
fn value(page: &str, series: &str) -> Result<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    Ok(line.context("no such series")?.trim().parse()?)
}

fn find<'a>(
    stages: &'a [Stage],
    side: Side,
    direction: Direction,
    name: &str,
) -> Result<&'a Stage> {
    let is = |stage: &&Stage| {
        (stage.side, stage.direction, stage.stage.as_str()) == (Some(side), direction, name)
    };
    let found = stages.iter().find(is);
    found.with_context(|| format!("no stage {name} in {stages:?}"))
}

#[test]
fn an_idle_mesh_costs_little() -> Result<()> {
    let [share, mib] = cost(default_mesh)?;
    assert!(share <= 0.005, "{:.3} % of a core", share * 100.0);
    assert!(mib <= 32.0, "{mib:.1} MiB");
    Ok(())
}

#[test]
fn an_idle_mesh_over_tcp_besides_costs_at_most_twice_as_much() -> Result<()> {
    let [share, mib] = cost(|own, other| {
        let mut plan = default_mesh(own, other);
        plan.responders.extend(responders(own, Protocol::Tcp));
        let mut tcp = over_tcp(plan.clone()).edges;
        for edge in &mut tcp {
            edge.id.push('t');
            edge.offset_ms += 1_000;
            edge.probe = false;
        }
        plan.edges.extend(tcp);
        plan
    })?;
    assert!(share <= 0.01, "{:.3} % of a core", share * 100.0);
    assert!(mib <= 32.0, "{mib:.1} MiB");
    Ok(())
}

/// The share of a core and the MiB that an agent takes with such a plan, and another one of it on the
/// other node.
fn cost(plan: impl Fn(&Node, &Node) -> LightPlan) -> Result<[f64; 2]> {
    let mut mesh = Mesh::up()?;
    let (first, second) = mesh.nodes();
    let (ours, others) = (plan(first, second), plan(second, first));
    mesh.first.ask::<()>("PUT", "/v1/light", &ours)?;
    mesh.second.ask::<()>("PUT", "/v1/light", &others)?;
    sleep(Duration::from_secs(12));
    mesh.rounds()?;
    let cpu = |page: &str| value(page, "process_cpu_seconds_total ");
    let (begin, before) = (Instant::now(), cpu(&mesh.first.page("/metrics")?.1)?);
    sleep(Duration::from_secs(30));
    let page = mesh.first.page("/metrics")?.1;
    let share = (cpu(&page)? - before) / begin.elapsed().as_secs_f64();
    let mib = value(&page, "process_resident_memory_bytes ")? / f64::from(1 << 20);
    println!("{:.3} % of a core, {mib:.1} MiB", share * 100.0);
    let rounds = mesh.rounds()?;
    // Each has one in a period of 30 s, but for those at its edges.
    assert!(
        rounds.len() + 2 >= ours.edges.len(),
        "{} rounds",
        rounds.len()
    );
    let bad = rounds.iter().find(|round| round.answered < 50);
    assert!(bad.is_none(), "{bad:?}");
    Ok([share, mib])
}

/// What an agent has to do in the default mesh: five neighbours, each by host and by pod, those of
/// the first followed by the probe, and as many that ask it.
fn default_mesh(own: &Node, other: &Node) -> LightPlan {
    let responders = responders(own, Protocol::Udp);
    LightPlan {
        version: "idle".to_owned(),
        edges: five(own, other),
        watches: watches(&five(other, own), other, &responders),
        responders: responders.into(),
        ..LightPlan::default()
    }
}

/// The edges to five neighbours that are one node.
fn five(own: &Node, other: &Node) -> Vec<LightEdge> {
    let edges = (0..5_u16).flat_map(|number| {
        [
            edge(HOST, PathKind::HostToHost, host(own), &host(other), other),
            edge(POD, PathKind::PodToPod, pod(own), &pod(other), other),
        ]
        .map(|edge| LightEdge {
            id: format!("{}-{}-{number}", own.name, edge.id),
            from_port: LIGHT_CLIENT_PORT - number,
            offset_ms: u32::from(number) * 6_000 + if edge.id == POD { 500 } else { 0 },
            probe: number == 0,
            ..edge
        })
    });
    edges.collect()
}

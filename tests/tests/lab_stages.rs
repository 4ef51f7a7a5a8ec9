//! The stages of real packets: what each path shows, and what it must not show.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    hop::{Direction, Side},
    report::{Round, Run},
};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::session::{PODS, Session, first, followed, label, over_vxlan, requests, stage};

fn names(run: &Run) -> String {
    run.stages
        .iter()
        .flatten()
        .map(label)
        .collect::<Vec<_>>()
        .join("\n")
}

fn check_closure(run: &Run) -> Result<()> {
    let closure = run.closure.context("no closure")?;
    println!("{} {}: closure {closure:.4}", run.path.label(), run.test);
    ensure!(
        (0.95..=1.05).contains(&closure),
        "closure {closure}\n{}",
        names(run)
    );
    Ok(())
}

#[test]
fn a_round_trip_over_vxlan_is_closed() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    for test in ["tcp_rr", "udp_rr"] {
        let report = session.packets(&followed(PODS, test, "2"))?;
        let run = first(&report)?;
        check_closure(run)?;
        let requests = requests(run);
        for (sender, receiver, direction) in [
            (Side::Client, Side::Server, Direction::Request),
            (Side::Server, Side::Client, Direction::Response),
        ] {
            for (side, name, device) in over_vxlan(sender, receiver) {
                let found = stage(run, side, direction, name, Some(device)).with_context(|| {
                    format!(
                        "{test}: no {side:?} {direction:?} {name} {device}\n{}",
                        names(run)
                    )
                })?;
                let packets = found.packets.context("no packets")?;
                ensure!(
                    packets.abs_diff(requests) as f64 <= 0.01 * requests as f64,
                    "{test}: {packets} packets in {}, {requests} requests",
                    label(found)
                );
                ensure!(!found.derived, "{} is derived", label(found));
            }
        }
        ensure!(
            run.cpu.shared && run.cpu.remote.is_none(),
            "two nodes, one kernel"
        );
        // Ticks of the sampler that a halted CPU missed are no packets.
        let of_packets = |(reason, _): &(&String, &u64)| !reason.starts_with("stacks_");
        let lost: u64 = run
            .probe
            .lost
            .iter()
            .filter(of_packets)
            .map(|it| it.1)
            .sum();
        ensure!(
            lost as f64 <= 0.01 * requests as f64,
            "{:?}",
            run.probe.lost
        );
    }
    Ok(())
}

#[test]
fn paths_without_a_tunnel_show_none() -> Result<()> {
    let session = Session::up(Network::Both, Underlay::Veth)?;
    let has = |run: &Run, name: &str| run.stages.iter().flatten().any(|s| s.stage == name);
    for (from, to, network, present, absent) in [
        ("pod/lab/n1-a", "pod/lab/n2-a", "host-gw", "wire", "encap"),
        ("pod/lab/n1-a", "pod/lab/n2-a", "vxlan", "encap", "loopback"),
        ("pod/lab/n1-a", "pod/lab/n1-b", "vxlan", "bridge", "wire"),
        ("node/n1", "node/n2", "vxlan", "wire", "encap"),
        ("node/n1", "node/n1", "vxlan", "loopback", "wire"),
    ] {
        for test in ["path_cost", "tcp_rr"] {
            let report = session.packets(&[
                "--from",
                from,
                "--to",
                to,
                "--network",
                network,
                "--type",
                test,
                "--seconds",
                "1",
                "--probe",
                "on",
            ])?;
            let run = first(&report)?;
            ensure!(has(run, present), "no {present}\n{}", names(run));
            ensure!(
                !has(run, absent),
                "{absent} where there is none\n{}",
                names(run)
            );
            ensure!(
                !has(run, "decap") || present == "encap",
                "decap\n{}",
                names(run)
            );
            check_closure(run)?;
        }
    }
    Ok(())
}

#[test]
fn path_cost_tells_the_paths_apart() -> Result<()> {
    let session = Session::up(Network::Both, Underlay::Veth)?;
    let output = session.nettoll(&[
        "toll",
        "--tests",
        "path_cost",
        "--seconds",
        "6",
        "--pairs",
        "40",
        "-o",
        "json",
    ])?;
    let report: nettoll_core::report::Report = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    // Each pair of paths differs by an interval that excludes no difference.
    let order = [
        "loopback",
        "pod-to-pod-same-node",
        "host-to-host",
        "host-gw",
        "vxlan",
    ];
    let cost = |name: &str| -> Result<BTreeMap<u32, f64>> {
        let run = report
            .runs
            .iter()
            .find(|run| run.path.kind.as_str() == name || run.path.network.as_deref() == Some(name))
            .with_context(|| format!("no run for {name}"))?;
        check_closure(run)?;
        let good = |round: &&Round| !round.probe && round.invalid_reason.is_none();
        let rounds = run.rounds.iter().filter(good);
        Ok(rounds
            .filter_map(|round| Some((round.pair, round.rtt_mean_ns?)))
            .collect())
    };
    let costs = order
        .iter()
        .map(|name| cost(name))
        .collect::<Result<Vec<_>>>()?;
    for a in 0..order.len() {
        for b in a + 1..order.len() {
            let pairs = costs[b]
                .iter()
                .filter_map(|(pair, later)| Some((*later, *costs[a].get(pair)?)));
            let (later, earlier): (Vec<_>, Vec<_>) = pairs.unzip();
            let ratio = nettoll_core::stats::paired_ratio(&later, &earlier)?;
            println!(
                "{} over {}: {:.3} {:?}",
                order[b], order[a], ratio.ratio, ratio.ci95
            );
            ensure!(
                ratio.ci95[0] > 1.0 || ratio.ci95[1] < 1.0,
                "{} and {} are not told apart: {:?}",
                order[a],
                order[b],
                ratio.ci95
            );
        }
    }
    Ok(())
}

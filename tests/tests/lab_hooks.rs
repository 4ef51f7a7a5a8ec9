//! What a probe is without one of its hooks, and on raw tracepoints. The agents are told to do
//! without a hook, and then nothing is attached there: all else must be as it is with it, and what is
//! absent must be named.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    hop::{Direction, Side},
    kernel::{HookKind, Reason, TRACEPOINTS},
    report::{Run, StageClass},
};
use nettoll_lab::Network;
use nettoll_tests::{
    bed::without_services,
    binary, require_root,
    session::{OF_SOCKET, PODS, Session, first, followed, label, over_vxlan, requests, stage},
};
use serde_json::Value;

/// The stages of a run with their packets, for messages.
fn stages(run: &Run) -> String {
    let row = |stage| format!("{} {:?}\n", label(stage), stage.packets);
    run.stages.iter().flatten().map(row).collect()
}

/// A lab whose agents have this in their configuration.
fn lab(agents: &str) -> Result<Session> {
    Session::of(nettoll_lab::Options {
        agents: agents.parse()?,
        ..without_services(Network::Vxlan)
    })
}

/// One test over vxlan.
fn measure(session: &Session, test: &str) -> Result<Run> {
    let report = session.test(&followed(PODS, test, "1"))?;
    first(&report).cloned()
}

/// Which rows a round trip over vxlan has: side, direction, stage, device.
type Rows = BTreeSet<(Side, Direction, &'static str, &'static str)>;

/// All of them.
fn rows() -> Rows {
    let request = over_vxlan(Side::Client, Side::Server).map(|row| (Direction::Request, row));
    let response = over_vxlan(Side::Server, Side::Client).map(|row| (Direction::Response, row));
    let all = request.into_iter().chain(response);
    all.map(|(way, (side, name, device))| (side, way, name, device))
        .collect()
}

/// Each of these rows has all packets; the others of a round trip are not there at all, and no row is
/// of nothing.
fn check_rows(run: &Run, present: &Rows) -> Result<()> {
    let requests = requests(run);
    ensure!(requests > 100, "{requests} requests");
    for row in rows() {
        let (side, direction, name, device) = row;
        let found = stage(run, side, direction, name, Some(device));
        ensure!(
            found.is_some() == present.contains(&row),
            "{row:?}\n{}",
            stages(run)
        );
        if let Some(found) = found {
            let packets = found.packets.context("no packets")?;
            ensure!(
                packets.abs_diff(requests) as f64 <= 0.01 * requests as f64,
                "{packets} packets in {}, {requests} requests",
                label(found)
            );
        }
    }
    for stage in run.stages.iter().flatten() {
        let of_nothing = stage.packets == Some(0) || stage.mean_ns == 0.0;
        ensure!(!of_nothing, "{} is of nothing", label(stage));
        ensure!(!stage.derived, "{} is derived", label(stage));
    }
    Ok(())
}

/// What stages and the rest of the round trip add up to, of the whole.
fn explained(run: &Run) -> Result<f64> {
    let rtt = run.rtt_ns.as_ref().context("no round-trip time")?.mean;
    let stages = run.stages.iter().flatten();
    let left = stages.last().context("no stages")?;
    ensure!(left.stage == "unattributed", "{}", label(left));
    Ok(1.0 - left.mean_ns / rtt)
}

/// The report, the programs and the metrics name the hook, and none of them has a figure of it.
fn check_named(session: &Session, run: &Run, hook: &str, absent: &[&str]) -> Result<()> {
    let missing = &run.probe.missing;
    let nodes: Vec<_> = missing.iter().map(|it| it.node.as_str()).collect();
    ensure!(nodes == ["n1", "n2"], "{missing:?}");
    for it in missing {
        ensure!(
            (it.hook.as_str(), it.reason) == (hook, Reason::SwitchedOff),
            "{it:?}"
        );
        ensure!(it.stages == absent, "{it:?}");
    }
    let mut programs = run.probe.programs.iter();
    ensure!(!programs.any(|it| it.name == hook), "{hook} has a program");
    for node in &session.lab.plan().nodes {
        let page = session.page(node.metrics(), "/metrics")?;
        let state = |hook, state| format!("{{hook=\"{hook}\",state=\"{state}\"");
        for it in TRACEPOINTS {
            let word = match it.name == hook {
                true => "unavailable",
                false => "ready",
            };
            ensure!(page.contains(&state(it.name, word)), "{}\n{page}", it.name);
        }
        ensure!(!page.contains(&format!("program=\"{hook}\"")), "{page}");
    }
    Ok(())
}

#[test]
fn a_missing_hook_costs_its_own_stages_which_are_named() -> Result<()> {
    for (hook, absent) in [
        (
            "net_dev_queue",
            &["bridge", "encap", "forward", "qdisc", "socket_tx"][..],
        ),
        (
            "net_dev_start_xmit",
            &["bridge", "encap", "qdisc", "veth", "wire"],
        ),
        ("netif_rx", &["backlog", "veth", "wire"]),
        ("napi_gro_receive_entry", &["decap", "gro_cells"]),
        (
            "netif_receive_skb",
            &["backlog", "decap", "forward", "gro_cells", "socket_rx"],
        ),
    ] {
        let session = lab(&format!("probe_without = ['{hook}']"))?;
        let run = measure(&session, "tcp_rr")?;
        check_named(&session, &run, hook, absent)?;
        ensure!(run.closure.is_none(), "{hook}: {:?}", run.closure);
        // A packet passes bridges in two ways, of which each needs other hooks.
        let stays = |row: &(Side, Direction, &str, &str)| {
            let (side, direction, name, _) = *row;
            let sender = (side == Side::Client) == (direction == Direction::Request);
            match (name, hook) {
                ("bridge", "netif_receive_skb") => !sender,
                ("bridge", "net_dev_queue" | "net_dev_start_xmit") => sender,
                _ => !absent.contains(&name),
            }
        };
        let present = rows().into_iter().filter(stays).collect();
        check_rows(&run, &present).with_context(|| format!("without {hook}"))?;
        // The time itself is seen, between other hops.
        let explained = explained(&run)?;
        println!("without {hook}: {explained:.4} of the round trip");
        ensure!((0.95..=1.05).contains(&explained), "{hook}: {explained}");
    }
    Ok(())
}

#[test]
fn hooks_of_no_stage_cost_what_they_tell_and_nothing_else() -> Result<()> {
    for (hook, reason) in [
        ("net_dev_xmit", "nesting"),
        ("consume_skb", "merged"),
        ("kfree_skb", "dropped_by_kernel"),
    ] {
        let session = lab(&format!("probe_without = ['{hook}']"))?;
        let run = measure(&session, "tcp_rr")?;
        check_named(&session, &run, hook, &[])?;
        check_rows(&run, &rows())?;
        let closure = run.closure.context("no closure")?;
        ensure!((0.95..=1.05).contains(&closure), "closure {closure}");
        ensure!(!run.probe.lost.contains_key(reason), "{:?}", run.probe.lost);
        let looked = run.drops.is_some();
        ensure!(looked == (hook != "kfree_skb"), "{hook}: {:?}", run.drops);
        let exact = run
            .stages
            .iter()
            .flatten()
            .any(|it| it.cpu_ns_per_packet.is_some());
        ensure!(exact == (hook != "net_dev_xmit"), "{hook}: exact {exact}");
    }
    Ok(())
}

#[test]
fn without_what_a_socket_tells_its_stage_is_whole() -> Result<()> {
    let hook = "sk_data_ready";
    let session = lab(&format!("probe_without = ['{hook}']"))?;
    let run = measure(&session, "tcp_rr")?;
    check_named(&session, &run, hook, &OF_SOCKET)?;
    check_rows(&run, &rows())?;
    for stage in run.stages.iter().flatten() {
        let is = &*stage.stage;
        ensure!(!OF_SOCKET.contains(&is), "{}", stages(&run));
        let whole = is != "socket_rx" || stage.class == Some(StageClass::Mixed);
        ensure!(whole, "{:?} of {}", stage.class, label(stage));
    }
    let closure = run.closure.context("no closure")?;
    ensure!((0.95..=1.05).contains(&closure), "closure {closure}");
    // Streams have no parts that could be absent.
    let run = measure(&session, "tcp_stream")?;
    check_named(&session, &run, hook, &[])
}

#[test]
fn a_stream_without_the_copy_has_no_end() -> Result<()> {
    let hook = "skb_copy_datagram_iovec";
    let session = lab(&format!("probe_without = ['{hook}']"))?;
    let run = measure(&session, "tcp_stream")?;
    let missing = run.probe.missing.first().context("nothing is missing")?;
    ensure!(
        missing.hook == hook && missing.stages == ["socket_rx"],
        "{missing:?}"
    );
    let mut stages = run.stages.iter().flatten();
    ensure!(!stages.any(|stage| stage.stage == "socket_rx"));
    Ok(())
}

#[test]
fn raw_tracepoints_show_the_same_stages() -> Result<()> {
    let session = lab("probe_tier = 'raw_tp'")?;
    for test in ["tcp_rr", "udp_rr"] {
        let run = measure(&session, test)?;
        check_rows(&run, &rows())?;
        ensure!(run.probe.missing.is_empty(), "{:?}", run.probe.missing);
        let closure = run.closure.context("no closure")?;
        println!("{test} on raw tracepoints: closure {closure:.4}");
        ensure!((0.95..=1.05).contains(&closure), "closure {closure}");
        for program in &run.probe.programs {
            ensure!(program.kind == Some(HookKind::RawTp), "{program:?}");
        }
        let exact = run
            .stages
            .iter()
            .flatten()
            .any(|it| it.cpu_ns_per_packet.is_some());
        ensure!(exact, "no exact self times");
    }
    // The programs beside those of the hops are there too: for the seams, and for the calibration.
    let run = measure(&session, "tcp_stream")?;
    let encap = run.regions.iter().flatten().find(|it| it.name == "encap");
    let encap = encap.context("no region encap")?;
    ensure!(encap.exact_ns_per_byte > Some(0.0), "{encap:?}");
    let mut costs = run.probe.programs.iter();
    ensure!(
        costs.any(|it| it.mean_ns > it.empty_mean_ns && it.empty_mean_ns > Some(0.0)),
        "{:?}",
        run.probe.programs
    );
    let node = &session.lab.plan().nodes[0];
    let page = session.page(node.metrics(), "/metrics")?;
    let state = "nettoll_hook_state{hook=\"netif_rx\",state=\"ready\",reason=\"attached\",tier=\"raw_tp\"} 1";
    ensure!(page.contains(state), "{page}");
    Ok(())
}

/// The doctor's hooks, by name, where the probe is told this.
fn doctor(arguments: &[&str]) -> Result<(bool, Vec<Value>)> {
    let mut command = Command::new(binary("nettoll-agent")?);
    let output = command
        .args(["doctor", "-o", "json"])
        .args(arguments)
        .output()?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let ready = report["ready"] == Value::Bool(true);
    let hooks = report["hooks"].as_array().context("no hooks")?;
    let of_probe = hooks.iter().filter(|hook| hook["kind"] != "fentry");
    Ok((ready, of_probe.cloned().collect()))
}

#[test]
fn the_doctor_says_how_each_hook_is_attached_and_what_is_lost_without() -> Result<()> {
    require_root()?;
    for tier in ["tp_btf", "raw_tp"] {
        let (ready, hooks) = doctor(&["--probe-tier", tier])?;
        ensure!(ready && hooks.len() == TRACEPOINTS.len(), "{hooks:?}");
        for hook in hooks {
            ensure!(
                hook["kind"] == tier && hook["reason"] == "attached",
                "{hook}"
            );
        }
    }
    let (ready, hooks) = doctor(&["--probe-without", "netif_rx,kfree_skb"])?;
    ensure!(ready, "two hooks less are no reason");
    let off = hooks
        .iter()
        .filter(|hook| hook["works"] == Value::Bool(false));
    let off: Vec<_> = off.collect();
    ensure!(off.len() == 2 && off[0]["name"] == "netif_rx", "{off:?}");
    ensure!(off[0]["reason"] == "switched_off", "{}", off[0]);
    ensure!(off[0]["stages"][1] == "loopback", "{}", off[0]);
    Ok(())
}

#[test]
fn a_missing_member_costs_the_hooks_whose_programs_read_it() -> Result<()> {
    require_root()?;
    for member in nettoll_core::kernel::MEMBERS {
        let name = member.name();
        let (_, hooks) = doctor(&["--probe-tier", "tp_btf", "--probe-without", &name])?;
        let needs = |hook: &&Value| hook["reason"] != "attached";
        let needing: BTreeSet<_> = hooks
            .iter()
            .filter(needs)
            .map(|it| it["name"].as_str())
            .collect();
        let told: BTreeSet<_> = member.needed_by.iter().copied().map(Some).collect();
        // The verifier takes no program that reads it where it is nowhere.
        ensure!(needing == told, "{name}: {needing:?}, {told:?}");
    }
    Ok(())
}

//! The always-on mesh of a real cluster, as Prometheus sees it.

use std::time::Duration;

use anyhow::{Result, ensure};
use nettoll_tests::cluster::{
    agent::NodeAgent,
    authority::Authority,
    configuration::Configured,
    eventually,
    fault::kill,
    leader::{metrics, value},
    on,
    process::Process,
};

/// For everything to be ready, and the first tolls 60 s later.
const PATIENCE: Duration = Duration::from_secs(150);
/// A day of so many seconds, with budgets that let both pairs of the two nodes have a stream in it.
fn day_of(seconds: u32) -> String {
    format!(
        "[mesh]\nstream_seconds = 1\nstream_period_seconds = {seconds}\n\
         stream_node_bits_per_second = 1000000000000\n\
         stream_cluster_bits_per_second = 1000000000000\n"
    )
}

#[test]
fn each_pair_of_nodes_has_its_toll() -> Result<()> {
    let text = eventually(PATIENCE, || {
        let text = metrics()?;
        for [from, to] in [["n1", "n2"], ["n2", "n1"]] {
            let ends = [format!("from_node=\"{from}\""), format!("to_node=\"{to}\"")];
            let of = |name, path, more: &[&str]| {
                let path = format!("path=\"{path}\"");
                let mut parts = vec![path.as_str(), &ends[0], &ends[1]];
                parts.extend(more);
                value(&text, name, &parts)
            };
            for path in ["host-to-host", "pod-to-pod"] {
                ensure!(
                    of("nettoll_up", path, &[])? == 1.0,
                    "{from} {to} {path} is not up"
                );
                let [p50, p99] = [
                    of("nettoll_rtt_p50_seconds", path, &[])?,
                    of("nettoll_rtt_p99_seconds", path, &[])?,
                ];
                ensure!(0.0 < p50 && p50 <= p99 && p99 < 1.0, "{p50} {p99}");
                ensure!(
                    of("nettoll_requests_total", path, &[])? >= 50.0,
                    "few requests"
                );
                ensure!(
                    of("nettoll_path_mtu_ok", path, &[])? == 1.0,
                    "{from} {to} {path} carries less than it claims"
                );
            }
            // Both nodes' stages and the wire are all that there is; a noisy machine may have two
            // wires in two rounds.
            let closure = of("nettoll_closure_ratio", "pod-to-pod", &[])?;
            ensure!((0.8..1.2).contains(&closure), "closure {closure}");
            let toll = of("nettoll_toll_ratio", "pod-to-pod", &["metric=\"rtt_mean\""])?;
            // A noisy machine may show an overlay that costs nothing, but nothing absurd.
            ensure!((0.2..20.0).contains(&toll), "{from} {to}: {toll}");
        }
        for [side, direction, stage, kind] in [
            ["client", "request", "encap", "vxlan"],
            ["server", "request", "decap", "vxlan"],
            ["server", "request", "responder", ""],
            ["server", "response", "encap", "vxlan"],
            ["client", "response", "decap", "vxlan"],
            ["", "both", "wire", ""],
        ] {
            let packets = value(
                &text,
                "nettoll_stage_latency_seconds_count",
                &[
                    "path=\"pod-to-pod\"",
                    &format!("side=\"{side}\",direction=\"{direction}\""),
                    &format!("stage=\"{stage}\",device_kind=\"{kind}\""),
                    "test=\"udp_rr\"",
                ],
            )?;
            ensure!(packets > 0.0, "no packet in {side} {direction} {stage}");
        }
        Ok(text)
    })?;
    assert_eq!(
        value(&text, "nettoll_mesh_members", &["agent=\"answers\""])?,
        2.0
    );
    assert_eq!(
        value(&text, "nettoll_mesh_pairs", &["state=\"exported\""])?,
        2.0
    );
    for outcome in ["unknown", "senseless"] {
        let outcome = format!("outcome=\"{outcome}\"");
        assert_eq!(value(&text, "nettoll_mesh_rounds_total", &[&outcome])?, 0.0);
    }
    let edges = text.matches("from_node=\"n1\",to_node=\"n2\"").count();
    assert!(edges <= 20, "{edges} series of a pair");
    Ok(())
}

/// Short streams instead of one a day, on both pairs of the two nodes: one waits for the other.
#[test]
fn each_pair_has_its_stream() -> Result<()> {
    let _configured = Configured::with(&day_of(20))?;
    eventually(PATIENCE, || {
        let text = metrics()?;
        for [from, to] in [["n1", "n2"], ["n2", "n1"]] {
            let ends = [format!("from_node=\"{from}\""), format!("to_node=\"{to}\"")];
            let of = |name, path: &str, more: &[&str]| {
                let mut parts = vec![path, "test=\"tcp_stream\"", &ends[0], &ends[1]];
                parts.extend(more);
                value(&text, name, &parts)
            };
            let [host, pods] = ["path=\"host-to-host\"", "path=\"pod-to-pod\""];
            let name = "nettoll_throughput_bytes_per_second";
            let [host, between_pods] = [of(name, host, &[])?, of(name, pods, &[])?];
            // Any machine carries more than 10 Mbit/s over its own devices.
            ensure!(
                host > 1.25e6 && between_pods > 1.25e6,
                "{host} {between_pods}"
            );
            let toll = of("nettoll_toll_ratio", pods, &["metric=\"throughput\""])?;
            // The toll is of the paired rounds' ratios, the figures are means.
            let ratio = between_pods / host;
            ensure!((0.5..2.0).contains(&(toll / ratio)), "{toll}, but {ratio}");
        }
        let done = value(
            &text,
            "nettoll_tests_total",
            &["\"tcp_stream\"", "outcome=\"valid\""],
        )?;
        ensure!(done >= 4.0, "{done} runs of four");
        Ok(())
    })
}

/// A stream in the middle of which an agent is killed has failed and is counted so. The pairs have
/// their next ones at their times, as if there had been none.
#[test]
fn a_stream_that_fails_keeps_no_other_one() -> Result<()> {
    let _configured = Configured::with(&day_of(10))?;
    let authority = Authority::of_cluster()?;
    let ended = |outcome: &str| {
        let outcome = format!("outcome=\"{outcome}\"");
        let name = "nettoll_tests_total";
        // Nothing is there before the first one.
        let page = metrics()?;
        Ok(value(&page, name, &["test=\"tcp_stream\"", &outcome]).unwrap_or_default())
    };
    let failed = ended("failed")?;
    // On a busy machine a stream may be over before its agent is: then there is another one.
    let mut valid = Err(anyhow::anyhow!("no agent was killed"));
    for _ in 0..3 {
        let pod = on("agent", "n2")?;
        let agent = NodeAgent::of(&pod, &authority)?;
        let runs = || value(&agent.page("/metrics")?.1, "nettoll_agent_runs_total", &[]);
        let process = Process::of(&pod.uid, "nettoll-agent")?;
        let before = eventually(PATIENCE, runs)?;
        eventually(PATIENCE, || {
            ensure!(runs()? > before, "no stream begins");
            Ok(())
        })?;
        kill(&process)?;
        valid = eventually(PATIENCE / 3, || {
            ensure!(ended("failed")? >= failed + 2.0, "it has not failed");
            ended("valid")
        });
        if valid.is_ok() {
            break;
        }
    }
    let valid = valid?;
    eventually(PATIENCE, || {
        let more = ended("valid")? - valid;
        ensure!(
            more >= 4.0,
            "{more} good runs since, and two streams are four"
        );
        Ok(())
    })
}

/// The last one here: rounds that are told after it are of no edge any more.
#[test]
fn rounds_over_tcp_go_beside_those_over_udp() -> Result<()> {
    let configured = Configured::with("[mesh]\ntcp_rr = true\n")?;
    let text = eventually(PATIENCE, || {
        let text = metrics()?;
        for [from, to] in [["n1", "n2"], ["n2", "n1"]] {
            let ends = [format!("from_node=\"{from}\""), format!("to_node=\"{to}\"")];
            for test in ["udp_rr", "tcp_rr"].map(|test| format!("test=\"{test}\"")) {
                let of = |name, path, more: &[&str]| {
                    let path = format!("path=\"{path}\"");
                    let mut parts = vec![path.as_str(), &test, &ends[0], &ends[1]];
                    parts.extend(more);
                    value(&text, name, &parts)
                };
                for path in ["host-to-host", "pod-to-pod"] {
                    ensure!(
                        of("nettoll_up", path, &[])? == 1.0,
                        "{from} {to} {path} {test} is not up"
                    );
                    let [p50, p99] = [
                        of("nettoll_rtt_p50_seconds", path, &[])?,
                        of("nettoll_rtt_p99_seconds", path, &[])?,
                    ];
                    ensure!(0.0 < p50 && p50 <= p99 && p99 < 1.0, "{p50} {p99}");
                    let requests = of("nettoll_requests_total", path, &[])?;
                    ensure!(requests >= 50.0, "{requests} requests");
                    let lost = of("nettoll_lost_total", path, &[])?;
                    ensure!(lost <= requests / 2.0, "{lost} of {requests} lost");
                }
                let toll = of("nettoll_toll_ratio", "pod-to-pod", &["metric=\"rtt_mean\""])?;
                ensure!((0.2..20.0).contains(&toll), "{test}: {toll}");
            }
        }
        let times = [
            "path=\"pod-to-pod\"",
            "test=\"tcp_rr\"",
            "from_zone=\"zone-a\"",
        ];
        ensure!(value(&text, "nettoll_rtt_seconds_count", &times)? >= 25.0);
        Ok(text)
    })?;
    let edges = text.matches("from_node=\"n1\",to_node=\"n2\"").count();
    assert!(edges <= 34, "{edges} series of a pair");
    for outcome in ["unknown", "senseless"] {
        let outcome = format!("outcome=\"{outcome}\"");
        assert_eq!(value(&text, "nettoll_mesh_rounds_total", &[&outcome])?, 0.0);
    }
    // And none any more without it.
    drop(configured);
    eventually(PATIENCE, || {
        let text = metrics()?;
        let of_edge = |line: &&str| line.contains("from_node=") && line.contains("\"tcp_rr\"");
        let left = text.lines().filter(of_edge).count();
        ensure!(left == 0, "{left} series over TCP");
        Ok(())
    })
}

//! The stages of real packets over vxlan, on whichever kernel runs. `cargo xtask vm` runs this
//! inside machines with other kernels, in software and so slowly: nothing here looks at how long
//! anything takes, and all that is counted is exact.

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    hop::{Direction, Side},
    report::Run,
};
use nettoll_lab::Network;
use nettoll_tests::{
    bed::without_services,
    session::{PODS, Session, arrived, first, followed, label, over_vxlan, requests, stage},
};

/// All stages with their packets, for messages.
fn stages(run: &Run) -> String {
    let row = |stage| format!("{} {:?}\n", label(stage), stage.packets);
    run.stages.iter().flatten().map(row).collect()
}

fn measure(session: &Session, test: &str) -> Result<Run> {
    let report = session.test(&followed(PODS, test, "6"))?;
    first(&report).cloned()
}

#[test]
fn each_packet_is_seen_once_in_each_stage_and_the_stages_close() -> Result<()> {
    let session = Session::of(without_services(Network::Vxlan))?;
    for test in ["udp_rr", "tcp_rr"] {
        let run = measure(&session, test)?;
        let requests = requests(&run);
        let closure = run.closure.context("no closure")?;
        println!("{test}: {requests} requests, closure {closure:.4}");
        ensure!(requests > 0, "{test}: no requests");
        for (sender, receiver, direction) in [
            (Side::Client, Side::Server, Direction::Request),
            (Side::Server, Side::Client, Direction::Response),
        ] {
            for (side, name, device) in over_vxlan(sender, receiver) {
                let found = stage(&run, side, direction, name, Some(device));
                let found = found.with_context(|| {
                    format!(
                        "{test}: no {side:?} {direction:?} {name} {device}\n{}",
                        stages(&run)
                    )
                })?;
                // Not where a packet waited in a socket's backlog.
                let packets = match name {
                    "socket_rx" => Some(arrived(&run, side, direction)),
                    _ => found.packets,
                };
                ensure!(
                    packets == Some(requests) && !found.derived,
                    "{test}: {requests} requests, {}\n{}",
                    label(found),
                    stages(&run)
                );
            }
        }
        ensure!(
            (0.95..=1.05).contains(&closure),
            "{test}: closure {closure}\n{}",
            stages(&run)
        );
        // Ticks of the sampler that a halted CPU missed, and CPUs that were taken away in the
        // middle of a measure, are no packets.
        let of_packets = |(reason, lost): &(&String, &u64)| {
            **lost > 0 && !reason.starts_with("stacks_") && *reason != "interrupted"
        };
        let lost: Vec<_> = run.probe.lost.iter().filter(of_packets).collect();
        ensure!(lost.is_empty(), "{test}: lost {lost:?}");
    }
    Ok(())
}

#[test]
fn a_stream_shows_what_encapsulation_takes_of_the_processor() -> Result<()> {
    let session = Session::of(without_services(Network::Vxlan))?;
    let run = measure(&session, "tcp_stream")?;
    let regions: Vec<_> = run.regions.iter().flatten().collect();
    let encap = regions.iter().find(|region| region.name == "encap");
    let encap = encap.with_context(|| format!("no region encap in {regions:?}"))?;
    let exact = encap.exact_ns_per_byte.context("no exact self time")?;
    println!(
        "{} samples in encap, exact {exact:.2} ns/byte",
        encap.samples
    );
    ensure!(encap.samples > 0, "no samples in encap");
    ensure!(exact > 0.0, "the vxlan device took {exact} ns/byte");
    Ok(())
}

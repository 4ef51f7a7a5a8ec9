//! Two measures of one thing: the exact self time of the vxlan device, and the samples in the
//! region `encap`.

use anyhow::{Context as _, Result, ensure};
use nettoll_core::hop::{Direction, Side};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::session::{Session, first, stage};

/// Of the issue: at least so many samples, and an interval of at most ±10 %.
const MIN_SAMPLES: u64 = 400;

#[test]
fn exact_and_sampled_encapsulation_agree() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let report = session.test(&[
        "--from",
        "pod/lab/n1-a",
        "--to",
        "pod/lab/n2-a",
        "--type",
        "tcp_stream",
        "--seconds",
        "30",
        "--probe",
        "on",
        "--sample-hz",
        "1997",
    ])?;
    let run = first(&report)?;
    let sum = |of: fn(&nettoll_core::report::Round) -> Option<u64>| {
        run.rounds
            .iter()
            .filter(|round| round.probe)
            .filter_map(of)
            .sum::<u64>()
    };
    let bytes = sum(|round| round.bytes) as f64;

    // The tunnel's transmit function, of data packets one way and of their ACKs the other way.
    let encap = |side, direction| {
        stage(run, side, direction, "encap", Some("flannel.1"))
            .and_then(|stage| Some(stage.cpu_ns_per_byte? * stage.bytes? as f64))
    };
    let exact = encap(Side::Client, Direction::Request).context("no exact self time of encap")?;
    let region = run
        .regions
        .iter()
        .flatten()
        .find(|share| share.name == "encap")
        .context("no region encap")?;
    let sampled = region.ns_per_byte.context("no ns per byte")?;
    let half = (region.share_ci95[1] - region.share_ci95[0]) / 2.0 / region.share;
    println!(
        "exact {:.4} ns/byte (requests), sampled {sampled:.4} ns/byte ±{:.1} % ({} samples)",
        exact / bytes,
        half * 100.0,
        region.samples
    );
    ensure!(
        region.samples >= MIN_SAMPLES,
        "{} samples are too few",
        region.samples
    );
    ensure!(half <= 0.10, "the interval is ±{:.1} %", half * 100.0);
    let within = |share: f64| share / region.share * sampled;
    let [low, high] = region.share_ci95.map(within);
    let exact = exact / bytes;
    ensure!(
        (low..=high).contains(&exact),
        "exact {exact} is not within [{low}, {high}]"
    );
    Ok(())
}

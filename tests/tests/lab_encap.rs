//! Two measures of one thing: the exact self time of the vxlan device, and the samples in the
//! region `encap`. They agree but for the probe's own time at the edges of the exact one.

use anyhow::{Context as _, Result, ensure};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::session::{Session, first};

/// Of the issue: at least so many samples, and an interval of at most ±10 %.
const MIN_SAMPLES: u64 = 400;

#[test]
fn exact_and_sampled_encapsulation_differ_by_the_probes_hits_at_most() -> Result<()> {
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
        // The programs of a second agent on this kernel would be in the exact measure.
        "--probe",
        "one",
        "--sample-hz",
        "1997",
    ])?;
    let run = first(&report)?;
    let region = run
        .regions
        .iter()
        .flatten()
        .find(|share| share.name == "encap")
        .context("no region encap")?;
    let sampled = region.ns_per_byte.context("no ns per byte")?;
    let exact = region.exact_ns_per_byte.context("no exact self time")?;
    let half = (region.share_ci95[1] - region.share_ci95[0]) / 2.0 / region.share;
    println!(
        "exact {exact:.4} ns/byte, sampled {sampled:.4} ns/byte ±{:.1} % ({} samples)",
        half * 100.0,
        region.samples
    );
    ensure!(
        region.samples >= MIN_SAMPLES,
        "{} samples are too few",
        region.samples
    );
    ensure!(half <= 0.10, "the interval is ±{:.1} %", half * 100.0);
    // The exact measure ends in the probe's own hits: four of them lie at the edges of each call
    // (two at the tunnel, two at the device under it), in part inside. It must not be smaller than
    // the samples say, nor larger than by these hits.
    let [low, high] = region
        .share_ci95
        .map(|share| share / region.share * sampled);
    let hit_ns = |name: &str| {
        let mut programs = run.probe.programs.iter();
        programs
            .find(|program| program.name == name && program.mean_ns.is_some())
            .and_then(|program| program.mean_ns)
            .with_context(|| format!("{name} was not calibrated"))
    };
    let hits_ns = 2.0 * (hit_ns("net_dev_start_xmit")? + hit_ns("net_dev_xmit")?);
    let packets = region.ns_per_packet.context("no ns per packet")? / sampled;
    // An ACK for each packet at most.
    let hits = 2.0 * hits_ns / packets;
    println!(
        "the hits at the edges: at most {hits:.4} ns/byte; exact over sampled {:.3}",
        exact / sampled
    );
    ensure!(
        low <= exact && exact <= high + hits,
        "exact {exact} is not within [{low}, {high} + {hits}]"
    );
    Ok(())
}

//! Two measures of one thing: the exact self time of the vxlan device, and the samples in the
//! region `encap`.

use anyhow::{Context as _, Result, ensure};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::session::{Session, first};

/// Of the issue: at least so many samples, and an interval of at most ±10 %.
const MIN_SAMPLES: u64 = 400;

/// A 95 % interval misses the truth in one of twenty runs, and says nothing of what both measures
/// do not share (`docs/adr/0005`): the greater part of five runs must agree.
const MAJORITY: usize = 3;

#[test]
fn exact_and_sampled_encapsulation_agree() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let mut agreed = Vec::new();
    loop {
        agreed.push(agree(&session)?);
        let count = |what| agreed.iter().filter(|agrees| **agrees == what).count();
        ensure!(
            count(false) < MAJORITY,
            "exact and sampled disagree in {} of {} runs",
            count(false),
            agreed.len()
        );
        if count(true) == MAJORITY {
            return Ok(());
        }
    }
}

/// Whether the exact measure lies within the samples' interval.
fn agree(session: &Session) -> Result<bool> {
    let report = session.test(&[
        "--from",
        "pod/lab/n1-a",
        "--to",
        "pod/lab/n2-a",
        "--type",
        "tcp_stream",
        "--seconds",
        "10",
        "--probe",
        "on",
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
    let [low, high] = region
        .share_ci95
        .map(|share| share / region.share * sampled);
    let half = (high - low) / 2.0 / sampled;
    println!(
        "exact {exact:.4} ns/byte, sampled {sampled:.4} [{low:.4}, {high:.4}] ±{:.1} % ({} samples)",
        half * 100.0,
        region.samples
    );
    ensure!(
        region.samples >= MIN_SAMPLES,
        "{} samples are too few",
        region.samples
    );
    ensure!(half <= 0.10, "the interval is ±{:.1} %", half * 100.0);
    Ok((low..=high).contains(&exact))
}

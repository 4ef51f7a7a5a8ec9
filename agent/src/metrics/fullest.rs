//! The fullest page that an agent can have, from made-up counts and by the real encoder. For
//! `cargo xtask bench controller`, which says what the figures shall be.

use std::time::Instant;

use nettoll_core::{
    device::DeviceKind,
    endpoint::PathKind,
    exposition::Format,
    histogram::{Histogram, KERNEL_SUB_BITS},
    hop::{Direction, Side},
    random::SplitMix64,
    report::Program,
};
use serde_json::json;

use super::{
    page,
    totals::{StageKey, StageTotal, Totals},
};
use crate::{doctor::hooks, light::LightTotals};

/// The programs of the probe, about.
const PROGRAMS: usize = 20;
/// Packets that passed each stage.
const PACKETS: u64 = 10_000;
/// The page is made so often; the shortest time counts.
const TIMES: usize = 20;

/// Prints the figures as JSON.
pub fn run() -> Result<(), serde_json::Error> {
    let totals = totals();
    let hooks = hooks::switched_off("made up");
    let mut least_ms = f64::INFINITY;
    let mut page = Vec::new();
    for _ in 0..TIMES {
        let begin = Instant::now();
        page = page::whole(
            Format::OpenMetrics,
            LightTotals::default(),
            1,
            &totals,
            &hooks,
        );
        least_ms = least_ms.min(begin.elapsed().as_secs_f64() * 1e3);
    }
    let lines = page.split(|&byte| byte == b'\n');
    let series = lines.filter(|line| line.first().is_some_and(|&first| first != b'#'));
    let figures = json!({
        "series": series.count(),
        "scrape_bytes": page.len(),
        "scrape_ms": least_ms,
    });
    println!("{}", serde_json::to_string_pretty(&figures)?);
    Ok(())
}

/// As many stages as are shown, each with times as the kernel's programs keep them.
fn totals() -> Totals {
    let mut random = SplitMix64::new(1);
    let mut totals = Totals::default();
    for number in 0..page::MAX_STAGES {
        let mut times = Histogram::new(KERNEL_SUB_BITS);
        for _ in 0..PACKETS {
            times.record((300.0 + 200_000.0 * random.uniform().powi(8)) as u64);
        }
        let key = StageKey {
            path: PathKind::PodToPod,
            side: Side::Client,
            direction: Direction::Request,
            stage: format!("stage-{number}"),
            device_kind: Some(DeviceKind::Vxlan),
        };
        let total = StageTotal {
            packets: PACKETS,
            bytes: Some(64 * PACKETS),
            sum_ns: times.sum(),
            histogram: times.to_buckets().into_iter().collect(),
            self_ns: Some(times.sum() / 2),
        };
        totals.add(key, &total);
    }
    let program = |number| Program {
        name: format!("program-{number}"),
        node: String::new(),
        kind: None,
        runs: PACKETS,
        matched: PACKETS,
        mean_ns: Some(65.0),
        empty_mean_ns: None,
    };
    totals.programs = (0..PROGRAMS).map(program).collect();
    totals
}

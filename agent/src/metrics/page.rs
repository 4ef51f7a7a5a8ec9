//! From what was counted to series, at the time of the scrape.

mod light;
mod process;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use nettoll_core::exposition::{Buckets, Format, Kind, Label, Page, STAGE_BOUNDS_NS};
use tokio::sync::Semaphore;

use super::totals::{StageKey, StageTotal, Totals};
use crate::{
    api::Agent,
    doctor::hooks::{Hook, as_loaded},
    light::LightTotals,
};

/// Stages on the page: each has up to 19 series, and the page has at most 1,000 in all.
pub(super) const MAX_STAGES: usize = 48;
const NS_PER_SECOND: f64 = 1e9;

/// Where the agent's counts are when it is scraped.
#[derive(Debug)]
pub(crate) struct Source {
    /// What it does.
    pub(crate) agent: Arc<Agent>,
    /// As they were tried when the agent began, before the probe is loaded.
    pub(crate) hooks: Vec<Hook>,
    /// Why it shall be without the probe, where it shall: this keeps it from no work, but whoever
    /// asks whether it is ready is told.
    pub(crate) without: Option<&'static str>,
    /// Places for requests that wait for stacks.
    pub(crate) waiting: Semaphore,
}

impl Source {
    /// Everything that the agent tells.
    pub(super) fn page(&self, format: Format) -> Vec<u8> {
        let agent = &self.agent;
        let loaded = agent.runs.hooks();
        let hooks = loaded.map(|found| as_loaded(&self.hooks, &found));
        whole(
            format,
            agent.light.totals(),
            agent.runs.prepared(),
            &agent.runs.totals(),
            hooks.as_deref().unwrap_or(&self.hooks),
        )
    }
}

/// The page of these counts.
pub(super) fn whole(
    format: Format,
    light: LightTotals,
    prepared: u64,
    totals: &Totals,
    hooks: &[Hook],
) -> Vec<u8> {
    let mut page = Page::new(format);
    light::write(&mut page, &light);
    process::write(&mut page);
    page.single(
        "nettoll_agent_runs_total",
        Kind::Counter,
        "Runs that a controller had this agent prepare; light rounds are none.",
        prepared as f64,
    );
    write(&mut page, totals, hooks);
    page.finish()
}

fn write(page: &mut Page, totals: &Totals, hooks: &[Hook]) {
    write_stages(page, totals.stages());
    write_probe(page, totals);
    let mut state = page.family(
        "nettoll_hook_state",
        Kind::Gauge,
        "1 for the state in which a hook of the kernel was found when the agent began, and since then when the probe was loaded.",
    );
    for hook in hooks {
        let word = if hook.works { "ready" } else { "unavailable" };
        let labels = [
            ("hook", hook.name),
            ("state", word),
            ("reason", hook.reason.as_str()),
            ("tier", hook.kind.as_str()),
        ];
        state.add(&labels, 1.0);
    }
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("component", "agent"),
    ];
    page.family(
        "nettoll_build_info",
        Kind::Gauge,
        "1, with the version of this agent.",
    )
    .add(&labels, 1.0);
}

fn write_stages(page: &mut Page, all: &[(StageKey, StageTotal)]) {
    let shown = &all[..all.len().min(MAX_STAGES)];
    let stages: Vec<_> = shown
        .iter()
        .map(|(key, total)| (stage_labels(key), total))
        .collect();
    let mut counter = |name, help, of: fn(&StageTotal) -> Option<f64>| {
        let mut family = page.family(name, Kind::Counter, help);
        for (labels, total) in &stages {
            if let Some(value) = of(total) {
                family.add(labels, value);
            }
        }
    };
    counter(
        "nettoll_agent_stage_packets_total",
        "Data-carrying sk_buffs of runs and light rounds that passed the stage.",
        |total| Some(total.packets as f64),
    );
    counter(
        "nettoll_agent_stage_bytes_total",
        "Payload bytes of runs and light rounds that passed the stage.",
        |total| Some(total.bytes? as f64),
    );
    counter(
        "nettoll_agent_stage_cpu_seconds_total",
        "Exact self time of the device's transmit function for packets of runs and light rounds; a tunnel's holds some tens of ns a packet between programs of the probe, which reports leave out; absent where it was not measured.",
        |total| Some(total.self_ns? as f64 / NS_PER_SECOND),
    );
    let mut latency = page.family(
        "nettoll_agent_stage_latency_seconds",
        Kind::Histogram,
        "Time that a data-carrying sk_buff of a run or light round spent in the stage; the sum is exact, a bucket to within the resolution of the probe's own.",
    );
    for (labels, total) in &stages {
        let mut times = Buckets::new(&STAGE_BOUNDS_NS);
        let buckets = total
            .histogram
            .iter()
            .map(|(upper, count)| (*upper, *count));
        times.add(buckets, total.sum_ns as f64);
        latency.add_times(labels, &times);
    }
    page.single(
        "nettoll_agent_stages_hidden",
        Kind::Gauge,
        "Stages that were measured and are left out here, because this page has at most 1,000 series.",
        (all.len() - shown.len()) as f64,
    );
}

fn write_probe(page: &mut Page, totals: &Totals) {
    let mut runs = page.family(
        "nettoll_probe_runs_total",
        Kind::Counter,
        "Times that a program of the probe ran.",
    );
    for program in &totals.programs {
        runs.add(&[("program", &program.name)], program.runs as f64);
    }
    let mut seconds = page.family(
        "nettoll_probe_run_seconds_total",
        Kind::Counter,
        "Time that a program of the probe ran: its count times its mean in the last calibration, the kernel's own statistics included; absent before the first.",
    );
    for program in &totals.programs {
        if let Some(mean_ns) = program.mean_ns {
            let ns = program.runs as f64 * mean_ns;
            seconds.add(&[("program", &program.name)], ns / NS_PER_SECOND);
        }
    }
    let mut lost = page.family(
        "nettoll_probe_lost_total",
        Kind::Counter,
        "What the probe saw and could not count, by reason.",
    );
    for (reason, count) in &totals.lost {
        lost.add(&[("reason", reason)], *count as f64);
    }
}

fn stage_labels(key: &StageKey) -> [Label<'_>; 5] {
    [
        ("path", key.path.as_str()),
        ("side", key.side.as_str()),
        ("direction", key.direction.as_str()),
        ("stage", key.stage.as_str()),
        (
            "device_kind",
            key.device_kind.map_or("none", |kind| kind.as_str()),
        ),
    ]
}

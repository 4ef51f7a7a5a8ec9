//! From what was counted to series, at the time of the scrape.

mod light;
mod process;
#[cfg(test)]
mod tests;

use std::{fmt::Error, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use super::totals::{StageKey, StageTotal, Totals};
use crate::{api::Agent, doctor::hooks::Hook};

/// Upper bounds of the stages' histograms: 100 ns to 100 ms in steps 1-3-10.
const BOUNDS_NS: [u64; 13] = [
    100,
    300,
    1_000,
    3_000,
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
];
/// Stages on the page: each has up to 19 series, and the page has at most 1,000 in all.
const MAX_STAGES: usize = 48;
const NS_PER_SECOND: f64 = 1e9;

/// Reads the agent's counts when it is scraped.
#[derive(Debug)]
pub(super) struct AgentCollector {
    pub(super) agent: Arc<Agent>,
    /// As they were tried when the agent began.
    pub(super) hooks: Vec<Hook>,
}

impl Collector for AgentCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        light::encode(&mut encoder, &self.agent.light.totals())?;
        process::encode(&mut encoder)?;
        encode(encoder, &self.agent.runs.totals(), &self.hooks)
    }
}

fn encode(
    mut encoder: DescriptorEncoder<'_>,
    totals: &Totals,
    hooks: &[Hook],
) -> Result<(), Error> {
    let all = totals.stages();
    let shown = &all[..all.len().min(MAX_STAGES)];
    let labels: Vec<_> = shown.iter().map(|(key, _)| stage_labels(key)).collect();
    let stages = || {
        labels
            .iter()
            .zip(shown)
            .map(|(labels, (_, total))| (labels, total))
    };

    let mut counter = |name, help, unit: Option<&Unit>, values: Vec<(&[Label<'_>; 5], Value)>| {
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        values
            .into_iter()
            .try_for_each(|(labels, value)| sample(&mut family, labels, value))
    };
    counter(
        "nettoll_agent_stage_packets",
        "Data-carrying sk_buffs of runs and light rounds that passed the stage.",
        None,
        stages()
            .map(|(labels, total)| (labels, Value::Whole(total.packets)))
            .collect(),
    )?;
    counter(
        "nettoll_agent_stage",
        "Payload bytes of runs and light rounds that passed the stage.",
        Some(&Unit::Bytes),
        stages()
            .filter_map(|(labels, total)| Some((labels, Value::Whole(total.bytes?))))
            .collect(),
    )?;
    counter(
        "nettoll_agent_stage_cpu",
        "Exact self time of the device's transmit function for packets of runs and light rounds; a tunnel's holds some tens of ns a packet between programs of the probe, which reports leave out; absent where it was not measured.",
        Some(&Unit::Seconds),
        stages()
            .filter_map(|(labels, total)| Some((labels, Value::Seconds(total.self_ns?))))
            .collect(),
    )?;
    let mut latency = encoder.encode_descriptor(
        "nettoll_agent_stage_latency",
        "Time that a data-carrying sk_buff of a run or light round spent in the stage; the sum is exact, a bucket to within the resolution of the probe's own.",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for (labels, total) in stages() {
        let (buckets, count) = buckets(total);
        let sum = total.sum_ns as f64 / NS_PER_SECOND;
        latency
            .encode_family(labels)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }
    gauge(
        &mut encoder,
        "nettoll_agent_stages_hidden",
        "Stages that were measured and are left out here, because this page has at most 1,000 series.",
        (all.len() - shown.len()) as u64,
    )?;

    let mut runs = encoder.encode_descriptor(
        "nettoll_probe_runs",
        "Times that a program of the probe ran.",
        None,
        MetricType::Counter,
    )?;
    for program in &totals.programs {
        let labels = [("program", program.name.as_str())];
        sample(&mut runs, &labels, Value::Whole(program.runs))?;
    }
    let mut seconds = encoder.encode_descriptor(
        "nettoll_probe_run",
        "Time that a program of the probe ran: its count times its mean in the last calibration, the kernel's own statistics included; absent before the first.",
        Some(&Unit::Seconds),
        MetricType::Counter,
    )?;
    for program in &totals.programs {
        if let Some(mean_ns) = program.mean_ns {
            let labels = [("program", program.name.as_str())];
            let ns = (program.runs as f64 * mean_ns) as u64;
            sample(&mut seconds, &labels, Value::Seconds(ns))?;
        }
    }
    let mut lost = encoder.encode_descriptor(
        "nettoll_probe_lost",
        "What the probe saw and could not count, by reason.",
        None,
        MetricType::Counter,
    )?;
    for (reason, count) in &totals.lost {
        sample(
            &mut lost,
            &[("reason", reason.as_str())],
            Value::Whole(*count),
        )?;
    }
    let mut state = encoder.encode_descriptor(
        "nettoll_hook_state",
        "1 for the state in which a hook of the kernel was found when the agent began.",
        None,
        MetricType::Gauge,
    )?;
    for hook in hooks {
        let word = if hook.works { "ready" } else { "unavailable" };
        let labels = [
            ("hook", hook.name),
            ("state", word),
            ("reason", hook.reason.as_str()),
        ];
        ConstGauge::new(1_u64).encode(state.encode_family(&labels)?)?;
    }
    let mut build = encoder.encode_descriptor(
        "nettoll_build_info",
        "1, with the version of this agent.",
        None,
        MetricType::Gauge,
    )?;
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("component", "agent"),
    ];
    ConstGauge::new(1_u64).encode(build.encode_family(&labels)?)
}

type Label<'a> = (&'static str, &'a str);

/// A counter's value.
#[derive(Clone, Copy)]
enum Value {
    Whole(u64),
    /// Nanoseconds, told in seconds.
    Seconds(u64),
}

fn sample(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: Value,
) -> Result<(), Error> {
    let sample = family.encode_family(labels)?;
    match value {
        Value::Whole(value) => ConstCounter::new(value).encode(sample),
        Value::Seconds(ns) => ConstCounter::new(ns as f64 / NS_PER_SECOND).encode(sample),
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), Error> {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
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

/// The classic buckets (each its own count, not cumulative) and their sum. A bucket of the probe
/// that lies across a bound is counted above it.
fn buckets(total: &StageTotal) -> (Vec<(f64, u64)>, u64) {
    let bounds = BOUNDS_NS.map(|ns| ns as f64 / NS_PER_SECOND);
    let mut buckets: Vec<_> = bounds
        .into_iter()
        .chain([f64::INFINITY])
        .map(|le| (le, 0))
        .collect();
    let mut all = 0;
    for (upper_ns, count) in &total.histogram {
        let index = BOUNDS_NS.partition_point(|bound| bound < upper_ns);
        buckets[index].1 += count;
        all += count;
    }
    (buckets, all)
}

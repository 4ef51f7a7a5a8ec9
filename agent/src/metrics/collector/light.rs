//! Series of the light rounds: how many there were, not what they measured.

use std::fmt::Error;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

use super::{Value, gauge, sample};
use crate::light::LightTotals;

pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    totals: &LightTotals,
) -> Result<(), Error> {
    gauge(
        encoder,
        "nettoll_agent_light_edges",
        "Edges of the light plan; 0 without a plan.",
        totals.edges,
    )?;
    let mut counter = |name, help, values: &[(&str, u64)]| {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        values.iter().try_for_each(|(outcome, value)| {
            sample(&mut family, &[("outcome", *outcome)], Value::Whole(*value))
        })
    };
    counter(
        "nettoll_agent_light_rounds",
        "Light rounds that were made, and those that say nothing about the network.",
        &[("made", totals.rounds), ("failed", totals.failed_rounds)],
    )?;
    counter(
        "nettoll_agent_light_requests",
        "Light requests of this agent.",
        &[("answered", totals.answered), ("lost", totals.lost)],
    )?;
    let answers = encoder.encode_descriptor(
        "nettoll_agent_light_answers",
        "Light requests of other nodes that this agent answered.",
        None,
        MetricType::Counter,
    )?;
    ConstCounter::new(totals.answers).encode(answers)
}

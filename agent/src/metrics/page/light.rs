//! Series of the light rounds: how many there were, not what they measured.

use nettoll_core::exposition::{Kind, Page};

use crate::light::LightTotals;

pub(super) fn write(page: &mut Page, totals: &LightTotals) {
    page.single(
        "nettoll_agent_light_edges",
        Kind::Gauge,
        "Edges of the light plan; 0 without a plan.",
        totals.edges as f64,
    );
    let mut counter = |name, help, values: [(&str, u64); 2]| {
        let mut family = page.family(name, Kind::Counter, help);
        for (outcome, value) in values {
            family.add(&[("outcome", outcome)], value as f64);
        }
    };
    counter(
        "nettoll_agent_light_rounds_total",
        "Light rounds that were made, and those that say nothing about the network.",
        [("made", totals.rounds), ("failed", totals.failed_rounds)],
    );
    counter(
        "nettoll_agent_light_requests_total",
        "Light requests of this agent.",
        [("answered", totals.answered), ("lost", totals.lost)],
    );
    page.single(
        "nettoll_agent_light_answers_total",
        Kind::Counter,
        "Light requests of other nodes that this agent answered.",
        totals.answers as f64,
    );
}

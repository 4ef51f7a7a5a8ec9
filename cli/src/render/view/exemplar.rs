//! The slowest request of a run, shortened to what took long.

use nettoll_core::report::{Exemplar, ExemplarHop, Run};

use crate::render::units;

/// Stages that took less than this part of the round trip stand together.
const SMALL: f64 = 0.02;

/// The slowest request of a run.
pub(crate) fn slowest(run: &Run) -> Option<&Exemplar> {
    run.exemplars.iter().flatten().next()
}

/// Hops that follow each other in one direction and on one side.
#[derive(Debug)]
pub(crate) struct ExemplarLeg {
    /// `request, client node`.
    pub(crate) title: String,
    /// What took long, in order, and the rest at the end.
    pub(crate) lines: Vec<ExemplarLine>,
}

/// A stage, or those together that took little time.
#[derive(Debug, PartialEq)]
pub(crate) struct ExemplarLine {
    pub(crate) stage: String,
    /// The hop that it ended with, `netif_rx@eth0`; `None` for several stages.
    pub(crate) end: Option<String>,
    pub(crate) took_ns: f64,
    /// When it ended; `None` for several stages.
    pub(crate) at_ns: Option<f64>,
}

/// The legs of a request's way.
pub(crate) fn exemplar_legs(exemplar: &Exemplar) -> Vec<ExemplarLeg> {
    let small = SMALL * exemplar.rtt_ns as f64;
    let same = |a: &ExemplarHop, b: &ExemplarHop| (a.direction, a.side) == (b.direction, b.side);
    let legs = exemplar.hops.chunk_by(same);
    let leg = |hops: &[ExemplarHop]| {
        let first = hops.first()?;
        Some(ExemplarLeg {
            title: format!("{}, {} node", first.direction.as_str(), first.side.as_str()),
            lines: lines(hops, small),
        })
    };
    legs.filter_map(leg).collect()
}

fn lines(hops: &[ExemplarHop], small: f64) -> Vec<ExemplarLine> {
    let ended = hops
        .iter()
        .filter_map(|hop| Some((hop, hop.stage_ns? as f64)));
    let (few, others): (Vec<_>, Vec<_>) = ended.partition(|(_, ns)| *ns >= small);
    let line = |(hop, ns): (&ExemplarHop, f64)| ExemplarLine {
        stage: hop.stage.clone().unwrap_or_else(|| "not seen".to_owned()),
        end: Some(format!(
            "{}@{}",
            hop.event.as_str(),
            hop.device.as_deref().unwrap_or("?")
        )),
        took_ns: ns,
        at_ns: Some(hop.at_ns as f64),
    };
    let mut lines: Vec<_> = few.into_iter().map(line).collect();
    if !others.is_empty() {
        let word = if others.len() == 1 { "other" } else { "others" };
        lines.push(ExemplarLine {
            stage: format!("{} {word}", others.len()),
            end: None,
            took_ns: others.iter().map(|(_, ns)| ns).sum(),
            at_ns: None,
        });
    }
    lines
}

/// What to know of it besides.
pub(crate) fn exemplar_notes(exemplar: &Exemplar) -> Vec<String> {
    let mut notes = vec![format!(
        "request {}; all its hops, and further slow requests, are in report.json",
        units::count(exemplar.sequence)
    )];
    if !exemplar.joined {
        notes.push("the server's node did not keep its part".to_owned());
    }
    if exemplar.lost_hops > 0 {
        notes.push(format!("at most {} hops are missing", exemplar.lost_hops));
    }
    notes
}

//! What happened to the slowest request of a run.

use nettoll_core::report::Run;

use super::markup::{Table, text};
use crate::render::{
    units,
    view::{self, ExemplarLine},
};

/// The run's slowest request, with the stages that took long; empty where none was kept.
pub(super) fn slowest(run: &Run) -> String {
    let Some(exemplar) = view::slowest(run) else {
        return String::new();
    };
    let mut table = Table::new(&["stage", "ends at", "num|took", "num|at"]);
    for leg in view::exemplar_legs(exemplar) {
        table.group(&text(&leg.title));
        leg.lines.iter().for_each(|line| table.row(&row(line)));
    }
    format!(
        "<h4>The slowest request: {}</h4>\n{}<p>{}.</p>\n",
        text(&units::time(exemplar.rtt_ns as f64)),
        table.render(),
        text(&view::exemplar_notes(exemplar).join("; "))
    )
}

fn row(line: &ExemplarLine) -> Vec<String> {
    vec![
        text(&line.stage),
        text(line.end.as_deref().unwrap_or_default()),
        text(&units::time(line.took_ns)),
        line.at_ns
            .map_or_else(String::new, |ns| text(&units::time(ns))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn it_is_told_with_its_text_escaped() {
        let mut run = sample::with_exemplar();
        let markup = slowest(&run);
        assert!(markup.contains("<td>netif_rx@eth0</td>"), "{markup}");
        for hop in run
            .exemplars
            .iter_mut()
            .flatten()
            .flat_map(|it| &mut it.hops)
        {
            hop.stage = Some("<img>".to_owned());
            hop.device = Some("<img>".to_owned());
        }
        assert!(!slowest(&run).contains("<img>"));
        run.exemplars = None;
        assert_eq!(slowest(&run), "");
    }
}

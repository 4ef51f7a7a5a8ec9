//! What happened to the slowest request of a run.

use nettoll_core::report::Run;

use super::{
    Style,
    table::{Align, Table},
};
use crate::render::{
    units,
    view::{self, ExemplarLine},
};

/// The run's slowest request, with the stages that took long; empty where none was kept.
pub(super) fn slowest(run: &Run, style: Style) -> String {
    let Some(exemplar) = view::slowest(run) else {
        return String::new();
    };
    let mut table = Table::with_heading(&[
        ("stage", Align::Left),
        ("ends at", Align::Left),
        ("took", Align::Right),
        ("at", Align::Right),
    ]);
    for leg in view::exemplar_legs(exemplar) {
        table.line(format!("{}:", leg.title));
        leg.lines.into_iter().for_each(|line| table.row(row(line)));
    }
    let (path, rtt) = (run.path.label(), units::time(exemplar.rtt_ns as f64));
    let title = format!("The slowest request of {path}, {}: {rtt}", run.test);
    let mut text = format!("{}\n{}", style.bold(&title), table.render(style.width()));
    for note in view::exemplar_notes(exemplar) {
        text += &style.faint(&format!("  {note}\n"));
    }
    text
}

fn row(line: ExemplarLine) -> Vec<String> {
    vec![
        line.stage,
        line.end.unwrap_or_default(),
        units::time(line.took_ns),
        line.at_ns.map(units::time).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn what_took_long_stands_out() {
        let style = Style {
            columns: 80,
            colour: false,
        };
        let mut run = sample::with_exemplar();
        assert_eq!(
            slowest(&run, style),
            "The slowest request of loopback, udp_rr: 3.10 ms\n\
             \u{20} stage     ends at               took       at\n\
             \u{20} request, client node:\n\
             \u{20} 2 others                     4.50 µs\n\
             \u{20} request, server node:\n\
             \u{20} wire      netif_rx@eth0      3.00 ms  3.00 ms\n\
             \u{20} request, client node:\n\
             \u{20} not seen  user_receive@eth0  95.5 µs  3.10 ms\n\
             \u{20} request 12,345; all its hops, and further slow requests, are in report.json\n\
             \u{20} the server's node did not keep its part\n\
             \u{20} at most 2 hops are missing\n"
        );
        run.exemplars = None;
        assert_eq!(slowest(&run, style), "");
    }
}

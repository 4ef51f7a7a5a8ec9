//! What the kernel dropped on the way.

use nettoll_core::report::{Drops, Report};

use super::{
    Section,
    markup::{Table, text},
};
use crate::render::{
    units,
    view::{self, Dropped},
};

/// Stage, reason and count, run by run, where something was dropped.
pub(super) fn section(report: &Report) -> Option<Section> {
    let dropped = view::dropped(report);
    let mut table = Table::new(&[
        "stage",
        "wide|side",
        "wide|direction",
        "device",
        "reason",
        "num|packets",
        "num|segments",
        "num|ACKs",
    ]);
    for (run, rows) in &dropped {
        let title = text(&format!("{} {}", run.path.label(), run.test));
        match rows {
            Dropped::Unknown => table.group(&format!("{title}: not known, nobody looked")),
            Dropped::Rows(rows) => {
                table.group(&title);
                rows.iter().for_each(|drops| table.row(&row(drops)));
            }
        }
    }
    let body = format!(
        "<p>Packets of the runs that the kernel dropped in the rounds with the probe, by the stage \
         that they were in and the kernel’s own word for the reason (<code>enum \
         skb_drop_reason</code>). A packet may hold many segments; those without payload are \
         counted as ACKs alone.</p>\n{}",
        table.render()
    );
    (!dropped.is_empty()).then(|| Section::new("drops", "What the kernel dropped", body))
}

fn row(drops: &Drops) -> Vec<String> {
    vec![
        text(&drops.stage),
        drops.side.as_str().to_owned(),
        drops.direction.as_str().to_owned(),
        text(drops.device.as_deref().unwrap_or("–")),
        text(view::drop_reason(drops)),
        units::count(drops.packets),
        units::count(drops.segments),
        units::count(drops.ack_packets),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn what_was_dropped_is_in_the_page() {
        let mut report = sample::report();
        let body = section(&report).unwrap().body;
        assert!(body.contains("<td>NETFILTER_DROP</td>"), "{body}");
        for run in &mut report.runs {
            run.drops = Some(Vec::new());
        }
        assert!(section(&report).is_none());
    }
}

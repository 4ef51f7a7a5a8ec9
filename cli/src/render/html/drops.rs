//! What the kernel dropped on the way, and what TCP sent again.

use nettoll_core::report::{Drops, Report};

use super::{
    Section,
    markup::{Table, text},
};
use crate::render::{units, view};

/// Stage, reason and count, run by run, where not all arrived at once.
pub(super) fn section(report: &Report) -> Option<Section> {
    let losses = view::losses(report);
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
    for run in &losses {
        table.group(&text(&run.title()));
        run.drops.iter().for_each(|drops| table.row(&row(drops)));
    }
    let body = format!(
        "<p>Packets of the runs that the kernel dropped in the rounds with the probe, by the stage \
         that they were in and the kernel’s own word for the reason (<code>enum \
         skb_drop_reason</code>). A packet may hold many segments; those without payload are \
         counted as ACKs alone. What the client’s TCP sent again is its own count.</p>\n{}",
        table.render()
    );
    (!losses.is_empty()).then(|| Section::new("drops", "Dropped and sent again", body))
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
            run.tcp = None;
        }
        assert!(section(&report).is_none());
    }
}

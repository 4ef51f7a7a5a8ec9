//! What the kernel dropped on the way, and what TCP sent again.

use nettoll_core::report::{Drops, Report};

use super::{
    Style,
    table::{Align, Table},
};
use crate::render::{units, view};

/// Stage, reason and count, run by run; empty where all arrived at once.
pub(super) fn section(report: &Report, style: Style) -> String {
    let losses = view::losses(report);
    if losses.is_empty() {
        return String::new();
    }
    let mut table = Table::with_heading(&[
        ("stage", Align::Left),
        ("device", Align::Left),
        ("reason", Align::Left),
        ("packets", Align::Right),
        ("segments", Align::Right),
        ("ACKs", Align::Right),
    ]);
    for run in losses {
        table.line(run.title());
        run.drops.iter().for_each(|drops| table.row(row(drops)));
    }
    let title =
        style.bold("Dropped by the kernel and sent again by TCP, in the rounds with the probe");
    format!("{title}\n{}", table.render(style.width()))
}

fn row(drops: &Drops) -> Vec<String> {
    let (side, direction) = (drops.side.as_str(), drops.direction.as_str());
    vec![
        format!("{} ({side}, {direction})", drops.stage),
        drops.device.clone().unwrap_or_default(),
        view::drop_reason(drops).to_owned(),
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
    fn nothing_and_not_known_are_told_apart() {
        let style = Style {
            columns: 80,
            colour: false,
        };
        let mut report = sample::report();
        let text = section(&report, style);
        assert!(
            text.contains("forward (client, request)  flannel.1  NETFILTER_DROP"),
            "{text}"
        );
        for run in &mut report.runs {
            run.drops = Some(Vec::new());
            if let Some(tcp) = &mut run.tcp {
                tcp.retransmits = 0;
            }
        }
        assert_eq!(section(&report, style), "");
        report.runs[0].drops = None;
        let tcp = report.runs.iter_mut().find_map(|run| run.tcp.as_mut());
        tcp.unwrap().retransmits = 3;
        let text = section(&report, style);
        assert!(
            text.contains("loopback path_cost: drops not known"),
            "{text}"
        );
        assert!(text.contains("tcp_rr: 3 segments sent again"), "{text}");
    }
}

//! `path_cost`: what the ways of one datagram are made of, side by side.

use nettoll_core::report::{Report, Run};

use super::{
    Section,
    chart::{self, Scale, Segment},
    markup::{Table, legend, text},
};
use crate::render::{
    units,
    view::{self, Passed},
};

/// Colour and words for stages of one kind.
const FAMILIES: [(&str, &str, &[&str]); 5] = [
    (
        "f-socket",
        "sockets",
        &[
            "socket_tx",
            "socket_rx",
            "socket_backlog",
            "socket_queue",
            "wakeup",
            "responder",
        ],
    ),
    (
        "f-device",
        "devices and their queues",
        &["qdisc", "loopback", "veth", "backlog", "driver"],
    ),
    ("f-forward", "bridge and forwarding", &["bridge", "forward"]),
    ("f-overlay", "overlay", &["encap", "decap", "gro_cells"]),
    ("f-wire", "wire", &["wire"]),
];

/// The colour of a stage.
fn family(stage: &str) -> &'static str {
    let known = FAMILIES
        .iter()
        .find(|(_, _, stages)| stages.contains(&stage));
    known.map_or("rest", |(class, _, _)| class)
}

pub(super) fn section(report: &Report) -> Option<Section> {
    let runs = view::path_costs(report);
    if runs.is_empty() {
        return None;
    }
    let mut body = String::from(
        "<p>One thread owns both sockets and sends one datagram at a time on one CPU, so no \
         wake-up is in these figures: they are what the kernel charges for the way itself, from \
         the send call to the receive call, with the probe attached.</p>\n",
    );
    let mut words: Vec<_> = FAMILIES
        .iter()
        .map(|(class, word, _)| (*class, *word))
        .collect();
    words.push(("rest", "unattributed or unknown"));
    body += &legend(&words);
    body += &bars(&runs);
    body += &matrix(&runs);
    Some(Section::new(
        "path-cost",
        "What one packet costs, path by path",
        body,
    ))
}

fn bars(runs: &[&Run]) -> String {
    let mut table = Table::new(&["path", "bar|", "num|one way", "num wide|closure"]);
    let longest = runs
        .iter()
        .filter_map(|run| view::trip_mean(run))
        .fold(0.0, f64::max);
    let scale = Scale::new(0.0, longest);
    table.heading("bar", chart::axis(scale, 4, units::time));
    for run in runs {
        let mut at = 0.0;
        let segments = view::passed(run).into_iter().map(|Passed { stage, ns }| {
            let device = stage
                .device
                .as_ref()
                .map(|name| format!(" on {name}"))
                .unwrap_or_default();
            let from = scale.at(at);
            at += ns;
            Segment {
                class: family(&stage.stage),
                from,
                width: scale.at(at) - from,
                title: format!("{}{device}: {}", stage.stage, units::time(ns)),
            }
        });
        table.row(&[
            text(&run.path.label()),
            chart::bar(&segments.collect::<Vec<_>>()),
            view::trip_mean(run).map_or_else(|| "–".to_owned(), |ns| text(&units::time(ns))),
            run.closure
                .map_or_else(|| "–".to_owned(), |closure| format!("{closure:.3}")),
        ]);
    }
    table.render()
}

/// Stages down, paths across: the same stage of a path added up.
fn matrix(runs: &[&Run]) -> String {
    let mut columns = vec!["stage"];
    columns.resize(1 + runs.len(), "num|");
    let mut table = Table::new(&columns);
    let labels = runs.iter().map(|run| {
        let network = run
            .path
            .network
            .as_ref()
            .map(|name| format!("<br>{}", text(name)));
        format!("{}{}", run.path.kind, network.unwrap_or_default())
    });
    for (at, label) in labels.enumerate() {
        table.heading_at(at + 1, label);
    }
    let row = |name: &str, cell: &dyn Fn(&Run) -> String| -> Vec<String> {
        std::iter::once(name.to_owned())
            .chain(runs.iter().map(|run| cell(run)))
            .collect()
    };
    for name in view::stage_names(runs) {
        let swatch = format!("<i class=\"{}\"></i>{}", family(name), text(name));
        table.row(&row(&swatch, &|run| {
            view::stage_total(run, name).map_or_else(
                || "<span class=\"none\">–</span>".to_owned(),
                |ns| text(&units::time(ns)),
            )
        }));
    }
    table.group("Added up");
    table.row(&row("work", &|run| {
        text(&units::time(view::sums(run).work_ns))
    }));
    table.row(&row("wait", &|run| {
        text(&units::time(view::sums(run).wait_ns))
    }));
    table.row(&row("mixed", &|run| {
        text(&units::time(view::sums(run).mixed_ns))
    }));
    format!(
        "<details open><summary>The same in figures</summary>\n{}</details>\n",
        table.render()
    )
}

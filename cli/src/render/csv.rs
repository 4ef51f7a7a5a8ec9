//! `report.csv`: one flat table, a figure a row, in base units, as RFC 4180 writes it.
//!
//! The columns are documented in `docs/report.md`. A cell is empty where it has no meaning for
//! its row, or where nothing was measured.

use nettoll_core::{
    endpoint::Path,
    report::{Drops, Report, Run, Share, Stage, Toll},
};

use super::view;

/// The columns, in order.
const COLUMNS: [&str; 22] = [
    "record",
    "run_id",
    "path",
    "from",
    "to",
    "network",
    "test",
    "valid",
    "side",
    "direction",
    "name",
    "class",
    "device",
    "device_kind",
    "metric",
    "value",
    "unit",
    "ci95_low",
    "ci95_high",
    "count",
    "baseline_run_id",
    "mss_bytes",
];

/// One row; what is not set is empty.
#[derive(Debug, Default)]
struct Row {
    record: &'static str,
    name: String,
    side: &'static str,
    direction: &'static str,
    class: &'static str,
    device: String,
    device_kind: &'static str,
    metric: &'static str,
    value: Option<f64>,
    unit: &'static str,
    ci95: Option<[f64; 2]>,
    count: Option<u64>,
    baseline_run_id: String,
}

/// The whole table.
pub(crate) fn report(report: &Report) -> String {
    let mut text = String::new();
    line(&mut text, COLUMNS.map(str::to_owned));
    for run in &report.runs {
        for row in run_rows(run) {
            write(&mut text, &run.id, &run.path, run, row);
        }
    }
    for toll in &report.tolls {
        if let Some(run) = view::run(report, &toll.run_id) {
            for row in toll_rows(toll) {
                write(&mut text, &toll.run_id, &toll.path, run, row);
            }
        }
    }
    text
}

fn run_rows(run: &Run) -> Vec<Row> {
    let mut rows = figures(run);
    for stage in run.stages.iter().flatten() {
        rows.extend(stage_rows(stage));
    }
    for drops in run.drops.iter().flatten() {
        rows.extend(drop_rows(drops));
    }
    for share in run.components.iter().flatten() {
        rows.extend(share_rows("component", share));
    }
    for share in run.regions.iter().flatten() {
        rows.extend(share_rows("region", share));
    }
    for (reason, lost) in &run.probe.lost {
        rows.push(Row {
            name: reason.clone(),
            ..figure("probe", "lost", Some(*lost as f64), "1")
        });
    }
    rows.retain(|row| row.value.is_some());
    rows
}

fn figure(
    record: &'static str,
    metric: &'static str,
    value: Option<f64>,
    unit: &'static str,
) -> Row {
    Row {
        record,
        metric,
        value,
        unit,
        ..Row::default()
    }
}

fn figures(run: &Run) -> Vec<Row> {
    let estimate = |metric, estimate: &Option<nettoll_core::report::Estimate>, unit| Row {
        ci95: estimate.and_then(|estimate| estimate.ci95),
        ..figure("run", metric, estimate.map(|estimate| estimate.mean), unit)
    };
    let mut rows = vec![
        estimate("throughput", &run.throughput_bits_per_second, "bit/s"),
        estimate("transactions", &run.transactions_per_second, "1/s"),
    ];
    if let Some(rtt) = &run.rtt_ns {
        let times = [
            ("rtt_mean", rtt.mean),
            ("rtt_p50", rtt.p50),
            ("rtt_p90", rtt.p90),
            ("rtt_p99", rtt.p99),
            ("rtt_p999", rtt.p999),
            ("rtt_max", rtt.max as f64),
        ];
        rows.extend(times.map(|(metric, value)| Row {
            count: Some(rtt.count),
            ..figure("run", metric, Some(value), "ns")
        }));
    }
    rows.push(figure("run", "lost", run.lost.map(|lost| lost as f64), "1"));
    for (name, side) in [("local", &run.cpu.local), ("remote", &run.cpu.remote)] {
        let Some(side) = side else { continue };
        rows.extend(
            [
                figure("run", "cpu_utilisation", Some(side.utilisation), "1"),
                figure("run", "cpu_others", side.others, "1"),
                figure(
                    "run",
                    "cpu_ns_per_byte",
                    side.service_demand_ns_per_byte,
                    "ns/B",
                ),
                figure(
                    "run",
                    "cpu_ns_per_transaction",
                    side.service_demand_ns_per_transaction,
                    "ns",
                ),
            ]
            .map(|row| Row {
                name: name.to_owned(),
                ..row
            }),
        );
    }
    let retransmits = run.tcp.as_ref().map(|tcp| tcp.retransmits as f64);
    rows.push(figure("run", "retransmits", retransmits, "1"));
    if let Some(tcp) = &run.tcp {
        let option_bytes = tcp.option_bytes.map(f64::from);
        rows.push(figure(
            "run",
            "segment_payload",
            Some(tcp.mss_bytes.into()),
            "B",
        ));
        rows.push(figure("run", "segment_options", option_bytes, "B"));
    }
    if let Some(udp) = &run.udp {
        let count = |metric, count: u64| figure("run", metric, Some(count as f64), "1");
        rows.extend([
            estimate("sent_rate", &udp.sent_bits_per_second, "bit/s"),
            count("sent", udp.sent),
            count("arrived", udp.arrived),
            figure("run", "lost_share", udp.lost_share, "1"),
            figure(
                "run",
                "without_room",
                udp.without_room.map(|count| count as f64),
                "1",
            ),
            count("reordered", udp.reordered),
            count("duplicates", udp.duplicates),
            estimate("jitter", &udp.jitter_ns, "ns"),
        ]);
    }
    rows.push(figure("run", "closure", run.closure, "1"));
    let cost = &run.probe.cost;
    rows.push(Row {
        ci95: cost.ci95,
        name: cost
            .metric
            .map_or_else(String::new, |metric| metric.as_str().to_owned()),
        ..figure("probe", "ratio", cost.ratio, "1")
    });
    let programs = &run.probe.programs;
    let runs: u64 = programs.iter().map(|program| program.runs).sum();
    let runs = (!programs.is_empty()).then_some(runs as f64);
    rows.push(figure("probe", "program_runs", runs, "1"));
    rows
}

fn stage_rows(stage: &Stage) -> Vec<Row> {
    let row = |metric, value, unit| Row {
        name: stage.stage.clone(),
        side: stage.side.map_or("", |side| side.as_str()),
        direction: stage.direction.as_str(),
        class: view::class_word(stage),
        device: stage.device.clone().unwrap_or_default(),
        device_kind: stage.device_kind.map_or("", |kind| kind.as_str()),
        count: stage.packets,
        ..figure("stage", metric, value, unit)
    };
    vec![
        row("mean", Some(stage.mean_ns), "ns"),
        row("p50", stage.p50_ns, "ns"),
        row("p99", stage.p99_ns, "ns"),
        row("segments", stage.segments.map(|count| count as f64), "1"),
        row(
            "ack_packets",
            stage.ack_packets.map(|count| count as f64),
            "1",
        ),
        row("bytes", stage.bytes.map(|bytes| bytes as f64), "B"),
        row("cpu_ns_per_packet", stage.cpu_ns_per_packet, "ns"),
        row("cpu_ns_per_byte", stage.cpu_ns_per_byte, "ns/B"),
    ]
}

fn drop_rows(drops: &Drops) -> Vec<Row> {
    let row = |metric, value, unit| Row {
        name: format!("{}: {}", drops.stage, view::drop_reason(drops)),
        side: drops.side.as_str(),
        direction: drops.direction.as_str(),
        device: drops.device.clone().unwrap_or_default(),
        device_kind: drops.device_kind.map_or("", |kind| kind.as_str()),
        ..figure("drop", metric, Some(value as f64), unit)
    };
    vec![
        row("packets", drops.packets, "1"),
        row("segments", drops.segments, "1"),
        row("ack_packets", drops.ack_packets, "1"),
        row("bytes", drops.bytes, "B"),
    ]
}

fn share_rows(record: &'static str, share: &Share) -> Vec<Row> {
    let row = |metric, value, unit| Row {
        name: share.name.clone(),
        count: Some(share.samples),
        ..figure(record, metric, value, unit)
    };
    vec![
        Row {
            ci95: Some(share.share_ci95),
            ..row("share", Some(share.share), "1")
        },
        row("cpu_ns_per_byte", share.ns_per_byte, "ns/B"),
        row("cpu_ns_per_packet", share.ns_per_packet, "ns"),
        row("exact_cpu_ns_per_byte", share.exact_ns_per_byte, "ns/B"),
    ]
}

fn toll_rows(toll: &Toll) -> Vec<Row> {
    let row = |metric, value| Row {
        name: toll.metric.as_str().to_owned(),
        count: Some(u64::from(toll.pairs)),
        baseline_run_id: toll.baseline_run_id.clone(),
        ..figure("toll", metric, Some(value), "1")
    };
    vec![
        Row {
            ci95: Some(toll.ci95),
            ..row("ratio", toll.ratio)
        },
        Row {
            unit: "%",
            ci95: Some(view::overhead_interval(toll)),
            ..row("overhead", toll.overhead_percent)
        },
        row("resolved", f64::from(u8::from(toll.resolved))),
    ]
}

fn write(text: &mut String, run_id: &str, path: &Path, run: &Run, row: Row) {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    line(
        text,
        [
            row.record.to_owned(),
            run_id.to_owned(),
            path.kind.to_string(),
            path.from.to_string(),
            path.to.to_string(),
            path.network.clone().unwrap_or_default(),
            run.test.to_string(),
            run.valid.to_string(),
            row.side.to_owned(),
            row.direction.to_owned(),
            row.name,
            row.class.to_owned(),
            row.device,
            row.device_kind.to_owned(),
            row.metric.to_owned(),
            number(row.value),
            row.unit.to_owned(),
            number(row.ci95.map(|ci95| ci95[0])),
            number(row.ci95.map(|ci95| ci95[1])),
            row.count
                .map_or_else(String::new, |count| count.to_string()),
            row.baseline_run_id,
            run.options
                .mss_bytes
                .map_or_else(String::new, |mss| mss.to_string()),
        ],
    );
}

fn line(text: &mut String, cells: [String; COLUMNS.len()]) {
    *text += &cells.map(quoted).join(",");
    *text += "\r\n";
}

/// RFC 4180, section 2: a field with a comma, a quote or a line break stands in quotes.
fn quoted(cell: String) -> String {
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn every_row_has_every_column() {
        let sample = sample::report();
        let text = report(&sample);
        let mut rows = text.split_terminator("\r\n");
        assert_eq!(rows.next(), Some(COLUMNS.join(",").as_str()));
        for row in rows.clone() {
            assert_eq!(row.split(',').count(), COLUMNS.len(), "{row}");
        }
        let tolls = rows.filter(|row| row.starts_with("toll,")).count();
        assert_eq!(tolls, 3 * sample.tolls.len());
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(quoted("a,b".to_owned()), "\"a,b\"");
        assert_eq!(quoted("a \"b\"".to_owned()), "\"a \"\"b\"\"\"");
        assert_eq!(quoted("a b".to_owned()), "a b");
    }

    #[test]
    fn what_was_not_measured_has_no_row() {
        let mut sample = sample::report();
        for run in &mut sample.runs {
            run.closure = None;
        }
        assert!(!report(&sample).contains(",closure,"));
    }
}

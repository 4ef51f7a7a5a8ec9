//! What lies between two endpoints: the stages of a request and its answer, and the devices that
//! they passed.

use std::collections::BTreeSet;

use nettoll_core::{
    finding::ways,
    report::{DeviceContext, Report, Run},
};

use super::{
    Style, found, stages,
    table::{Align, Table},
    warnings,
};
use crate::render::view;

/// A report's first run as a path.
pub(crate) fn path(report: &Report, style: Style) -> String {
    let Some(run) = view::waterfalls(report)
        .first()
        .copied()
        .or(report.runs.first())
    else {
        return String::new();
    };
    let ends = format!(
        "{} → {}: {}\n",
        run.path.from,
        run.path.to,
        run.path.label()
    );
    let sections = [
        style.bold(&ends),
        warnings(report, style),
        stages::waterfall(run, style),
        devices(report, run, style),
        found::section(report, [run], style),
    ];
    let told = sections.into_iter().filter(|section| !section.is_empty());
    told.collect::<Vec<_>>().join("\n")
}

/// The devices that the run's stages name, on the side where they were passed.
fn devices(report: &Report, run: &Run, style: Style) -> String {
    let mut table = Table::with_heading(&[
        ("place", Align::Left),
        ("device", Align::Left),
        ("kind", Align::Left),
        ("MTU", Align::Right),
        ("qdisc", Align::Left),
        ("segmentation", Align::Left),
    ]);
    let mut seen = BTreeSet::new();
    for way in ways(report, run) {
        for device in way.devices {
            if seen.insert((&device.place, &device.name)) {
                table.row(row(device));
            }
        }
    }
    if seen.is_empty() {
        return String::new();
    }
    format!("{}\n{}", style.bold("Devices"), table.render(style.width()))
}

fn row(device: &DeviceContext) -> Vec<String> {
    let short = |name: &String| match name.as_str() {
        "tx-tcp-segmentation" => Some("TSO"),
        "tx-generic-segmentation" => Some("GSO"),
        "tx-udp_tnl-segmentation" => Some("tunnel"),
        "rx-gro" => Some("GRO"),
        _ => None,
    };
    let words = |all: &Vec<String>| all.iter().filter_map(short).collect::<Vec<_>>().join(" ");
    let segmentation = device
        .offloads
        .as_ref()
        .map_or_else(|| "–".to_owned(), words);
    vec![
        device.place.clone(),
        device.name.clone(),
        device.kind.as_str().to_owned(),
        device.mtu.to_string(),
        device.qdisc.clone().unwrap_or_default(),
        segmentation,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_way_and_its_devices_are_told() {
        for columns in [80, 120] {
            let style = Style {
                columns,
                colour: false,
            };
            let text = path(&sample::report(), style);
            let first = text.lines().next().unwrap();
            assert_eq!(first, "pod/lab/n1-a → pod/lab/n2-a: pod-to-pod (vxlan)");
            for line in text.lines() {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
            let devices = text.split_once("\nDevices\n").unwrap().1;
            let places: Vec<_> = devices
                .lines()
                .skip(1)
                .map(|line| {
                    line.split_whitespace()
                        .take(3)
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .collect();
            assert!(
                places.contains(&"node/n1 flannel.1 vxlan".to_owned()),
                "{places:?}"
            );
            assert!(
                places.contains(&"pod/lab/n2-a eth0 veth".to_owned()),
                "{places:?}"
            );
            assert!(!devices.contains("mgmt0"), "{devices}");
        }
    }

    #[test]
    fn a_pod_that_no_agent_knows_is_found_by_its_cable() {
        let mut report = sample::report();
        for node in &mut report.context.nodes {
            node.devices
                .retain(|device| device.place.starts_with("node/"));
        }
        report.context.nodes.reverse();
        let style = Style {
            columns: 80,
            colour: false,
        };
        let text = path(&report, style);
        let devices = text.split_once("\nDevices\n").unwrap().1;
        let cable = devices.find("vethn1-a").unwrap();
        assert!(cable < devices.find("vethn2-a").unwrap(), "{devices}");
    }

    #[test]
    fn without_runs_there_is_nothing() {
        let mut report = sample::report();
        report.runs.clear();
        let style = Style {
            columns: 80,
            colour: false,
        };
        assert_eq!(path(&report, style), "");
    }
}

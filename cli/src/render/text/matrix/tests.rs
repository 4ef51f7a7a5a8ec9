//! The sample's matrix as people see it.

use super::*;
use crate::sample;

fn plain(columns: usize) -> Style {
    Style {
        columns,
        colour: false,
    }
}

/// The first line that begins so.
fn row(text: &str, name: &str) -> String {
    let mut lines = text.lines().map(str::trim_start);
    let row = lines.find(|line| line.starts_with(name));
    row.unwrap_or_else(|| panic!("no {name} in\n{text}"))
        .to_owned()
}

#[test]
fn each_test_has_a_table_with_what_its_paths_cost() {
    for columns in [80, 100, 120] {
        let text = matrix(&sample::matrix(), plain(columns));
        for line in text.lines() {
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
        let tables: Vec<_> = text
            .lines()
            .filter(|line| line.ends_with("10 rounds of 500 ms each, without the probe"))
            .collect();
        assert_eq!(tables.len(), 2, "{text}");
        assert!(tables[0].starts_with("tcp_stream: "));
        let heading = row(&text, "path ");
        assert!(heading.contains("throughput"), "{heading}");
        assert!(!heading.contains("p50"), "{heading}");
        assert_eq!(text.contains(" p99 "), columns >= 100);
    }
    let text = matrix(&sample::matrix(), plain(80));
    // Intervals of the sample contain 1: nothing is claimed.
    let pod = row(&text, "pod-to-pod (vxlan)");
    assert!(
        pod.contains("bit/s  ±") && pod.contains("within ±"),
        "{pod}"
    );
    assert!(row(&text, "host-to-host").ends_with(NONE));
}

#[test]
fn what_has_no_figure_is_told_with_the_reason() {
    let text = matrix(&sample::matrix(), plain(80));
    assert!(row(&text, "hairpin").contains("failed"));
    assert!(row(&text, "node-port").contains("not yet"));
    for told in [
        "tcp_rr external: no endpoints\n",
        "tcp_stream hairpin: no route\n",
        "tcp_rr hairpin: no route\n",
    ] {
        assert!(text.contains(told), "{told}{text}");
    }
    let mut sample = sample::matrix();
    let Outcome::Measured(measured) = &mut sample.cells[0].outcome else {
        panic!("{:?}", sample.cells[0].outcome);
    };
    measured.runs[0].valid = false;
    measured.runs[0].invalid_reasons = vec!["steal of 12 %".to_owned()];
    let label = sample.cells[0].label();
    let text = matrix(&sample, plain(80));
    assert!(row(&text, &sample.cells[0].path.label()).contains("invalid"));
    assert!(text.contains(&format!("{label}: invalid: steal of 12 %\n")));
}

#[test]
fn a_preset_is_one_small_table() {
    let mut sample = sample::matrix();
    sample.asked.preset = Some(Preset::Cni);
    for cell in &mut sample.cells {
        cell.row = Some(format!("over {}", cell.path.kind));
    }
    let text = matrix(&sample, plain(80));
    assert!(text.starts_with("cni: 10 rounds of 500 ms each"), "{text}");
    let host = row(&text, "over host-to-host");
    assert!(host.contains("bit/s ±") && host.contains("/s ±"), "{host}");
    // Never a made-up number.
    assert!(host.ends_with(NONE), "{host}");
    assert!(text.contains("connections: this version has no test tcp_crr"));

    sample.asked.preset = Some(Preset::Flannel);
    sample.cells.retain(|cell| cell.path.network.is_some());
    for cell in &mut sample.cells {
        cell.row = None;
    }
    let text = matrix(&sample, plain(80));
    let vxlan = row(&text, "vxlan ");
    assert_eq!(
        vxlan.matches("within ±").count() + vxlan.matches('[').count(),
        2
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn a_test_has_one_table_wherever_its_cells_are() {
    let mut mixed = sample::matrix();
    mixed.cells.rotate_left(1);
    let text = matrix(&mixed, plain(100));
    let tables = text.lines().filter(|line| line.starts_with("tcp_stream: "));
    assert_eq!(tables.count(), 1, "{text}");
}

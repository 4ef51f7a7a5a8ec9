//! The CSV layout of the netperf benchmark of kubernetes/perf-tests, as its plotting scripts read it:
//! Mbit/s, a column for each segment size.

use nettoll_core::matrix::{Cell, Matrix};

/// How wide the first column is.
const LABEL: usize = 45;

/// All rows of which every cell has a figure: a place in such a row is a segment size.
pub(crate) fn csv(matrix: &Matrix) -> String {
    let sizes = matrix.asked.mss_bytes.iter();
    let sizes: String = sizes.map(|mss| format!(" {mss},")).collect();
    let mut text = format!("{:<LABEL$}, Maximum,{sizes}\n", "MSS");
    for (label, cells) in rows(matrix) {
        let Some(figures) = cells.into_iter().map(figure).collect::<Option<Vec<f64>>>() else {
            continue;
        };
        let most = figures.iter().copied().fold(0.0, f64::max);
        let figures: String = figures.iter().map(|it| format!("{it:.2},")).collect();
        text += &format!("{label:<LABEL$},{most:.6},{figures}\n");
    }
    text
}

/// The rows and their cells, in order.
fn rows(matrix: &Matrix) -> Vec<(&str, Vec<&Cell>)> {
    let mut rows: Vec<(&str, Vec<&Cell>)> = Vec::new();
    for cell in &matrix.cells {
        let label = cell.row.as_deref().unwrap_or_default();
        match rows.last_mut() {
            Some((last, cells)) if *last == label => cells.push(cell),
            _ => rows.push((label, vec![cell])),
        }
    }
    rows
}

/// Mbit/s.
fn figure(cell: &Cell) -> Option<f64> {
    Some(cell.run()?.throughput_bits_per_second?.mean / 1e6)
}

#[cfg(test)]
mod tests {
    use nettoll_core::{
        endpoint::{Endpoint, Path, PathKind},
        matrix::{Asked, Measured, Outcome, Preset, SCHEMA},
        report::{Estimate, TestType},
    };

    use super::*;
    use crate::sample;

    /// A cell of that row, with a figure in Mbit/s, or one that failed.
    fn cell(row: &str, mss_bytes: Option<u32>, figure: Option<f64>) -> Cell {
        let path = Path {
            kind: PathKind::PodToPod,
            from: Endpoint::Node("n1".to_owned()),
            to: Endpoint::Node("n2".to_owned()),
            network: None,
        };
        let measured = |mbit: f64| {
            let mut run = sample::report().runs.remove(0);
            run.throughput_bits_per_second = Some(Estimate {
                mean: mbit * 1e6,
                ci95: None,
            });
            let (runs, tolls) = (vec![run], Vec::new());
            Outcome::Measured(Box::new(Measured { runs, tolls }))
        };
        Cell {
            row: Some(row.to_owned()),
            test: TestType::TcpStream,
            path,
            mss_bytes,
            outcome: figure.map_or(Outcome::Failed("no".to_owned()), measured),
        }
    }

    #[test]
    fn rows_are_as_the_benchmark_writes_them() {
        let [one, two, last] = [
            "1 iperf TCP. Same VM using Pod IP",
            "2 iperf TCP. Same VM using Virtual IP",
            "15 netperf. Same VM using Pod IP",
        ];
        let matrix = Matrix {
            schema: SCHEMA.to_owned(),
            asked: Asked {
                preset: Some(Preset::PerfTests),
                tests: Vec::new(),
                paths: Vec::new(),
                network: "default".to_owned(),
                from_node: None,
                to_node: None,
                mss_bytes: vec![96, 160],
                rate_bits_per_second: None,
                seconds: 5.0,
                pairs: 10,
            },
            cells: vec![
                cell(one, Some(96), Some(33_835.25)),
                cell(one, Some(160), Some(35_507.0)),
                cell(two, Some(96), Some(32_997.0)),
                cell(two, Some(160), None),
                cell(last, None, Some(8_412.345)),
            ],
            missing: Vec::new(),
            context: None,
        };
        let expected = "\
MSS                                          , Maximum, 96, 160,
1 iperf TCP. Same VM using Pod IP            ,35507.000000,33835.25,35507.00,
15 netperf. Same VM using Pod IP             ,8412.345000,8412.35,
";
        assert_eq!(
            csv(&matrix),
            expected.replace("8412.35,", &format!("{:.2},", 8_412.345))
        );
    }
}

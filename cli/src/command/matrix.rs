//! `nettoll matrix`: chosen tests on chosen kinds of paths, one after the other.

mod measure;
mod store;

use std::path::PathBuf;

use nettoll_core::{
    endpoint::PathKind,
    matrix::{Asked, Matrix, Mismatch, Preset, Sweep},
    report::{MSS_BYTES, TestType},
};

use self::store::Store;
use super::{
    output::{self, Format},
    rate::Rate,
    run,
    toll::{Between, networks},
};
use crate::{
    client,
    failure::{Failure, print},
    files,
    render::{csv, perf_tests, text},
};

const EXAMPLES: &str = "\
Examples:
  nettoll matrix
  nettoll matrix --tests tcp_rr,udp_rr --paths host-to-host,pod-to-pod,hairpin --network both
  nettoll matrix --tests tcp_stream --paths host-to-host,pod-to-pod --mss 96..1440:64,9000
  nettoll matrix --tests udp_stream --rate 100mbit
  nettoll matrix --preset cni
  nettoll matrix --preset flannel --seconds 20 --out flannel
  nettoll matrix --preset flannel --seconds 20 --out flannel --resume
  nettoll matrix --preset perf-tests -o csv > netperf.csv

Exit codes: 0 all cells have a valid figure; 1 some have none: the table says which and why, and the
others are there; 2 wrong usage, or nothing can be measured; 130 interrupted.";

/// Arguments of `nettoll matrix`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    client: client::ControllerArgs,
    /// The tests, separated by commas: tcp_stream, tcp_reverse, udp_stream, tcp_rr, udp_rr,
    /// path_cost
    #[arg(
        long,
        default_value = "tcp_stream,tcp_rr",
        value_delimiter = ',',
        value_name = "LIST"
    )]
    tests: Vec<TestType>,
    /// The kinds of paths, separated by commas: loopback, host-to-host, pod-to-pod-same-node,
    /// pod-to-pod, host-to-pod, pod-to-host, pod-to-service, host-to-service, hairpin, node-port
    #[arg(
        long,
        default_value = "host-to-host,pod-to-pod-same-node,pod-to-pod",
        value_delimiter = ',',
        value_name = "LIST"
    )]
    paths: Vec<PathKind>,
    /// Tests and paths by name: cni (node, local pod and remote pod in one small table), flannel
    /// (host, vxlan and host-gw, with what they lose), perf-tests (the rows and segment sizes of the
    /// netperf benchmark of kubernetes/perf-tests; -o csv is its layout)
    #[arg(long, value_name = "NAME", conflicts_with_all = ["tests", "paths"])]
    preset: Option<Preset>,
    /// Segment sizes of tcp_stream and tcp_reverse, options of TCP included, 88 to 32767: a list,
    /// or FIRST..LAST:STEP
    #[arg(long, value_name = "LIST")]
    mss: Option<Sweep>,
    /// Payload per second of udp_stream, such as 100mbit, 100M or 2.5G; 0 or none for as fast as
    /// possible, which takes what others need of a network
    #[arg(short = 'b', long, visible_alias = "bitrate", value_name = "RATE")]
    rate: Option<Rate>,
    #[command(flatten)]
    between: Between,
    /// The pod network: a name, 'both' for all of them, or 'default' (all for path_cost and the
    /// preset flannel, else vxlan)
    #[arg(long, default_value = "default", value_name = "NAME")]
    network: String,
    /// What to write to standard output
    #[arg(
        short,
        long,
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    output: Format,
    /// Also write report.json, report.csv and matrix.txt here, and after each cell matrix.json
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the matrix in --out DIR: what has a valid figure there is not measured again
    #[arg(long, requires = "out")]
    resume: bool,
}

/// Measures and shows.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Args {
        client,
        tests,
        paths,
        preset,
        mss,
        rate,
        between,
        network,
        output,
        out,
        resume,
    } = args;
    let chosen = preset.is_none();
    let mss_bytes = sizes(mss, preset, &tests)?;
    let datagrams = match preset {
        Some(preset) => preset == Preset::PerfTests,
        None => tests.contains(&TestType::UdpStream),
    };
    if rate.is_some() && !datagrams {
        let told = "--rate is of udp_stream: give it with that test, or with --preset perf-tests";
        return Err(Failure::Prerequisite(told.to_owned()));
    }
    let asked = Asked {
        preset,
        tests: if chosen { each_once(tests) } else { Vec::new() },
        paths: if chosen { each_once(paths) } else { Vec::new() },
        network: match preset {
            Some(Preset::Flannel) if network == "default" => "both".to_owned(),
            _ => network,
        },
        from_node: between.from_node,
        to_node: between.to_node,
        mss_bytes,
        rate_bits_per_second: rate.and_then(|rate| rate.0),
        seconds: between.seconds,
        pairs: between.pairs,
    };
    if let Some(directory) = &out {
        output::prepare(directory)?;
    }
    let store = out.map(Store::new);
    let earlier = match &store {
        Some(store) => store.earlier(&asked, resume)?,
        None => None,
    };
    // Kept outside of what Ctrl-C drops: what was measured is shown all the same.
    let mut kept = None;
    let ended = run::interruptible(async {
        let client = client.client().await?;
        let inventory = client.inventory().await?;
        let networks = networks(&asked.network, &inventory)?;
        if let (Some(Preset::PerfTests), [_, _, ..]) = (preset, networks.of(TestType::TcpStream)) {
            let told = "perf-tests is of one pod network: name it with --network";
            return Err(Failure::Prerequisite(told.to_owned()));
        }
        let planned = Matrix::plan(asked, &inventory, |test| networks.of(test))
            .map_err(|error| Failure::Prerequisite(error.to_string()))?;
        let matrix = kept.insert(match earlier {
            Some(earlier) => planned.resumed(earlier).map_err(mismatch)?,
            None => planned,
        });
        measure::all(&client, matrix, store.as_ref()).await
    });
    let Some(matrix) = kept else { return ended };
    let shown = show(&matrix, output, store.as_ref());
    if let (Err(Failure::Interrupted), Some(store)) = (&ended, &store) {
        eprintln!(
            "nettoll: what was measured is in {}; --resume goes on with it",
            store.directory().display()
        );
    }
    ended.and(shown).and_then(|()| judged(&matrix))
}

fn mismatch(error: Mismatch) -> Failure {
    Failure::Prerequisite(format!("cannot go on: {error}"))
}

/// The segment sizes that are asked for.
fn sizes(
    mss: Option<Sweep>,
    preset: Option<Preset>,
    tests: &[TestType],
) -> Result<Vec<u32>, Failure> {
    let Some(mss) = mss else {
        return Ok(preset.map(Preset::mss_bytes).unwrap_or_default());
    };
    let swept = match preset {
        Some(preset) => preset == Preset::PerfTests,
        None => tests.iter().any(|test| test.has_segments()),
    };
    if !swept {
        let told = "--mss is of tcp_stream and tcp_reverse: give it with one of them, or with --preset perf-tests";
        return Err(Failure::Prerequisite(told.to_owned()));
    }
    let told = |told| Failure::Prerequisite(format!("--mss: {told}"));
    mss.within(&MSS_BYTES).map_err(told)
}

/// In the order in which they come.
fn each_once<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

/// Writes the files and standard output.
fn show(matrix: &Matrix, output: Format, store: Option<&Store>) -> Result<(), Failure> {
    let preset = matrix.asked.preset;
    let report = matrix.report();
    let written = match store {
        Some(store) => store.write(matrix, report.as_ref()),
        None => Ok(()),
    };
    let shown = match (output, &report) {
        (Format::Table, _) => print(text::matrix(matrix, output::style())),
        (Format::Json, Some(report)) => print(files::json(report)?),
        (Format::Csv, Some(_)) if preset == Some(Preset::PerfTests) => {
            print(perf_tests::csv(matrix))
        }
        (Format::Csv, Some(report)) => print(csv::report(report)),
        // Why there is none is told at the end.
        (Format::Json | Format::Csv, None) => Ok(()),
    };
    if output != Format::Table || preset == Some(Preset::PerfTests) {
        for absent in preset.into_iter().flat_map(Preset::absent) {
            eprintln!("nettoll: without '{}': {}", absent.what, absent.reason);
        }
    }
    shown.and(written.map_err(Failure::from))
}

/// Cells without a valid figure are a failure, after all others have been measured.
fn judged(matrix: &Matrix) -> Result<(), Failure> {
    let missing = matrix.missing.iter();
    let missing = missing.map(|missing| format!("{}: {}", missing.what, missing.reason));
    let faults = matrix.faults();
    let faults = faults.map(|(cell, why)| format!("{}: {why}", cell.label()));
    let all: Vec<_> = missing.chain(faults).collect();
    if all.is_empty() {
        return Ok(());
    }
    Err(Failure::Run(format!(
        "{} of {} cells have no valid figure, or none to compare it with: {}",
        all.len(),
        matrix.cells.len() + matrix.missing.len(),
        all.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_twice_is_measured_once() {
        assert_eq!(each_once(vec!["b", "a", "b"]), ["b", "a"]);
    }

    #[test]
    fn segment_sizes_are_those_of_streams() {
        let asked = |mss: Option<&str>, preset, tests: &[TestType]| {
            let mss = mss.map(|mss| mss.parse().unwrap());
            sizes(mss, preset, tests).map_err(|error| error.to_string())
        };
        let (streams, requests) = ([TestType::TcpStream], [TestType::TcpRr]);
        assert_eq!(asked(Some("96,88"), None, &streams), Ok(vec![88, 96]));
        assert_eq!(asked(None, None, &streams), Ok(Vec::new()));
        let perf_tests = Some(Preset::PerfTests);
        let all = asked(None, perf_tests, &streams).unwrap();
        assert_eq!(
            (all.len(), all.first(), all.last()),
            (22, Some(&96), Some(&1440))
        );
        assert_eq!(asked(Some("96"), perf_tests, &requests), Ok(vec![96]));
        for (mss, preset, tests, told) in [
            ("96", None, &requests, "--mss is of tcp_stream and"),
            (
                "96",
                Some(Preset::Cni),
                &streams,
                "--mss is of tcp_stream and",
            ),
            ("87", None, &streams, "--mss: 87 is not from 88 to 32767"),
        ] {
            let refused = asked(Some(mss), preset, tests).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
    }
}

//! `nettoll matrix` with a real controller and real agents.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::RunSummary,
    matrix::{Cell, Matrix},
    report::{Report, TestType},
};
use nettoll_lab::{Network, Underlay, netns, plan};
use nettoll_tests::{
    bpftrace::Bpftrace,
    session::{Session, get},
    signal,
};
use tempfile::TempDir;

/// How often cells that the hypervisor disturbed are asked for again.
const ATTEMPTS: usize = 5;

/// A folder, and the arguments of a matrix in it.
struct Asked {
    folder: TempDir,
    arguments: Vec<&'static str>,
}

impl Asked {
    fn new(arguments: &[&'static str]) -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            arguments: [&["matrix"], arguments].concat(),
        })
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, session: &Session, more: &[&str]) -> Result<Command> {
        let folder = self.folder.path().to_str().context("no UTF-8")?;
        let all = [&self.arguments[..], &["--out", folder], more].concat();
        session.command(&all)
    }

    /// Runs it, and again with `--resume` where nothing but the hypervisor is in the way.
    fn run(&self, session: &Session, more: &[&str]) -> Result<Output> {
        let mut output = self.command(session, more)?.output()?;
        for _ in 0..ATTEMPTS {
            let disturbed = self
                .matrix()
                .is_ok_and(|matrix| matrix.faults().any(|(_, why)| why.contains("hypervisor")));
            if !disturbed {
                break;
            }
            let resume: &[&str] = if more.contains(&"--resume") {
                &[]
            } else {
                &["--resume"]
            };
            output = self.command(session, &[more, resume].concat())?.output()?;
        }
        Ok(output)
    }

    fn matrix(&self) -> Result<Matrix> {
        read(&self.file("matrix.json"))
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&text)?)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The ids of a cell's runs.
fn ids(cell: &Cell) -> Vec<String> {
    let measured = cell.measured().into_iter();
    let runs = measured.flat_map(|measured| &measured.runs);
    runs.map(|run| run.id.clone()).collect()
}

/// All runs that the controller measured to their end.
fn measured() -> Result<BTreeSet<String>> {
    let runs: Vec<RunSummary> = get("/api/v1/runs")?;
    Ok(runs.into_iter().map(|run| run.id).collect())
}

#[test]
fn a_small_matrix_has_all_its_cells() -> Result<()> {
    let session = Session::up(Network::Both, Underlay::Veth)?;
    what_cannot_be_asked_for_ends_with_2(&session)?;
    let asked = Asked::new(&[
        "--tests",
        "tcp_rr,tcp_stream",
        "--paths",
        "host-to-host,pod-to-pod,hairpin",
        "--network",
        "both",
        "--seconds",
        "0.5",
    ])?;
    let output = asked.run(&session, &["-o", "json"])?;
    ensure!(output.status.success(), "{}", stderr(&output));
    let report: Report = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report, read::<Report>(&asked.file("report.json"))?);

    // Over vxlan and over host-gw; a service is in the first network alone.
    let matrix = asked.matrix()?;
    let labels: Vec<_> = matrix.cells.iter().map(Cell::label).collect();
    let of = |test: &str| {
        [
            "host-to-host",
            "pod-to-pod (vxlan)",
            "pod-to-pod (host-gw)",
            "hairpin",
        ]
        .map(|path| format!("{test} {path}"))
    };
    assert_eq!(labels, [of("tcp_rr"), of("tcp_stream")].concat());
    for cell in &matrix.cells {
        let run = cell.run().with_context(|| cell.label())?;
        assert_eq!(run.path, cell.path);
        let figure = match cell.test {
            TestType::TcpStream => run.throughput_bits_per_second,
            _ => run.transactions_per_second,
        };
        ensure!(figure.is_some_and(|it| it.mean > 0.0 && it.ci95.is_some()));
        let tolls = cell.measured().map_or(0, |measured| measured.tolls.len());
        assert_eq!(tolls > 0, cell.runs() == 2, "{}", cell.label());
    }
    let runs: BTreeSet<_> = matrix.cells.iter().flat_map(ids).collect();
    assert_eq!(runs.len(), report.runs.len());

    let table = fs::read_to_string(asked.file("matrix.txt"))?;
    for text in [
        "tcp_rr: 10 rounds of 50.0 ms",
        "pod-to-pod (host-gw)",
        "hairpin",
    ] {
        ensure!(table.contains(text), "{text}\n{table}");
    }
    let said = stderr(&output);
    ensure!(said.contains("cell 8 of 8"), "{said}");
    ensure!(said.contains(" left"), "{said}");
    Ok(())
}

#[test]
fn an_interrupted_matrix_goes_on_where_it_stopped() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let asked = Asked::new(&[
        "--tests",
        "udp_rr",
        "--paths",
        "host-to-host,loopback,pod-to-pod",
        "--seconds",
        "1",
    ])?;
    let child = asked
        .command(&session, &[])?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let begun = Instant::now();
    // In the middle of the second cell.
    while asked.matrix().is_err() {
        ensure!(begun.elapsed() < Duration::from_secs(20), "no cell is kept");
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_millis(300));
    let interrupted = Instant::now();
    signal(i32::try_from(child.id())?, libc::SIGINT)?;
    let output = child.wait_with_output()?;
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    ensure!(interrupted.elapsed() < Duration::from_secs(3));
    ensure!(said.contains("--resume goes on with it"), "{said}");
    // What was done is shown all the same.
    let table = String::from_utf8(output.stdout)?;
    ensure!(table.contains("not yet"), "{table}");
    let kept = asked.matrix()?;
    let done: Vec<_> = kept.cells.iter().flat_map(ids).collect();
    assert_eq!((kept.next(), done.len()), (Some(1), 1));

    // Neither another matrix nor a new one takes the place of what is kept.
    let refused = |more: &[&str], told: &str| {
        let output = asked.command(&session, more)?.output()?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        ensure!(said.contains(told), "{said}");
        assert_eq!(asked.matrix()?, kept);
        anyhow::Ok(())
    };
    refused(&["--resume", "--pairs", "11"], "pairs: 10 then, 11 now")?;
    refused(&[], "go on with --resume, or remove it")?;

    let output = asked.run(&session, &["--resume", "-o", "json"])?;
    ensure!(output.status.success(), "{}", stderr(&output));
    let whole = asked.matrix()?;
    assert_eq!(whole.next(), None);
    assert_eq!(ids(&whole.cells[0]), done);
    let report: Report = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report.runs.len(), 3 + 1);
    // The controller measured each run once, unless the hypervisor was in the way.
    let reported: BTreeSet<_> = report.runs.iter().map(|run| run.id.clone()).collect();
    let all = measured()?;
    ensure!(all.is_superset(&reported));
    let host = |id: &&String| id.starts_with("host-to-host-udp_rr-1-");
    assert_eq!(all.iter().filter(host).count(), 1, "{all:?}");
    Ok(())
}

#[test]
fn a_cell_that_fails_is_told_and_the_others_are_there() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let down = ["lab", "exec", "n2-a", "ip", "link", "set", "eth0", "down"];
    let output = session.nettoll(&down)?;
    ensure!(output.status.success(), "{}", stderr(&output));
    let asked = Asked::new(&[
        "--tests",
        "tcp_rr",
        "--paths",
        "host-to-host,pod-to-pod,external,pod-to-pod-same-node",
        "--seconds",
        "0.5",
    ])?;
    let output = asked.run(&session, &[])?;
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    ensure!(last.contains("2 of 4 cells have no valid figure"), "{said}");
    ensure!(last.contains("tcp_rr pod-to-pod (vxlan): "), "{said}");
    let matrix = asked.matrix()?;
    let good: Vec<_> = matrix
        .cells
        .iter()
        .map(|cell| cell.run().is_some())
        .collect();
    assert_eq!(good, [true, false, true]);
    assert_eq!(matrix.missing[0].what, "tcp_rr external");
    let table = String::from_utf8(output.stdout)?;
    let row = |path: &str| {
        table
            .lines()
            .find(|line| line.trim_start().starts_with(path))
    };
    let failed = row("pod-to-pod (vxlan)").with_context(|| table.clone())?;
    ensure!(
        failed.contains("failed") || failed.contains("invalid"),
        "{table}"
    );
    ensure!(
        row("pod-to-pod-same-node").is_some_and(|row| row.contains("/s")),
        "{table}"
    );
    Ok(())
}

/// Wrong options, before anything is measured.
fn what_cannot_be_asked_for_ends_with_2(session: &Session) -> Result<()> {
    for (arguments, told) in [
        (
            &["--tests", "tcp_rr,nonsense"][..],
            "there is no test 'nonsense'",
        ),
        (&["--paths", "moon"], "there is no kind of path 'moon'"),
        (&["--resume"], "--out"),
        (&["--mss", "87"], "87 is not from 88 to 32767"),
        (&["--network", "geneve"], "there is no pod network 'geneve'"),
        (&["--paths", "external"], "no endpoints"),
    ] {
        let output = session.nettoll(&[&["matrix"], arguments].concat())?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        ensure!(said.contains(told), "{said}");
    }
    ensure!(measured()?.is_empty());
    Ok(())
}

/// Payload and length of the options of the segments that leave the client's pod, by what is not ours.
fn segments(netns: u64) -> String {
    format!(
        "tracepoint:net:net_dev_start_xmit {{
           $skb = (struct sk_buff *)args->skbaddr;
           if (args->gso_size > 0 && $skb->dev->nd_net.net->ns.inum == {netns}) {{
             $words = *(uint8 *)($skb->head + $skb->transport_header + 12) >> 4;
             @segments[args->gso_size, $words * 4 - 20] = count();
           }}
         }}"
    )
}

#[test]
fn payload_and_options_of_a_segment_are_what_was_asked_for() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let netns = netns::inode(&plan::netns("n1-a")).context("no namespace of n1-a")?;
    let bpftrace = Bpftrace::start(&segments(netns))?;
    // The last is more than fits into a packet over vxlan.
    let asked = Asked::new(&[
        "--tests",
        "tcp_stream",
        "--paths",
        "pod-to-pod",
        "--mss",
        "96..1000:440,1440",
        "--seconds",
        "0.5",
    ])?;
    let output = asked.run(&session, &["-o", "csv"])?;
    let seen = bpftrace.end()?;
    ensure!(output.status.success(), "{}", stderr(&output));

    let mut segments = BTreeMap::new();
    for line in seen.lines().filter(|line| line.starts_with("@segments[")) {
        let numbers: Vec<u64> = line
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse().ok())
            .collect();
        let [payload, options, count] = numbers[..] else {
            continue;
        };
        *segments.entry((payload, options)).or_insert(0) += count;
    }
    const TIMESTAMPS: u64 = 12;
    let fits = 1450 - 20 - 20;
    let expected = [96, 536, 976, fits].map(|mss| (mss - TIMESTAMPS, TIMESTAMPS));
    let found: Vec<_> = segments.keys().copied().collect();
    assert_eq!(found, expected, "{segments:?}");

    let matrix = asked.matrix()?;
    for (cell, (payload, options)) in matrix.cells.iter().zip(expected) {
        let run = cell.run().with_context(|| cell.label())?;
        assert_eq!(run.options.mss_bytes, cell.mss_bytes);
        let tcp = run.tcp.as_ref().context("no counters")?;
        assert_eq!(u64::from(tcp.mss_bytes), payload);
        assert_eq!(tcp.option_bytes.map(u64::from), Some(options));
    }
    let table = fs::read_to_string(asked.file("matrix.txt"))?;
    ensure!(table.contains(" 1440 (1410) "), "{table}");
    // A column tells one segment size's rows from another's.
    let csv = String::from_utf8(output.stdout)?;
    for size in ["96", "536", "976", "1440"] {
        let of_size = |line: &&str| {
            line.starts_with("run,")
                && line.contains(",throughput,")
                && line.ends_with(&format!(",{size}"))
        };
        // The path's and its baseline's.
        assert_eq!(csv.lines().filter(of_size).count(), 2, "{csv}");
    }
    Ok(())
}

#[test]
fn perf_tests_has_that_benchmarks_layout() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let asked = Asked::new(&[
        "--preset",
        "perf-tests",
        "--mss",
        "96,1376",
        "--seconds",
        "0.2",
    ])?;
    let output = asked.run(&session, &["-o", "csv"])?;
    let said = stderr(&output);
    ensure!(output.status.success(), "{said}");
    for row in [
        "6 iperf SCTP. Same VM using Pod IP",
        "9 iperf SCTP. Remote VM",
    ] {
        ensure!(said.contains(row), "{said}");
    }
    let csv = String::from_utf8(output.stdout)?;
    assert_eq!(csv, fs::read_to_string(asked.file("perf-tests.csv"))?);
    let mut lines = csv.lines();
    let heading = "MSS                                          , Maximum, 96, 1376,";
    assert_eq!(lines.next(), Some(heading));
    let numbers: Vec<_> = lines
        .clone()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        numbers,
        [
            "1", "2", "3", "4", "5", "11", "12", "13", "14", "15", "16", "17", "18"
        ]
    );
    for line in lines {
        let (_, figures) = line.split_at(46);
        let figures = figures.trim_end_matches(',').split(',');
        let figures: Vec<f64> = figures.map(str::parse).collect::<Result<_, _>>()?;
        let (most, points) = figures.split_first().context("no figures")?;
        let swept = line.contains("iperf TCP");
        assert_eq!(points.len(), if swept { 2 } else { 1 }, "{line}");
        let highest = points.iter().copied().fold(0.0, f64::max);
        ensure!((most - highest).abs() < 0.01 && highest > 0.0, "{line}");
    }
    Ok(())
}

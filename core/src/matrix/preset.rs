//! Tests and paths that people ask for by name.

mod perf_tests;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Asked, Missing};
use crate::{endpoint::PathKind, plan::Backends, report::TestType};

/// Tests and paths that people ask for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// What comparisons of CNIs show, in one small table.
    Cni,
    /// The nodes' own network beside all pod networks: what flannel's backends lose.
    Flannel,
    /// The rows of the netperf benchmark of kubernetes/perf-tests, in its layout.
    PerfTests,
}

/// One column of a preset's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// The test whose main figure it shows, or why there is none.
    pub test: Result<TestType, &'static str>,
}

const THROUGHPUT: Column = Column {
    name: "throughput",
    test: Ok(TestType::TcpStream),
};
const REQUESTS: Column = Column {
    name: "requests",
    test: Ok(TestType::TcpRr),
};
const CONNECTIONS: Column = Column {
    name: "connections",
    test: Err("this version has no test tcp_crr"),
};

impl Preset {
    /// The presets that exist.
    pub const ALL: [Self; 3] = [Self::Cni, Self::Flannel, Self::PerfTests];

    /// As users write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cni => "cni",
            Self::Flannel => "flannel",
            Self::PerfTests => "perf-tests",
        }
    }

    /// The segment sizes that it is of where no others are asked for.
    #[must_use]
    pub fn mss_bytes(self) -> Vec<u32> {
        match self {
            Self::Cni | Self::Flannel => Vec::new(),
            Self::PerfTests => (96..=1_440).step_by(64).collect(),
        }
    }

    /// The columns of its table: tests; none where its columns are segment sizes.
    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Cni => &[THROUGHPUT, REQUESTS, CONNECTIONS],
            Self::Flannel => &[THROUGHPUT, REQUESTS],
            Self::PerfTests => &[],
        }
    }

    /// What its table has in other tools and not here, and why.
    pub fn absent(self) -> impl Iterator<Item = Missing> {
        let columns = self.columns().iter();
        let columns = columns.map(|column| (column.name, column.test));
        let rows: &[perf_tests::Row] = match self {
            Self::Cni | Self::Flannel => &[],
            Self::PerfTests => &perf_tests::ROWS,
        };
        let rows = rows.iter().map(|row| (row.label, row.test));
        columns.chain(rows).filter_map(|(what, test)| {
            Some(Missing {
                what: what.to_owned(),
                reason: test.err()?.to_owned(),
            })
        })
    }

    /// Its cells.
    fn wanted(self) -> Vec<Wanted> {
        match self {
            Self::Cni => self.table(&[
                (Some("node to node"), PathKind::HostToHost),
                (Some("local pod to pod"), PathKind::PodToPodSameNode),
                (Some("pod to remote pod"), PathKind::PodToPod),
                (Some("local process to process"), PathKind::Loopback),
            ]),
            // A row without a name is called as its pod network.
            Self::Flannel => self.table(&[
                (Some("host"), PathKind::HostToHost),
                (None, PathKind::PodToPod),
            ]),
            Self::PerfTests => perf_tests::ROWS
                .iter()
                .filter_map(|row| {
                    Some(Wanted {
                        row: Some(row.label),
                        test: row.test.ok()?,
                        kind: row.kind,
                        backends: row.backends,
                        sweep: row.sweep,
                    })
                })
                .collect(),
        }
    }

    /// Each of its tests on each of these paths.
    fn table(self, rows: &[(Option<&'static str>, PathKind)]) -> Vec<Wanted> {
        let tests = self.columns().iter().filter_map(|column| column.test.ok());
        let of_test = |test| (rows.iter()).map(move |&(row, kind)| Wanted::new(row, test, kind));
        tests.flat_map(of_test).collect()
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|preset| preset.as_str() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("there is no preset '{text}'; the presets are {names}")
        })
    }
}

/// Cells that are asked for: a test on a kind of path, over all networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) row: Option<&'static str>,
    pub(super) test: TestType,
    pub(super) kind: PathKind,
    pub(super) backends: Backends,
    /// There is a cell for each segment size.
    pub(super) sweep: bool,
}

impl Wanted {
    fn new(row: Option<&'static str>, test: TestType, kind: PathKind) -> Self {
        Self {
            row,
            test,
            kind,
            backends: Backends::Any,
            sweep: test.has_segments(),
        }
    }

    /// In words.
    pub(super) fn what(&self) -> String {
        let plain = || format!("{} {}", self.test, self.kind);
        self.row.map_or_else(plain, str::to_owned)
    }
}

impl Asked {
    /// The cells that are asked for, in their order.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        if let Some(preset) = self.preset {
            return preset.wanted();
        }
        let kinds = |test| (self.paths.iter()).map(move |&kind| Wanted::new(None, test, kind));
        self.tests.iter().copied().flat_map(kinds).collect()
    }
}

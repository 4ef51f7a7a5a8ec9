//! Tests and paths that people ask for by name.

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
    pub const ALL: [Self; 2] = [Self::Cni, Self::Flannel];

    /// As users write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cni => "cni",
            Self::Flannel => "flannel",
        }
    }

    /// The columns of its table.
    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Cni => &[THROUGHPUT, REQUESTS, CONNECTIONS],
            Self::Flannel => &[THROUGHPUT, REQUESTS],
        }
    }

    /// What its table has in other tools and not here, and why.
    pub fn absent(self) -> impl Iterator<Item = Missing> {
        self.columns().iter().filter_map(|column| {
            Some(Missing {
                what: column.name.to_owned(),
                reason: column.test.err()?.to_owned(),
            })
        })
    }

    /// The rows of its table; one without a name is called as the pod network.
    fn rows(self) -> &'static [(Option<&'static str>, PathKind)] {
        match self {
            Self::Cni => &[
                (Some("node to node"), PathKind::HostToHost),
                (Some("local pod to pod"), PathKind::PodToPodSameNode),
                (Some("pod to remote pod"), PathKind::PodToPod),
                (Some("local process to process"), PathKind::Loopback),
            ],
            Self::Flannel => &[
                (Some("host"), PathKind::HostToHost),
                (None, PathKind::PodToPod),
            ],
        }
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
}

impl Wanted {
    /// In words.
    pub(super) fn what(&self) -> String {
        format!("{} {}", self.test, self.kind)
    }
}

impl Asked {
    /// The cells that are asked for, in their order.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let wanted = |row, test, kind| Wanted {
            row,
            test,
            kind,
            backends: Backends::Any,
        };
        let Some(preset) = self.preset else {
            let of_test = |&test| (self.paths.iter()).map(move |&kind| wanted(None, test, kind));
            return self.tests.iter().flat_map(of_test).collect();
        };
        let tests = preset
            .columns()
            .iter()
            .filter_map(|column| column.test.ok());
        let of_test =
            |test| (preset.rows().iter()).map(move |&(row, kind)| wanted(row, test, kind));
        tests.flat_map(of_test).collect()
    }
}

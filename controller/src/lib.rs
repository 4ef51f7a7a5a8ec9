//! The controller of nettoll: it knows the nodes and endpoints from an inventory, plans which
//! rounds run in which order, has the agents run them, and joins what both sides measured.
//!
//! The binary `nettoll-controller` is its one user, and the example `simulate`, for the bench.
//!
//! It makes no traffic, loads no eBPF and computes no statistics of its own: those live in the
//! agent and in `nettoll-core`. In the order of the data's way:
//!
//! 1. [`config`], [`inventory`] and [`directory`]: what to connect to, and which endpoints there
//!    are.
//! 2. [`api`]: jobs in, events and the report out; never two jobs on one node.
//! 3. [`jobs`]: plan → dispatch → results.
//! 4. [`agents`]: the requests to the agents, over mutual TLS.
//! 5. [`metrics`]: what finished jobs and rounds leave for Prometheus.
//! 6. [`kubernetes`]: the same with what a cluster says: who leads, certificates, what there is,
//!    and what annotations ask for; and [`mesh`]: rounds that go on by themselves.
//!
//! It fails with 2 where its configuration is wrong, with 1 where it cannot go on; a job that
//! fails is told to the one who asked for it and ends nothing else.

mod agents;
mod api;
mod config;
mod directory;
mod inventory;
mod jobs;
mod kubernetes;
mod mesh;
mod metrics;
mod run;
pub mod simulate;

pub use run::{Run, run};

//! A cluster in network namespaces: nodes, their pods, the pod network between them, and real
//! `nettoll-agent` and `nettoll-controller` processes in it.
//!
//! The data's way: [`Options`] say what is wanted, [`plan`] names and numbers it, `bed` builds
//! the devices and routes with iproute2, `rules` those of the services with nftables, `certificates` and `config` write what the processes
//! read, `process` starts them, `ready` waits for them. [`Lab`] holds it all together and takes
//! it down when it is dropped, also in a panic. What was made is written to
//! [`files::DIRECTORY`] before it is made, so that a later `up` or `down` finds the leftovers
//! of a lab that was killed.
//!
//! The crate is a bed and no shortcut: it measures nothing and calls neither agent nor
//! controller but as processes. It needs root. Every failure is an [`Error`] that says what was
//! tried; nothing half-built is left behind.
//!
//! ```text
//!  nettoll-n1-a   nettoll-n1-b                      nettoll-n2-a   nettoll-n2-b
//!    eth0           eth0                              eth0           eth0
//!     │              │                                 │              │
//!   vethn1-a ─cni0─ vethn1-b                         vethn2-a ─cni0─ vethn2-b
//!              │                                                │
//!          flannel.1                                        flannel.1
//!  nettoll-n1  │                                                │  nettoll-n2
//!            eth0 ──────────────── 198.18.0.0/24 ───────────── eth0
//!            mgmt0 ─────────── mgmt in nettoll-cp ──────────── mgmt0
//! ```

mod bed;
mod certificates;
mod config;
mod error;
pub mod files;
mod ip;
mod lab;
mod leftovers;
mod lock;
pub mod netns;
mod options;
pub mod plan;
mod privilege;
mod process;
mod ready;
mod rules;
mod state;
pub mod tap;

pub use error::{Class, Error};
pub use lab::{Lab, command_in, down, status};
pub use options::{Binaries, Network, Options, Underlay};
pub use process::{Identity, Process};
pub use state::{State, Status};

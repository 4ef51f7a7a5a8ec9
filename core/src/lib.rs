//! The pure part of nettoll: what a result looks like and what follows from one.
//!
//! No sockets, no clock, no files: everything here is a function of its inputs and is tested
//! without root. Read in this order, which is the data's way through a run:
//!
//! 1. [`endpoint`] and [`device`]: where a path begins and ends, and what lies on it; [`url`]:
//!    where a path outside of the cluster goes.
//! 2. [`api`]: what controller and agent say to each other to measure it, and [`version`]: which of
//!    them understand each other.
//! 3. [`hop`] and [`stage`]: kernel events of one packet, and the stages between them; [`arrival`]:
//!    the last of these, between a device and the thread that reads.
//! 4. [`component`]: what a CPU sample's stack was busy with; [`stacks`]: the samples of all runs
//!    added up by path, and [`pprof`]: as other tools read them.
//! 5. [`histogram`] and [`stats`]: distributions that merge, means with intervals; [`datagrams`]: what
//!    became of a stream of them.
//! 6. [`plan`]: which rounds run in which order, so that comparisons are in pairs ([`random`] is
//!    the one source of chance, and repeatable).
//! 7. [`toll`]: what a path costs beyond its baseline.
//! 8. [`report`]: `nettoll.report/v1`, the result that users keep; [`finding`]: what on its paths is
//!    not as it could be; [`change`]: what became better or worse between two results.
//! 9. [`matrix`]: many jobs, and what they measured together.
//! 10. [`turns`]: which jobs may run beside each other.
//! 11. [`exposition`]: pages of metrics for Prometheus, which agents and controllers write.
//! 12. [`kernel`]: what the probe needs of a kernel, and whether one has it by its [`btf`].
//!
//! On a Kubernetes cluster besides:
//!
//! 13. [`inventory`]: nodes, pods and namespaces as watch events tell of them.
//! 14. [`mesh`]: the always-on rounds between nodes, and what follows from their results.
//! 15. [`annotation`]: a test asked for and answered by annotations on a pod.
#![forbid(unsafe_code)]

pub mod annotation;
pub mod api;
pub mod arrival;
pub mod btf;
pub mod change;
pub mod component;
pub mod datagrams;
pub mod device;
pub mod endpoint;
pub mod exposition;
pub mod finding;
mod hash;
pub mod histogram;
pub mod hop;
pub mod inventory;
pub mod kernel;
pub mod matrix;
pub mod mesh;
mod number;
pub mod plan;
pub mod pprof;
mod protobuf;
pub mod random;
mod rate;
mod reason;
pub mod report;
pub mod stacks;
pub mod stage;
pub mod stats;
pub mod toll;
pub mod turns;
pub mod url;
pub mod version;

pub use number::whole;
pub use rate::rate;
pub use reason::reason;

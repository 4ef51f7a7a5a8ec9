//! The always-on mesh: which nodes probe which, when, and what follows from the rounds.
//!
//! 1. [`Settings`]: how dense, how often, and the budgets.
//! 2. [`Plan`]: the members of a [`Cluster`](crate::inventory::Cluster) on a ring → pairs of
//!    nodes, and for each agent its [`LightPlan`](crate::api::LightPlan). The work of a node is
//!    the same at any size of the cluster, and few pairs change when a node comes or goes.
//! 3. [`State`]: the agents' rounds → per edge whether it is up, its percentiles and losses, and
//!    per pair the toll of `pod-to-pod` against `host-to-host`. Where the probes of both nodes
//!    follow a round, their stages are joined. It keeps what is needed for that and no more: some
//!    hundred bytes an edge. It knows whose turn it is to have the day's [`Stream`], too.
//!
//! No clock here: times are milliseconds of the caller's monotonic clock, and the agents tell ages,
//! never times, so that no skewed clock can do harm.

mod beside;
mod budget;
mod edge;
mod joint;
mod light;
mod plan;
mod ring;
mod settings;
mod state;
mod streams;
#[cfg(test)]
mod tests;
mod toll;
mod view;
mod window;

pub use edge::{LOST_ROUNDS, Round};
pub use joint::Wire;
pub use plan::{Pair, Plan, Why};
pub use settings::{Settings, SettingsError};
pub use state::State;
pub use streams::{Stream, StreamOrder};
pub use toll::TOLL_PAIRS;
pub use view::{Accepted, EdgeView, TollView};

/// Series that a pair has at most: seven of each of its two edges (`nettoll_up`, two percentiles,
/// requests, lost, last success, the path's MTU), of each a throughput, three tolls and a closure.
pub const SERIES_PER_PAIR: usize = 20;
/// Those that rounds over TCP add to them: six of each edge, without the path's MTU, a toll
/// and its interval.
pub const TCP_SERIES_PER_PAIR: usize = 14;

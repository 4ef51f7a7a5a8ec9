//! One edge of the plan: what its rounds and its tests of the path's MTU begin with, and what came
//! of them.

use std::{net::SocketAddr, sync::Arc};

use nettoll_core::{
    api::{LightEdge, LightPathMtu, LightPlan, LightRound, Protocol, UserStage},
    hop::{Direction, Side},
};

use super::{
    message,
    pacer::{Job, Link, Probed},
    path_mtu,
    round::{Pace, Round},
    route::Route,
    sockets::Sockets,
};
use crate::{
    netns::Netns,
    path::Node,
    runs::Runs,
    traffic::{Seen, header::run_hash, now_ns},
};

/// So soon after it is made ready a round begins at the earliest.
const AT_ONCE_NS: u64 = 2_000_000;
/// A request that is sent so late says nothing about the network any more.
const TOO_LATE_NS: u64 = 100_000_000;
/// So long after a round a test of the MTU begins: the other side may still follow the round.
const APART_NS: u64 = 400_000_000;
const UDP_HEADER_BYTES: u32 = 8;

/// An edge and its state.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) edge: LightEdge,
    /// When its next round begins.
    pub(super) next_ns: u64,
    route: Route,
    mtu_tests: path_mtu::Tests,
    open: Option<Opened>,
}

/// What the pacer has of the edge.
#[derive(Debug)]
struct Opened {
    /// An answer with another one is of an edge that was in an earlier plan.
    token: u64,
    netns: Netns,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A round of the plan; why the probe is not there.
    Round { no_probe: Option<String> },
    /// Requests in packets of so many bytes.
    MtuTest { bytes: u32 },
}

/// What came of a job.
#[derive(Debug)]
pub(super) enum Outcome {
    Round(LightRound),
    MtuTest(LightPathMtu),
}

impl Edge {
    /// An edge that is new in the plan.
    pub(super) fn new(edge: LightEdge, next_ns: u64) -> Self {
        Self {
            route: Route::of_edge(&edge),
            edge,
            next_ns,
            mtu_tests: path_mtu::Tests::default(),
            open: None,
        }
    }

    /// Whether the pacer has nothing of it.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none()
    }

    /// Whether the pacer has this of it.
    pub(super) fn is_at(&self, token: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.token == token)
    }

    /// The next round, which the pacer is to have. Why not, where it cannot be made.
    pub(super) fn begin(
        &mut self,
        token: u64,
        plan: &LightPlan,
        sockets: &mut Sockets,
        node: &Node,
        runs: &Arc<Runs>,
    ) -> Result<Job, String> {
        let (run, to) = (self.run(), self.to());
        let (link, netns) = match self.edge.protocol {
            Protocol::Udp => {
                let (socket, netns) = sockets.datagrams(&self.edge, node)?;
                (Link::Datagrams { socket, to }, netns)
            }
            Protocol::Tcp => {
                let (connection, netns) = sockets.connection(&self.edge, node)?;
                (Link::Connection(connection), netns)
            }
        };
        let first_sequence = self.next_ns;
        let (mut probe, mut no_probe) = (None, None);
        if let Link::Datagrams { socket, to } = &link
            && self.edge.probe
        {
            // Before the probe follows the flow, for it is no request. One that is lost leaves
            // the round without the responder's side.
            let _ = socket.send_to(&message::announcement(run, first_sequence), *to);
            match self.route.watch(node, runs) {
                Ok((watch, stamps)) => {
                    let socket_rx =
                        Seen::new(UserStage::SocketRx, Side::Client, Direction::Response);
                    probe = Some(Probed {
                        watch,
                        stamps,
                        socket_rx,
                    });
                }
                Err(why) => no_probe = Some(why),
            }
        }
        self.open = Some(Opened {
            token,
            netns,
            what: What::Round { no_probe },
        });
        let start_ns = self.next_ns.max(now_ns() + AT_ONCE_NS);
        Ok(Job {
            token,
            link,
            run,
            request: message::request(run, plan.payload_bytes as usize),
            first_sequence,
            round: Round::new(Pace::of(plan), start_ns),
            probe,
            refused: None,
        })
    }

    /// A test of the path's MTU, if it is time for one. Why not, where it cannot be made.
    pub(super) fn begin_mtu_test(
        &mut self,
        token: u64,
        sockets: &mut Sockets,
        node: &Node,
    ) -> Result<Option<Job>, String> {
        let now = now_ns();
        // TCP makes its packets as large as it likes, and sends them again.
        if self.edge.protocol == Protocol::Tcp || !self.mtu_tests.is_due(now) {
            return Ok(None);
        }
        self.mtu_tests.put_off(now);
        let (socket, netns) = sockets.datagrams(&self.edge, node)?;
        let bytes = self.route.claimed_mtu(node)?;
        let headers = if self.edge.to.is_ipv4() { 20 } else { 40 } + UDP_HEADER_BYTES;
        self.open = Some(Opened {
            token,
            netns,
            what: What::MtuTest { bytes },
        });
        Ok(Some(Job {
            token,
            link: Link::Datagrams {
                socket,
                to: self.to(),
            },
            run: self.run(),
            request: message::request(self.run(), bytes.saturating_sub(headers) as usize),
            first_sequence: now,
            round: Round::new(path_mtu::PACE, now + APART_NS),
            probe: None,
            refused: None,
        }))
    }

    /// What came of the job that the pacer had; `None` where nothing follows from it yet.
    pub(super) fn done(&mut self, job: Job, node: &Node) -> Option<Outcome> {
        let open = self.open.take()?;
        match open.what {
            What::Round { no_probe } => {
                let round = self.round(job, no_probe, &open.netns, node);
                Some(Outcome::Round(round))
            }
            What::MtuTest { bytes } => {
                let answered = job.round.tally().answered > 0;
                // Without its pod nothing is learned.
                let ok = (open.netns.is_there())
                    .then(|| self.mtu_tests.done(answered, now_ns()))
                    .flatten()?;
                Some(Outcome::MtuTest(LightPathMtu {
                    edge: self.edge.id.clone(),
                    age_ms: 0,
                    bytes,
                    ok,
                    refused: job.refused(),
                }))
            }
        }
    }

    fn round(
        &mut self,
        job: Job,
        mut no_probe: Option<String>,
        netns: &Netns,
        node: &Node,
    ) -> LightRound {
        let (tally, refused) = (job.round.tally(), job.refused());
        let mut stages = Vec::new();
        if let Some(Probed {
            watch, socket_rx, ..
        }) = job.probe
        {
            match self.route.stages(node, watch, vec![socket_rx.user_times()]) {
                Ok(seen) => stages = seen,
                Err(why) => no_probe = Some(why),
            }
        }
        let late_ms = tally.latest_ns / 1_000_000;
        let failed = if !netns.is_there() {
            Some(format!(
                "{} went away during the round",
                self.edge.from.endpoint
            ))
        } else if tally.latest_ns > TOO_LATE_NS {
            Some(format!(
                "the agent did not run for {late_ms} ms of the round"
            ))
        } else {
            None
        };
        LightRound {
            edge: self.edge.id.clone(),
            first_sequence: job.first_sequence,
            sent: tally.sent,
            answered: tally.answered,
            lost: tally.sent - tally.answered,
            rtt: tally.rtt,
            late_ns: tally.late_ns,
            refused,
            stages,
            no_probe,
            failed,
            ..LightRound::default()
        }
    }

    /// A round that could not be made.
    pub(super) fn failed(&self, why: String) -> LightRound {
        LightRound {
            edge: self.edge.id.clone(),
            failed: Some(why),
            ..LightRound::default()
        }
    }

    /// The edge in its messages.
    fn run(&self) -> u32 {
        run_hash(&self.edge.id)
    }

    fn to(&self) -> SocketAddr {
        SocketAddr::new(self.edge.to, self.edge.to_port)
    }
}

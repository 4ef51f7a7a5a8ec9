//! A run's traffic as it was asked for, checked once.

use std::{net::SocketAddr, time::Duration};

use nettoll_core::{
    api::{Protocol, Role, RunSpec},
    endpoint::{Endpoint, PathKind},
    report::{MSS_BYTES, TestType},
};

use super::{
    datagrams::LEAST_BYTES,
    header::{HEADER_BYTES, run_hash},
};

/// Most payload of one UDP datagram over IPv4; over IPv6 it is 20 bytes more.
const MAX_DATAGRAM: u32 = 65_507;
/// Most bytes of a message that is written to a stream.
const MAX_MESSAGE: u32 = 16 << 20;

/// What is wrong with a run's specification.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// A size that cannot be sent.
    #[error(
        "{test}: {option} is {value}, but must be from {least} (what the test writes into it) to {max}"
    )]
    Size {
        /// Which test.
        test: TestType,
        /// Which option.
        option: &'static str,
        /// What it is.
        value: u32,
        /// The least that it may be.
        least: u32,
        /// What it may be.
        max: u32,
    },
    /// A segment's size that TCP does not take, or of which it has none.
    #[error(
        "{0}: mss_bytes is {1}, but must be from {least} to {most}, and of tcp_stream or tcp_reverse",
        least = MSS_BYTES.start(),
        most = MSS_BYTES.end()
    )]
    Mss(TestType, u32),
    /// Addresses of two families.
    #[error("the client's address {0} and the server's {1} are not of one family")]
    Family(std::net::IpAddr, std::net::IpAddr),
    /// Half a `path_cost`.
    #[error("path_cost is one thread with both sockets: its role is both, on one kernel")]
    Role,
    /// The port that the kernel chooses is not known to the other agent.
    #[error(
        "port 0 lets the kernel choose, which only an agent with both roles can, and no service"
    )]
    Port,
    /// Sockets where requests to a URL are asked for, or the other way round.
    #[error("http_rr goes to a URL, and no other test does")]
    Url,
}

/// What traffic to make between which addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Which test.
    pub(super) test: TestType,
    /// The run in the messages' headers.
    pub(super) run: u32,
    /// Of the client; port 0 lets the kernel choose.
    pub(super) client: SocketAddr,
    /// Of the server.
    pub(super) server: SocketAddr,
    /// Where the client connects to instead, on a path to a service.
    pub(super) service: Option<SocketAddr>,
    /// Rules on the way may translate addresses: the client greets.
    pub(super) greets: bool,
    /// Unmeasured traffic: RR tests once at the start, streams in each round.
    pub(super) warmup: Duration,
    /// Bytes of one request, or of one write call of a stream.
    pub(super) request_bytes: usize,
    /// Bytes of one response.
    pub(super) response_bytes: usize,
    /// The largest segment; `None` for what the kernels agree on.
    pub(super) mss: Option<u32>,
    /// Payload per second of `udp_stream`; `None` for as fast as possible.
    pub(super) rate_bits_per_second: Option<u64>,
    /// The server is alone on this agent: it sets the marks of its side by itself.
    pub(super) server_marks: bool,
}

impl Plan {
    /// Checks a specification.
    pub(crate) fn new(spec: &RunSpec) -> Result<Self, PlanError> {
        let (test, options) = (spec.test, &spec.options);
        let size = |option, value: u32, max| {
            let least = match test {
                TestType::UdpStream => LEAST_BYTES,
                _ => HEADER_BYTES as u32,
            };
            if (least..=max).contains(&value) {
                Ok(value as usize)
            } else {
                Err(PlanError::Size {
                    test,
                    option,
                    value,
                    least,
                    max,
                })
            }
        };
        let (request_bytes, response_bytes) = match test {
            TestType::TcpStream | TestType::TcpReverse => (
                size("message_bytes", options.message_bytes, MAX_MESSAGE)?,
                0,
            ),
            TestType::UdpStream => (
                size("datagram_bytes", options.datagram_bytes, MAX_DATAGRAM)?,
                0,
            ),
            TestType::HttpRr => (0, 0),
            TestType::PathCost => (
                size("request_bytes", options.request_bytes, MAX_DATAGRAM)?,
                0,
            ),
            TestType::TcpRr | TestType::UdpRr => {
                let max = if test == TestType::UdpRr {
                    MAX_DATAGRAM
                } else {
                    MAX_MESSAGE
                };
                let request = size("request_bytes", options.request_bytes, max)?;
                (
                    request,
                    size("response_bytes", options.response_bytes, max)?,
                )
            }
        };
        let mss = options.mss_bytes;
        if let Some(mss) = mss
            && !(test.has_segments() && MSS_BYTES.contains(&mss))
        {
            return Err(PlanError::Mss(test, mss));
        }
        let (client, server) = (spec.client.address, spec.server.address);
        let service = spec.service.map(|service| service.ip());
        for to in [Some(server), service].into_iter().flatten() {
            if client.is_ipv4() != to.is_ipv4() {
                return Err(PlanError::Family(client, to));
            }
        }
        if (test == TestType::HttpRr) != matches!(spec.path.to, Endpoint::Url(_)) {
            return Err(PlanError::Url);
        }
        if test == TestType::PathCost && spec.role != Role::Both {
            return Err(PlanError::Role);
        }
        if spec.port == 0 && (spec.role != Role::Both || spec.service.is_some()) {
            return Err(PlanError::Port);
        }
        Ok(Self {
            test,
            run: run_hash(&spec.id),
            client: SocketAddr::new(client, 0),
            server: SocketAddr::new(server, spec.port),
            service: spec.service,
            greets: spec.service.is_some() || is_masqueraded(spec),
            warmup: Duration::from_millis(options.warmup_ms.into()),
            request_bytes,
            response_bytes,
            mss,
            rate_bits_per_second: options.rate_bits_per_second.filter(|&rate| rate > 0),
            server_marks: spec.role == Role::Server,
        })
    }

    /// The same traffic, to where the server listens.
    pub(crate) fn with_server(self, server: SocketAddr) -> Self {
        Self { server, ..self }
    }

    /// Where the client connects to.
    pub(super) fn target(&self) -> SocketAddr {
        self.service.unwrap_or(self.server)
    }

    /// The test's transport protocol.
    pub(crate) fn protocol(&self) -> Protocol {
        self.test.protocol()
    }
}

/// What CNIs give another source: what goes from pods to nodes, and from nodes to pods.
fn is_masqueraded(spec: &RunSpec) -> bool {
    matches!(spec.path.kind, PathKind::PodToHost | PathKind::HostToPod)
        && spec.test != TestType::PathCost
}

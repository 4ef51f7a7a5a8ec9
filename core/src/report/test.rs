//! The types of traffic.

use serde::{Deserialize, Serialize};

use crate::{api::Protocol, endpoint::Endpoint, hop::Direction};

/// The types of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestType {
    /// Bulk data from client to server.
    TcpStream,
    /// Bulk data from server to client.
    TcpReverse,
    /// Datagrams from client to server, at a rate or as fast as possible.
    UdpStream,
    /// One TCP request outstanding.
    TcpRr,
    /// One UDP request outstanding.
    UdpRr,
    /// One datagram at a time by one thread that owns both sockets.
    PathCost,
    /// One HTTP request after the other, each with a connection of its own.
    HttpRr,
}

impl TestType {
    /// The word of the design.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TcpStream => "tcp_stream",
            Self::TcpReverse => "tcp_reverse",
            Self::UdpStream => "udp_stream",
            Self::TcpRr => "tcp_rr",
            Self::UdpRr => "udp_rr",
            Self::PathCost => "path_cost",
            Self::HttpRr => "http_rr",
        }
    }

    /// What its packets are.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::TcpStream | Self::TcpReverse | Self::TcpRr | Self::HttpRr => Protocol::Tcp,
            Self::UdpStream | Self::UdpRr | Self::PathCost => Protocol::Udp,
        }
    }

    /// Bulk data one way, of which the rate is measured, and no single message.
    #[must_use]
    pub fn is_stream(self) -> bool {
        matches!(self, Self::TcpStream | Self::TcpReverse | Self::UdpStream)
    }

    /// The way of a stream's data; of all other tests that of requests.
    #[must_use]
    pub fn payload(self) -> Direction {
        match self {
            Self::TcpReverse => Direction::Response,
            _ => Direction::Request,
        }
    }

    /// Whether the size of its segments can be chosen.
    #[must_use]
    pub fn has_segments(self) -> bool {
        self.is_stream() && self.protocol() == Protocol::Tcp
    }

    /// Whether it can be run to this endpoint.
    #[must_use]
    pub fn reaches(self, to: &Endpoint) -> bool {
        match to {
            Endpoint::Service { .. } | Endpoint::NodePort { .. } => {
                !matches!(self, Self::PathCost | Self::HttpRr)
            }
            Endpoint::Url(_) => self == Self::HttpRr,
            _ => self != Self::HttpRr,
        }
    }

    /// The tests that can be run to this endpoint, by name and with commas between them.
    #[must_use]
    pub fn names_to(to: &Endpoint) -> String {
        let there = Self::ALL.into_iter().filter(|test| test.reaches(to));
        there.map(Self::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The tests that exist.
    pub const ALL: [Self; 7] = [
        Self::TcpStream,
        Self::TcpReverse,
        Self::UdpStream,
        Self::TcpRr,
        Self::UdpRr,
        Self::PathCost,
        Self::HttpRr,
    ];
}

impl std::fmt::Display for TestType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for TestType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|test| test.as_str() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::as_str).join(", ");
                format!("there is no test '{text}'; the tests are {names}")
            })
    }
}

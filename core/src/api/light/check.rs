//! The bounds of a plan, checked before anything of it is done.

use std::{collections::BTreeSet, ops::RangeInclusive};

use super::{
    LIGHT_IDLE_SECONDS, LightEdge, LightPlace, LightPlan, MAX_LIGHT_EDGES, MAX_LIGHT_RESPONDERS,
    MAX_LIGHT_WATCHES, Protocol,
};

/// The messages' header, the kind, the length and some filling.
const PAYLOAD_BYTES: RangeInclusive<u32> = 24..=65_507;
const PERIOD_MS: RangeInclusive<u32> = 1_000..=3_600_000;
const REQUESTS: RangeInclusive<u32> = 1..=1_000;
const REQUESTS_PER_SECOND: RangeInclusive<u32> = 1..=1_000;
const TIMEOUT_MS: RangeInclusive<u32> = 1..=10_000;
const IDLE_SECONDS: RangeInclusive<u32> = 1..=LIGHT_IDLE_SECONDS;
const ID_BYTES: RangeInclusive<usize> = 1..=128;
const VERSION_BYTES: RangeInclusive<usize> = 1..=64;

/// What is wrong with a plan of light rounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LightPlanError {
    /// A number out of proportion.
    #[error("the light plan's {what} is {value}, but must be from {min} to {max}")]
    Range {
        /// Which.
        what: &'static str,
        /// What it is.
        value: u32,
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
    /// Too many.
    #[error("the light plan has {count} {what}, but at most {most} are possible")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// Not a version.
    #[error("a light plan's version has 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'")]
    Version,
    /// Not an id.
    #[error("an edge's id has 1 to 128 printable ASCII characters without space")]
    Id,
    /// The same id or the same flow twice.
    #[error("the light plan has the edge '{0}', or one with its addresses and ports, twice")]
    Twice(String),
    /// A round that does not end before the next one.
    #[error(
        "a light round takes up to {round_ms} ms, which is more than the period of {period_ms} ms; ask for fewer requests or a longer period"
    )]
    Overlap {
        /// The longest that a round takes.
        round_ms: u64,
        /// The period.
        period_ms: u32,
    },
    /// Port 0.
    #[error("edge '{0}': port 0 is no port that both sides can know")]
    Port(String),
    /// A port of its own over TCP.
    #[error(
        "edge '{0}': over TCP from_port is 0, for each round's connection has a port of its own"
    )]
    FromPort(String),
    /// The probe where there is none.
    #[error("edge '{0}': the probe follows light rounds over UDP alone")]
    Probe(String),
    /// Addresses of two families.
    #[error("edge '{0}': its addresses are not of one family")]
    Family(String),
    /// Followed, but not answered.
    #[error("the watch of edge '{0}' is of a responder that the light plan does not have")]
    Watch(String),
    /// A responder and a client at one address.
    #[error("port {port} of {place} is that of a responder and of another part of the plan")]
    PortTwice {
        /// Whose.
        place: String,
        /// Which.
        port: u16,
    },
}

impl LightPlan {
    /// Checks the plan's bounds.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), LightPlanError> {
        in_range("period_ms", self.period_ms, PERIOD_MS)?;
        in_range("requests", self.requests, REQUESTS)?;
        in_range("payload_bytes", self.payload_bytes, PAYLOAD_BYTES)?;
        in_range(
            "requests_per_second",
            self.requests_per_second,
            REQUESTS_PER_SECOND,
        )?;
        in_range("timeout_ms", self.timeout_ms, TIMEOUT_MS)?;
        in_range("idle_seconds", self.idle_seconds, IDLE_SECONDS)?;
        at_most("edges", self.edges.len(), MAX_LIGHT_EDGES)?;
        at_most("responders", self.responders.len(), MAX_LIGHT_RESPONDERS)?;
        at_most("watches", self.watches.len(), MAX_LIGHT_WATCHES)?;
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !VERSION_BYTES.contains(&self.version.len()) || !self.version.bytes().all(named) {
            return Err(LightPlanError::Version);
        }
        let sending_ms = u64::from(self.requests) * 1_000 / u64::from(self.requests_per_second);
        let round_ms = sending_ms + u64::from(self.timeout_ms);
        if round_ms > self.period_ms.into() {
            return Err(LightPlanError::Overlap {
                round_ms,
                period_ms: self.period_ms,
            });
        }
        self.check_edges()?;
        self.check_ports()?;
        self.check_watches()
    }

    fn check_edges(&self) -> Result<(), LightPlanError> {
        let (mut ids, mut flows) = (BTreeSet::new(), BTreeSet::new());
        for edge in &self.edges {
            let id = || edge.id.clone();
            check_id(&edge.id)?;
            let is_tcp = edge.protocol == Protocol::Tcp;
            // Connections have a port each.
            let is_new = is_tcp || flows.insert((edge.source(), edge.to, edge.to_port));
            if !ids.insert(&edge.id) || !is_new {
                return Err(LightPlanError::Twice(id()));
            }
            if edge.to_port == 0 || (edge.from_port == 0 && !is_tcp) {
                return Err(LightPlanError::Port(id()));
            }
            if is_tcp && edge.from_port != 0 {
                return Err(LightPlanError::FromPort(id()));
            }
            if is_tcp && edge.probe {
                return Err(LightPlanError::Probe(id()));
            }
            if edge.from.address.is_ipv4() != edge.to.is_ipv4() {
                return Err(LightPlanError::Family(id()));
            }
            let last = self.period_ms - 1;
            in_range("offset_ms of an edge", edge.offset_ms, 0..=last)?;
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<(), LightPlanError> {
        let mut taken: BTreeSet<(&LightPlace, u16, Protocol)> = BTreeSet::new();
        let clients = self.edges.iter().map(|edge| {
            let (place, port) = edge.source();
            (place, port, edge.protocol)
        });
        let clients: BTreeSet<_> = clients.collect();
        for responder in &self.responders {
            let at = (&responder.place, responder.port, responder.protocol);
            if responder.port == 0 || !taken.insert(at) || clients.contains(&at) {
                return Err(LightPlanError::PortTwice {
                    place: responder.place.endpoint.to_string(),
                    port: responder.port,
                });
            }
        }
        Ok(())
    }

    fn check_watches(&self) -> Result<(), LightPlanError> {
        let (mut ids, mut flows) = (BTreeSet::new(), BTreeSet::new());
        for watch in &self.watches {
            check_id(&watch.edge)?;
            let id = || watch.edge.clone();
            if !ids.insert(&watch.edge) || !flows.insert((watch.from, &watch.responder)) {
                return Err(LightPlanError::Twice(id()));
            }
            if !self.responders.contains(&watch.responder) {
                return Err(LightPlanError::Watch(id()));
            }
            if watch.responder.protocol != Protocol::Udp {
                return Err(LightPlanError::Probe(id()));
            }
            if watch.from.port() == 0 {
                return Err(LightPlanError::Port(id()));
            }
            if watch.from.is_ipv4() != watch.responder.place.address.is_ipv4() {
                return Err(LightPlanError::Family(id()));
            }
        }
        Ok(())
    }
}

fn check_id(id: &str) -> Result<(), LightPlanError> {
    if ID_BYTES.contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(LightPlanError::Id)
    }
}

impl LightEdge {
    /// Where its socket is.
    #[must_use]
    pub fn source(&self) -> (&LightPlace, u16) {
        (&self.from, self.from_port)
    }
}

fn in_range(
    what: &'static str,
    value: u32,
    range: RangeInclusive<u32>,
) -> Result<(), LightPlanError> {
    let (min, max) = range.into_inner();
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(LightPlanError::Range {
            what,
            value,
            min,
            max,
        })
    }
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), LightPlanError> {
    if count <= most {
        Ok(())
    } else {
        Err(LightPlanError::TooMany { what, count, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{LIGHT_CLIENT_PORT, LIGHT_PORT, LightResponder, LightWatch},
        endpoint::{Path, PathKind},
    };

    fn place() -> LightPlace {
        LightPlace {
            endpoint: "node/n1".parse().unwrap(),
            pod_uid: None,
            address: "198.18.0.1".parse().unwrap(),
        }
    }

    fn edge(id: &str) -> LightEdge {
        LightEdge {
            id: id.to_owned(),
            path: Path {
                kind: PathKind::HostToHost,
                from: "node/n1".parse().unwrap(),
                to: "node/n2".parse().unwrap(),
                network: None,
            },
            from: place(),
            to: "198.18.0.2".parse().unwrap(),
            to_node: Some("198.18.0.2".parse().unwrap()),
            protocol: Protocol::Udp,
            from_port: LIGHT_CLIENT_PORT,
            to_port: LIGHT_PORT,
            offset_ms: 29_999,
            probe: false,
        }
    }

    /// The same over TCP.
    fn over_tcp(id: &str) -> LightEdge {
        LightEdge {
            protocol: Protocol::Tcp,
            from_port: 0,
            ..edge(id)
        }
    }

    fn responder(port: u16) -> LightResponder {
        LightResponder {
            place: place(),
            port,
            protocol: Protocol::Udp,
        }
    }

    fn watch() -> LightWatch {
        LightWatch {
            edge: "host/n2>n1".to_owned(),
            path: PathKind::HostToHost,
            responder: responder(LIGHT_PORT),
            from: "198.18.0.2:9478".parse().unwrap(),
            from_node: None,
        }
    }

    fn plan() -> LightPlan {
        let mut other = edge("host/n1>n3");
        let tcp = LightResponder {
            protocol: Protocol::Tcp,
            ..responder(LIGHT_PORT)
        };
        other.to = "198.18.0.3".parse().unwrap();
        LightPlan {
            version: "sha-1.2_3".to_owned(),
            edges: vec![edge("host/n1>n2"), other, over_tcp("host/n1>n2/tcp")],
            responders: vec![responder(LIGHT_PORT), tcp],
            watches: vec![watch()],
            ..LightPlan::default()
        }
    }

    #[test]
    fn a_plan_within_bounds_is_taken_and_travels() {
        assert_eq!(LightPlan::default().check(), Ok(()));
        assert_eq!(plan().check(), Ok(()));
        let text = serde_json::to_string(&plan()).unwrap();
        assert_eq!(serde_json::from_str::<LightPlan>(&text).unwrap(), plan());
    }

    #[test]
    fn whatever_is_out_of_bounds_is_refused() {
        let many: Vec<_> = (0..65).map(|n| edge(&n.to_string())).collect();
        let spoil: [&dyn Fn(&mut LightPlan); 31] = [
            &|plan| plan.period_ms = 999,
            &|plan| plan.period_ms = 3_600_001,
            &|plan| plan.requests = 0,
            &|plan| plan.payload_bytes = 23,
            &|plan| plan.payload_bytes = 65_508,
            &|plan| plan.requests_per_second = 0,
            &|plan| plan.requests_per_second = 1_001,
            &|plan| plan.timeout_ms = 0,
            &|plan| plan.idle_seconds = 0,
            &|plan| plan.idle_seconds = 601,
            &|plan| plan.version.clear(),
            &|plan| plan.version = "a b".to_owned(),
            &|plan| plan.edges.clone_from(&many),
            &|plan| plan.edges[1].id = "host/n1>n2".to_owned(),
            &|plan| plan.edges[1].to = plan.edges[0].to,
            &|plan| plan.edges[0].id = "a b".to_owned(),
            &|plan| plan.edges[0].from_port = 0,
            &|plan| plan.edges[0].to = "::1".parse().unwrap(),
            &|plan| plan.edges[0].offset_ms = plan.period_ms,
            &|plan| plan.responders.push(responder(LIGHT_PORT)),
            &|plan| plan.responders.push(responder(LIGHT_CLIENT_PORT)),
            &|plan| plan.watches.push(watch()),
            &|plan| plan.watches[0].edge.clear(),
            &|plan| plan.watches[0].responder.port = 1,
            &|plan| plan.watches[0].from.set_port(0),
            &|plan| plan.watches[0].from = "[::1]:9478".parse().unwrap(),
            &|plan| plan.watches[0].responder.protocol = Protocol::Tcp,
            &|plan| plan.edges[2].from_port = LIGHT_CLIENT_PORT,
            &|plan| plan.edges[2].to_port = 0,
            &|plan| plan.edges[2].probe = true,
            &|plan| plan.responders[0].protocol = Protocol::Tcp,
        ];
        for (number, spoil) in spoil.into_iter().enumerate() {
            let mut plan = plan();
            spoil(&mut plan);
            assert!(plan.check().is_err(), "{number}");
        }
    }

    #[test]
    fn what_names_no_protocol_is_udp() {
        let mut told = serde_json::to_value(edge("e")).unwrap();
        told.as_object_mut().unwrap().remove("protocol");
        let read: LightEdge = serde_json::from_value(told).unwrap();
        assert_eq!(read, edge("e"));
    }

    #[test]
    fn a_round_ends_before_the_next_one() {
        let mut plan = LightPlan {
            period_ms: 1_500,
            ..LightPlan::default()
        };
        assert_eq!(plan.check(), Ok(()));
        plan.requests = 51;
        assert_eq!(
            plan.check().unwrap_err().to_string(),
            "a light round takes up to 1510 ms, which is more than the period of 1500 ms; ask for fewer requests or a longer period"
        );
    }
}

//! The beginning of a run: its namespaces and sockets.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use nettoll_core::{
    api::{Flow, Place, Prepared, Role, RunSpec},
    endpoint::Endpoint,
    report::TestType,
    url::UrlError,
};

use super::{
    MAX_RUNS, RunError, Runs,
    instruments::lock,
    run::{Phase, Run, Traffic},
};
use crate::{
    netns::{self, Netns},
    traffic::{Client, Plan, Resolver, Server, Stop, Target, TrafficError},
};

impl Runs {
    /// Opens the run's sockets: the server listens, the client is bound.
    pub(crate) fn prepare(&self, spec: RunSpec) -> Result<Prepared, RunError> {
        let plan = Plan::new(&spec)?;
        if spec.sample && spec.options.sample_hz == 0 {
            return Err(RunError::SampleRate);
        }
        self.room_for(&spec.id)?;
        let stop = Stop::default();
        let traffic = self.open_sockets(&spec, plan, &stop)?;
        let prepared = Prepared {
            flow: traffic.flow.map(|flow| flow.at_client),
        };
        let run = Arc::new(Run::new(spec, stop, traffic));
        let mut runs = lock(&self.runs);
        if runs.contains_key(&run.spec.id) {
            return Err(RunError::Exists(run.spec.id.clone()));
        }
        runs.insert(run.spec.id.clone(), run);
        self.prepared.fetch_add(1, Relaxed);
        Ok(prepared)
    }

    fn room_for(&self, id: &str) -> Result<(), RunError> {
        let runs = lock(&self.runs);
        if runs.contains_key(id) {
            return Err(RunError::Exists(id.to_owned()));
        }
        if runs.len() >= MAX_RUNS {
            return Err(RunError::TooMany);
        }
        Ok(())
    }

    fn open_sockets(&self, spec: &RunSpec, plan: Plan, stop: &Stop) -> Result<Traffic, RunError> {
        let netns = |place| self.namespace(place, spec.role);
        let mut traffic = Traffic {
            phase: Phase::Prepared,
            client: None,
            server: None,
            flow: None,
        };
        if spec.test == TestType::PathCost {
            let (from, to) = (netns(&spec.client)?, netns(&spec.server)?);
            traffic.client = Some(Client::open_both(&from, &to, &plan, stop)?);
        } else if let Endpoint::Url(url) = &spec.path.to {
            let from = netns(&spec.client)?;
            let target = target(url, &from).map_err(|why| TrafficError::Http(url.clone(), why))?;
            traffic.client = Some(Client::to_url(&from, &plan, target, stop));
        } else {
            let mut plan = plan;
            if spec.role != Role::Client {
                let server = Server::listen(&netns(&spec.server)?, &plan, stop)?;
                plan = plan.with_server(server.address());
                traffic.server = Some(server);
            }
            if spec.role != Role::Server {
                traffic.client = Some(Client::open(&netns(&spec.client)?, &plan, stop)?);
            }
        }
        traffic.flow = traffic
            .client
            .as_ref()
            .and_then(Client::flow)
            .map(Flow::from);
        if let (Some(server), Some(flow)) = (&mut traffic.server, &mut traffic.flow) {
            flow.at_server = server.serve(&flow.at_client)?;
        }
        Ok(traffic)
    }

    /// The namespace of a place, if it is still the one that was resolved.
    fn namespace(&self, place: &Place, role: Role) -> Result<Netns, RunError> {
        let endpoint = || place.endpoint.clone();
        let opened = match (&place.endpoint, &place.pod_uid) {
            (Endpoint::Node(node), _) if *node == self.node => Netns::own(),
            (Endpoint::Pod { .. }, Some(uid)) => Netns::of_pod(uid),
            (known, _) => match self.places.get(known) {
                Some(name) => netns::open(name),
                // The other node's endpoint, on the same kernel.
                None if role == Role::Both => Netns::by_inode(place.netns),
                None => return Err(RunError::Elsewhere(endpoint(), self.node.clone())),
            },
        };
        let netns = opened.map_err(|source| RunError::Place {
            endpoint: endpoint(),
            source,
        })?;
        if netns.inode() != place.netns {
            let (found, asked) = (netns.inode(), place.netns);
            return Err(RunError::Changed {
                endpoint: endpoint(),
                found,
                asked,
            });
        }
        Ok(netns)
    }
}

/// A URL as a program in that namespace would reach it.
fn target(url: &str, from: &Netns) -> Result<Target, String> {
    let url = url.parse().map_err(|error: UrlError| error.to_string())?;
    let resolver = Resolver::of_root(&from.root()).map_err(|error| error.to_string())?;
    Target::new(url, resolver)
}

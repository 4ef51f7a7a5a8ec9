//! The state machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
    sync::Arc,
};

use super::{Event, Member, MemberPod, NodeFacts, PodFacts, Role};
use crate::api::{AGENT_PORT, Inventory, InventoryNode, InventoryPod, InventoryService};

/// All that the watches told so far. In trees: a hash table moves all its entries now and then.
#[derive(Clone, Debug)]
pub struct Cluster {
    network: String,
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<String, PodFacts>,
    /// Pods by namespace and name. A name's next pod may come before its last one is gone.
    named: BTreeMap<(String, String), BTreeSet<String>>,
    namespaces: BTreeMap<String, bool>,
    generation: u64,
}

/// A node and nettoll's own pods on it, by role and UID.
#[derive(Clone, Debug, Default)]
struct Node {
    facts: Option<NodeFacts>,
    own: BTreeSet<(Role, String)>,
    /// Its agent was ready.
    joined: bool,
    /// What it is to the mesh, by all this.
    member: Option<Arc<Member>>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.facts.is_none() && self.own.is_empty()
    }
}

impl Cluster {
    /// An empty cluster with one pod network, by the name that its paths shall carry.
    #[must_use]
    pub fn new(network: impl Into<String>) -> Self {
        Self {
            network: network.into(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            named: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            generation: 0,
        }
    }

    /// Takes in what a watch told.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Node(facts) => {
                let name = facts.name.clone();
                self.changing(slice::from_ref(&name), |cluster| {
                    cluster.nodes.entry(name.clone()).or_default().facts = Some(facts);
                    cluster.joins(&name);
                });
            }
            Event::NodeGone(name) => self.changing(slice::from_ref(&name), |cluster| {
                if let Some(node) = cluster.nodes.get_mut(&name) {
                    (node.facts, node.joined) = (None, false);
                }
            }),
            Event::Pod(facts) => {
                let before = self.pods.get(&facts.uid).and_then(|pod| pod.node.clone());
                let nodes: Vec<_> = before.into_iter().chain(facts.node.clone()).collect();
                self.changing(&nodes, |cluster| {
                    cluster.remove_pod(&facts.uid);
                    cluster.add_pod(facts);
                });
            }
            Event::PodGone { uid } => {
                let node = self.pods.get(&uid).and_then(|pod| pod.node.clone());
                let nodes: Vec<_> = node.into_iter().collect();
                self.changing(&nodes, |cluster| cluster.remove_pod(&uid));
            }
            Event::Namespace { name, allow } => {
                self.namespaces.insert(name, allow);
            }
            Event::NamespaceGone(name) => {
                self.namespaces.remove(&name);
            }
        }
    }

    /// Takes a node whose agent stays away out of the mesh, until an agent is ready there again.
    pub fn retire(&mut self, name: &str) {
        self.changing(&[name.to_owned()], |cluster| {
            if let Some(node) = cluster.nodes.get_mut(name) {
                node.joined = false;
            }
        });
    }

    /// Grows with every change of [`Self::members`]: a plan of another generation is outdated.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The nodes with a ready agent, each with its endpoint pods.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        self.with(&[], &[])
    }

    /// The same with services and further pods, each on its node. Those without node or address, and those on a
    /// node without a ready agent, are left out.
    #[must_use]
    pub fn with(&self, pods: &[&PodFacts], services: &[InventoryService]) -> Inventory {
        let inventoried = |(name, node): (&String, &Node)| {
            let address = node.facts.as_ref()?.address?;
            let agent = self.own(node, Role::Agent).filter(|pod| pod.ready)?;
            let own = [Role::EndpointA, Role::EndpointB]
                .into_iter()
                .filter_map(|role| self.own(node, role).filter(|pod| pod.ready));
            let further = pods.iter().copied().filter(|pod| {
                pod.node.as_ref() == Some(name) && !node.own.contains(&(pod.role, pod.uid.clone()))
            });
            Some(InventoryNode {
                name: name.clone(),
                address,
                agent: (agent.address.unwrap_or(address), AGENT_PORT).into(),
                pods: own
                    .chain(further)
                    .filter_map(|pod| self.inventoried_pod(pod))
                    .collect(),
            })
        };
        Inventory {
            networks: vec![self.network.clone()],
            nodes: self.nodes.iter().filter_map(inventoried).collect(),
            services: services.to_vec(),
        }
    }

    /// The nodes of the mesh, by name.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        let nodes = self.nodes.values();
        nodes.filter_map(|node| node.member.as_ref())
    }

    /// The name of the pod network.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// A node by its name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeFacts> {
        self.nodes.get(name)?.facts.as_ref()
    }

    /// A node can be measured from: its agent is ready.
    #[must_use]
    pub fn has_agent(&self, node: &str) -> bool {
        let node = self.nodes.get(node);
        let agent = node.and_then(|node| self.own(node, Role::Agent));
        agent.is_some_and(|agent| agent.ready)
    }

    /// A pod by its UID.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<&PodFacts> {
        self.pods.get(uid)
    }

    /// A pod by its name. Of several (the next one comes before the last one is gone) one that is
    /// not gone.
    #[must_use]
    pub fn pod_named(&self, namespace: &str, name: &str) -> Option<&PodFacts> {
        let key = (namespace.to_owned(), name.to_owned());
        let pods = self.named.get(&key)?.iter();
        pods.filter_map(|uid| self.pods.get(uid))
            .min_by_key(|pod| pod.gone)
    }

    /// Tests from and to the pods of a namespace are allowed. Not so where nobody told of it.
    #[must_use]
    pub fn allows(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).copied().unwrap_or(false)
    }

    /// Makes a change that concerns these nodes alone, and sees what it changes of the mesh. Nodes
    /// of which nothing is known any more are forgotten.
    fn changing(&mut self, nodes: &[String], change: impl FnOnce(&mut Self)) {
        change(self);
        for name in nodes {
            let node = self.nodes.get(name);
            let member = node.and_then(|node| self.member(node)).map(Arc::new);
            let Some(node) = self.nodes.get_mut(name) else {
                continue;
            };
            if node.member != member {
                node.member = member;
                self.generation += 1;
            }
            if node.is_empty() {
                self.nodes.remove(name);
            }
        }
    }

    fn add_pod(&mut self, facts: PodFacts) {
        let key = (facts.namespace.clone(), facts.name.clone());
        self.named.entry(key).or_default().insert(facts.uid.clone());
        let own = facts.node.clone().filter(|_| facts.role != Role::Other);
        if let Some(name) = own {
            let node = self.nodes.entry(name.clone()).or_default();
            node.own.insert((facts.role, facts.uid.clone()));
            self.pods.insert(facts.uid.clone(), facts);
            self.joins(&name);
        } else {
            self.pods.insert(facts.uid.clone(), facts);
        }
    }

    fn remove_pod(&mut self, uid: &str) {
        let Some(pod) = self.pods.remove(uid) else {
            return;
        };
        let node = pod.node.as_ref().and_then(|name| self.nodes.get_mut(name));
        if let Some(node) = node {
            node.own.remove(&(pod.role, pod.uid));
        }
        let key = (pod.namespace, pod.name);
        if let Some(uids) = self.named.get_mut(&key) {
            uids.remove(uid);
            if uids.is_empty() {
                self.named.remove(&key);
            }
        }
    }

    fn joins(&mut self, name: &str) {
        if self.has_agent(name)
            && let Some(node) = self.nodes.get_mut(name)
        {
            node.joined |= node.facts.is_some();
        }
    }

    /// A node's own pod in a role: not gone, with an address, a ready one before others.
    fn own(&self, node: &Node, role: Role) -> Option<&PodFacts> {
        let pods = node.own.iter().filter(|own| own.0 == role);
        pods.filter_map(|(_, uid)| self.pods.get(uid))
            .filter(|pod| !pod.gone && pod.address.is_some())
            .min_by_key(|pod| !pod.ready)
    }

    fn member(&self, node: &Node) -> Option<Member> {
        let facts = node.facts.as_ref()?;
        if !node.joined {
            return None;
        }
        let agent = self.own(node, Role::Agent);
        let pod = self.own(node, Role::EndpointA).and_then(|pod| {
            Some(MemberPod {
                endpoint: pod.endpoint(),
                uid: pod.uid.clone(),
                address: pod.address?,
            })
        });
        Some(Member {
            name: facts.name.clone(),
            zone: facts.zone.clone().unwrap_or_default(),
            labels: Arc::clone(&facts.labels),
            address: facts.address?,
            agent: agent.and_then(|pod| Some((pod.address?, AGENT_PORT).into())),
            agent_uid: agent.map(|pod| pod.uid.clone()),
            pod,
        })
    }

    fn inventoried_pod(&self, pod: &PodFacts) -> Option<InventoryPod> {
        Some(InventoryPod {
            name: format!("{}/{}", pod.namespace, pod.name),
            uid: Some(pod.uid.clone()),
            addresses: [(self.network.clone(), pod.address?)].into(),
        })
    }
}

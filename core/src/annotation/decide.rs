//! May a request run?

use super::{ALLOW_LABEL, Refusal, Request, quoted};
use crate::{
    api::{Backend, InventoryService},
    endpoint::Endpoint,
    inventory::{Cluster, PodFacts},
    plan::{Client, PlanError, served},
};

/// What tests on demand may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Nodes that may be tested to, by name; `*` for all.
    pub allow_nodes: Vec<String>,
    /// URLs that may be tested to, as they are written after `url/`.
    pub allow_urls: Vec<String>,
    /// Most seconds of one test.
    pub max_seconds: u32,
    /// Most tests of a source's namespace in an hour.
    pub tests_per_hour: u32,
    /// Most measured seconds of a source's namespace in an hour.
    pub seconds_per_hour: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow_nodes: Vec::new(),
            allow_urls: Vec::new(),
            max_seconds: 60,
            tests_per_hour: 60,
            seconds_per_hour: 600,
        }
    }
}

impl Policy {
    fn allows_node(&self, name: &str) -> Result<(), Refusal> {
        let mut allow = self.allow_nodes.iter();
        if allow.any(|allowed| allowed == "*" || allowed == name) {
            return Ok(());
        }
        Err(Refusal(format!(
            "node/{name} is not in on_demand.allow_nodes of the controller's configuration; ask who \
             runs nettoll to add it"
        )))
    }

    /// Whether a namespace that used so much may have this request besides.
    pub fn limit(&self, namespace: &str, request: &Request, usage: Usage) -> Result<(), Refusal> {
        let Usage { tests, seconds } = Usage::of(request);
        if usage.tests.saturating_add(tests) > self.tests_per_hour {
            return Err(Refusal(format!(
                "namespace {} asked for {} tests in the last hour, {} are the most; try again later",
                namespace,
                usage.tests.saturating_add(tests),
                self.tests_per_hour
            )));
        }
        if usage.seconds.saturating_add(seconds) > self.seconds_per_hour {
            return Err(Refusal(format!(
                "namespace {} asked for {} seconds of tests in the last hour, {} are the most; try \
                 again later or with fewer seconds",
                namespace,
                usage.seconds.saturating_add(seconds),
                self.seconds_per_hour
            )));
        }
        Ok(())
    }
}

/// What a namespace used of its limits in the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tests.
    pub tests: u32,
    /// Measured seconds.
    pub seconds: u32,
}

impl Usage {
    /// What a request takes.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let tests = u32::try_from(request.tests.len()).unwrap_or(u32::MAX);
        let seconds = tests.saturating_mul(request.seconds);
        Self { tests, seconds }
    }
}

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Not yet, and why; it may be otherwise soon.
    Wait(String),
    /// Never as it is.
    Refuse(Refusal),
    /// Now.
    Run,
}

/// Decides on a request of the pod `source`, whose namespace has used so much of its limits.
///
/// What nobody allowed is refused before anything is said about what is there, so that nobody
/// learns of pods in a namespace that did not opt in.
#[must_use]
pub fn decide(
    request: &Request,
    source: &PodFacts,
    cluster: &Cluster,
    policy: &Policy,
    usage: Usage,
) -> Decision {
    match allowed(request, source, cluster, policy, usage) {
        Err(refusal) => Decision::Refuse(refusal),
        Ok(()) => match possible(request, source, cluster) {
            Err(refusal) => Decision::Refuse(refusal),
            Ok(Some(reason)) => Decision::Wait(reason),
            Ok(None) => Decision::Run,
        },
    }
}

fn allowed(
    request: &Request,
    source: &PodFacts,
    cluster: &Cluster,
    policy: &Policy,
    usage: Usage,
) -> Result<(), Refusal> {
    opted_in(&source.namespace, cluster)?;
    match &request.to {
        to @ (Endpoint::Pod { .. } | Endpoint::Service { .. } | Endpoint::NodePort { .. }) => {
            opted_in(to.namespace().unwrap_or_default(), cluster)?;
            // A node's port is asked for at the node's own address.
            if let Endpoint::NodePort { node, .. } = to {
                policy.allows_node(node)?;
            }
        }
        Endpoint::Node(name) => policy.allows_node(name)?,
        Endpoint::Url(url) => {
            if !policy.allow_urls.contains(url) {
                return Err(Refusal(format!(
                    "{} is not in on_demand.allow_urls of the controller's configuration; ask \
                     who runs nettoll to add it",
                    quoted(url)
                )));
            }
        }
        Endpoint::Netns(_) => {}
    }
    policy.limit(&source.namespace, request, usage)
}

fn opted_in(namespace: &str, cluster: &Cluster) -> Result<(), Refusal> {
    if cluster.allows(namespace) {
        return Ok(());
    }
    Err(Refusal(format!(
        "namespace {namespace} does not allow tests; whoever owns it can: kubectl label \
         namespace {namespace} {ALLOW_LABEL}=true"
    )))
}

/// `Some` says what is waited for.
fn possible(
    request: &Request,
    source: &PodFacts,
    cluster: &Cluster,
) -> Result<Option<String>, Refusal> {
    if let Some(reason) = measurable(source, cluster)? {
        return Ok(Some(reason));
    }
    match &request.to {
        Endpoint::Pod { namespace, name } => match cluster.pod_named(namespace, name) {
            Some(target) => measurable(target, cluster),
            None => Ok(Some(format!("there is no {}", request.to))),
        },
        Endpoint::Node(name) => {
            if source.node.as_ref() == Some(name) {
                return Err(Refusal(format!(
                    "{} runs on node/{name}, and no kind of path lies between a pod and its own \
                     node; name another node or a pod",
                    source.endpoint()
                )));
            }
            let missing = || format!("there is no ready agent on node/{name}");
            Ok((!cluster.has_agent(name)).then(missing))
        }
        // What answers for a service is seen by `backend`.
        Endpoint::Service { .. } | Endpoint::NodePort { .. } => Ok(None),
        Endpoint::Url(_) => Ok(None),
        Endpoint::Netns(_) => Err(Refusal(format!(
            "{} cannot be tested; name a pod (pod/NAMESPACE/NAME) or a node (node/NAME)",
            quoted(&request.to.to_string())
        ))),
    }
}

/// Chooses the backend of the service that a request of `source` names, once [`decide`] has allowed
/// that; the service is as the API server tells it, `None` where there is none.
///
/// # Errors
/// What is to be done instead: wait or refuse.
pub fn backend(
    request: &Request,
    source: &PodFacts,
    service: Option<&InventoryService>,
    cluster: &Cluster,
) -> Result<Endpoint, Decision> {
    let to = &request.to;
    let service = service.ok_or_else(|| Decision::Wait(format!("there is no {to}")))?;
    let client = Client {
        endpoint: &source.endpoint(),
        node: source.node.as_deref().unwrap_or_default(),
    };
    let can = |backend: &Backend| cluster.has_agent(&backend.node);
    let mut chosen = None;
    for test in &request.tests {
        let served = served(service, to, test.protocol(), client, can);
        let served = served.map_err(|error| match error {
            PlanError::NoBackend(_) => Decision::Wait(error.to_string()),
            error => Decision::Refuse(Refusal(error.to_string())),
        })?;
        chosen.get_or_insert(served.backend);
    }
    let none = || Decision::Wait(format!("{to} has no backend"));
    chosen.and_then(Backend::endpoint).ok_or_else(none)
}

/// Whether a test's sockets can live in a pod now; `Some` says what is waited for.
///
/// # Errors
/// Where they never can.
pub fn measurable(pod: &PodFacts, cluster: &Cluster) -> Result<Option<String>, Refusal> {
    let endpoint = pod.endpoint();
    if pod.host_network {
        return Err(Refusal(format!(
            "{endpoint} is on its node's network; name the node as a target, or a pod with a \
             network of its own"
        )));
    }
    let (false, true, Some(node), Some(_)) = (pod.gone, pod.ready, &pod.node, pod.address) else {
        return Ok(Some(format!("{endpoint} is not running")));
    };
    let missing = || format!("there is no ready agent on node/{node}, where {endpoint} runs");
    Ok((!cluster.has_agent(node)).then(missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Protocol, ServicePort},
        inventory::{
            Event,
            tests::{cluster, pod},
        },
        report::TestType,
    };

    fn bed() -> Cluster {
        let mut cluster = cluster(3);
        for name in ["shop", "data"] {
            let (name, allow) = (name.to_owned(), true);
            cluster.apply(Event::Namespace { name, allow });
        }
        cluster.apply(Event::Pod(pod("shop", "web", "n1")));
        cluster.apply(Event::Pod(pod("data", "db", "n2")));
        cluster.apply(Event::Pod(pod("kube-system", "dns", "n2")));
        cluster
    }

    fn request(to: &str) -> Request {
        Request {
            to: to.parse().unwrap(),
            tests: vec![TestType::TcpRr, TestType::TcpStream],
            seconds: 3,
            run: None,
        }
    }

    fn decided(to: &str, cluster: &Cluster) -> Decision {
        let source = pod("shop", "web", "n1");
        let policy = Policy {
            allow_nodes: vec!["n2".to_owned(), "n1".to_owned()],
            allow_urls: vec!["https://shop.example/health".to_owned()],
            ..Policy::default()
        };
        decide(&request(to), &source, cluster, &policy, Usage::default())
    }

    #[track_caller]
    fn refused(decision: Decision, expected: &str) {
        let Decision::Refuse(refusal) = decision else {
            panic!("{decision:?}");
        };
        assert!(refusal.to_string().contains(expected), "{refusal}");
    }

    #[track_caller]
    fn waits(decision: Decision, expected: &str) {
        let Decision::Wait(reason) = decision else {
            panic!("{decision:?}");
        };
        assert!(reason.contains(expected), "{reason}");
    }

    #[test]
    fn two_pods_whose_namespaces_opted_in_may_be_tested() {
        let cluster = bed();
        assert_eq!(decided("pod/data/db", &cluster), Decision::Run);
        assert_eq!(decided("node/n2", &cluster), Decision::Run);
    }

    #[test]
    fn both_namespaces_must_opt_in() {
        let mut cluster = bed();
        for to in ["pod/kube-system/dns", "pod/kube-system/none"] {
            refused(
                decided(to, &cluster),
                "kubectl label namespace kube-system nettoll.dev/allow=true",
            );
        }
        refused(decided("service/kube-system/x", &cluster), "does not allow");
        let (name, allow) = ("shop".to_owned(), false);
        cluster.apply(Event::Namespace { name, allow });
        refused(decided("pod/data/db", &cluster), "namespace shop");
    }

    #[test]
    fn nodes_and_urls_come_from_lists() {
        let cluster = bed();
        refused(decided("node/n3", &cluster), "on_demand.allow_nodes");
        // By a service's port on a node as well.
        let port = |node| decided(&format!("service/shop/web@{node}"), &cluster);
        refused(port("n3"), "on_demand.allow_nodes");
        assert_eq!(port("n2"), Decision::Run);
        refused(decided("node/n1", &cluster), "its own node");
        refused(
            decided("url/https://shop.example/other", &cluster),
            "on_demand.allow_urls",
        );
        let health = decided("url/https://shop.example/health", &cluster);
        assert_eq!(health, Decision::Run);
        let any = Policy {
            allow_nodes: vec!["*".to_owned()],
            ..Policy::default()
        };
        let source = pod("shop", "web", "n1");
        let usage = Usage::default();
        let found = decide(&request("node/n3"), &source, &cluster, &any, usage);
        assert_eq!(found, Decision::Run);
    }

    #[test]
    fn a_service_is_tested_by_a_backend_with_an_agent() {
        let cluster = bed();
        assert_eq!(decided("service/data/db:80", &cluster), Decision::Run);
        let backend_on = |node: &str| Backend {
            pod: format!("data/db-{node}"),
            node: node.to_owned(),
            port: 9480,
        };
        let with = |backends| InventoryService {
            name: "data/db".to_owned(),
            address: Some([198, 19, 128, 9].into()),
            local: false,
            ports: vec![ServicePort {
                node_port: None,
                port: 80,
                protocol: Protocol::Tcp,
                backends,
            }],
        };
        let source = pod("shop", "web", "n1");
        let chosen = |to: &str, tests: &[TestType], service: Option<&InventoryService>| {
            let request = Request {
                tests: tests.to_vec(),
                ..request(to)
            };
            backend(&request, &source, service, &cluster).map(|to| to.to_string())
        };
        let (to, tcp) = ("service/data/db", [TestType::TcpRr, TestType::TcpStream]);
        let some = with(vec![
            backend_on("n9"),
            backend_on("n1"),
            backend_on("n3"),
            backend_on("n2"),
        ]);
        assert_eq!(chosen(to, &tcp, Some(&some)).unwrap(), "pod/data/db-n2");
        waits(chosen(to, &tcp, None).unwrap_err(), "no service/data/db");
        let far = with(vec![backend_on("n9")]);
        waits(
            chosen(to, &tcp, Some(&far)).unwrap_err(),
            "no ready backend",
        );
        refused(
            chosen(to, &[TestType::TcpRr, TestType::UdpRr], Some(&some)).unwrap_err(),
            "no such UDP port; it has 80/TCP",
        );
        refused(
            chosen("service/data/db:81", &tcp, Some(&some)).unwrap_err(),
            "no such TCP port",
        );
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for() {
        let mut cluster = bed();
        waits(decided("pod/data/none", &cluster), "no pod/data/none");
        let mut target = pod("data", "db", "n2");
        target.ready = false;
        cluster.apply(Event::Pod(target));
        waits(
            decided("pod/data/db", &cluster),
            "pod/data/db is not running",
        );
        cluster.apply(Event::Pod(pod("data", "db", "n9")));
        waits(
            decided("pod/data/db", &cluster),
            "no ready agent on node/n9",
        );
        let uid = "agent-2".to_owned();
        cluster.apply(Event::PodGone { uid });
        waits(decided("node/n2", &cluster), "no ready agent on node/n2");
        let mut source = pod("shop", "web", "n1");
        source.node = None;
        let found = decide(
            &request("pod/data/db"),
            &source,
            &cluster,
            &Policy::default(),
            Usage::default(),
        );
        waits(found, "pod/shop/web is not running");
    }

    #[test]
    fn pods_on_the_host_network_are_no_pods_paths() {
        let mut cluster = bed();
        let mut target = pod("data", "db", "n2");
        target.host_network = true;
        cluster.apply(Event::Pod(target));
        refused(decided("pod/data/db", &cluster), "on its node's network");
    }

    #[test]
    fn a_namespace_has_limits() {
        let cluster = bed();
        let source = pod("shop", "web", "n1");
        let policy = Policy {
            tests_per_hour: 10,
            seconds_per_hour: 30,
            ..Policy::default()
        };
        let with = |tests, seconds| {
            let usage = Usage { tests, seconds };
            decide(&request("pod/data/db"), &source, &cluster, &policy, usage)
        };
        assert_eq!(with(8, 24), Decision::Run);
        refused(with(9, 0), "11 tests in the last hour, 10");
        refused(with(0, 25), "31 seconds of tests in the last hour, 30");
        refused(with(u32::MAX, u32::MAX), "try again later");
    }
}

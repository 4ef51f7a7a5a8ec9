//! A service and the pods that answer for it, as the API server tells them at this moment.

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use nettoll_core::api::{Backend, InventoryService, Protocol, ServicePort};
use serde::Deserialize;

use super::client::{ApiError, ask};

const GROUP: &str = "discovery.k8s.io";
/// `v1` since Kubernetes 1.21. What is read of both is the same but for the node's name.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Where `v1beta1` names the node.
const HOSTNAME: &str = "kubernetes.io/hostname";
/// The HTTP status where the API server does not know a version.
const NOT_FOUND: u16 = 404;
/// Most slices that are read, of a hundred backends each.
const MAX_SLICES: u32 = 10;

/// Reads a service; `None` where there is none.
pub(crate) async fn read(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<InventoryService>, ApiError> {
    let api = Api::<Service>::namespaced(client.clone(), namespace);
    let what = format!("read service {namespace}/{name}");
    let Some(service) = ask(what, api.get_opt(name)).await? else {
        return Ok(None);
    };
    let slices = slices(client, namespace, name).await?;
    Ok(Some(facts(namespace, name, &service, &slices)))
}

/// What matters of an EndpointSlice.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Slice {
    ports: Option<Vec<SlicePort>>,
    endpoints: Option<Vec<SliceEndpoint>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SlicePort {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SliceEndpoint {
    conditions: Conditions,
    node_name: Option<String>,
    /// Of `v1beta1`.
    topology: Option<std::collections::BTreeMap<String, String>>,
    target_ref: Option<Target>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Target {
    kind: String,
    name: String,
}

async fn slices(client: &Client, namespace: &str, name: &str) -> Result<Vec<Slice>, ApiError> {
    let parameters = ListParams::default()
        .labels(&format!("{SERVICE_NAME}={name}"))
        .limit(MAX_SLICES);
    let mut last = None;
    for version in VERSIONS {
        let kind = GroupVersionKind::gvk(GROUP, version, "EndpointSlice");
        let resource = ApiResource::from_gvk_with_plural(&kind, "endpointslices");
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        let what = format!("list the backends of service {namespace}/{name}");
        match ask(what, api.list(&parameters)).await {
            Ok(list) => {
                let parsed = |slice: DynamicObject| serde_json::from_value(slice.data).ok();
                return Ok(list.items.into_iter().filter_map(parsed).collect());
            }
            Err(error) if error.code() == Some(NOT_FOUND) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    last.map_or_else(|| Ok(Vec::new()), Err)
}

fn facts(namespace: &str, name: &str, service: &Service, slices: &[Slice]) -> InventoryService {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let protocol = protocol(port.protocol.as_deref())?;
        Some(ServicePort {
            port: u16::try_from(port.port).ok()?,
            protocol,
            node_port: port.node_port.and_then(|port| u16::try_from(port).ok()),
            backends: backends(namespace, port.name.as_deref(), protocol, slices),
        })
    });
    InventoryService {
        name: format!("{namespace}/{name}"),
        // `None` in words for a headless one.
        address: spec.cluster_ip.and_then(|address| address.parse().ok()),
        local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        ports: ports.collect(),
    }
}

/// The ready pods of a service's port; slices name it as the service does.
fn backends(
    namespace: &str,
    port: Option<&str>,
    wanted: Protocol,
    slices: &[Slice],
) -> Vec<Backend> {
    let mut backends = Vec::new();
    for slice in slices {
        let mut ports = slice.ports.iter().flatten();
        let found = ports.find(|candidate| {
            candidate.name.as_deref().unwrap_or_default() == port.unwrap_or_default()
                && protocol(candidate.protocol.as_deref()) == Some(wanted)
        });
        let Some(port) = found.and_then(|found| found.port) else {
            continue;
        };
        let ready = slice.endpoints.iter().flatten();
        let ready = ready.filter(|endpoint| endpoint.conditions.ready.unwrap_or(true));
        backends.extend(ready.filter_map(|endpoint| {
            let target = endpoint.target_ref.as_ref()?;
            let topology = || endpoint.topology.as_ref()?.get(HOSTNAME);
            let node = endpoint.node_name.as_ref().or_else(topology)?;
            (target.kind == "Pod").then(|| Backend {
                pod: format!("{namespace}/{}", target.name),
                node: node.clone(),
                port,
            })
        }));
    }
    backends
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<T: serde::de::DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn ports_find_their_ready_backends_in_both_versions() {
        let service: Service = parsed(
            r#"{"spec": {"clusterIP": "198.19.128.9", "internalTrafficPolicy": "Local", "ports": [
                {"name": "web", "port": 80, "targetPort": "http", "nodePort": 30080},
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "x", "port": 1, "protocol": "SCTP"}]}}"#,
        );
        let v1: Slice = parsed(
            r#"{"addressType": "IPv4", "ports": [
                {"name": "dns", "port": 5353, "protocol": "UDP"},
                {"name": "web", "port": 8080, "protocol": "TCP"}],
              "endpoints": [
                {"addresses": ["198.18.1.2"], "nodeName": "n1", "conditions": {"ready": true},
                 "targetRef": {"kind": "Pod", "namespace": "shop", "name": "a"}},
                {"addresses": ["198.18.1.3"], "nodeName": "n1", "conditions": {"ready": false},
                 "targetRef": {"kind": "Pod", "namespace": "shop", "name": "b"}},
                {"addresses": ["198.18.9.9"], "conditions": {}}]}"#,
        );
        let v1beta1: Slice = parsed(
            r#"{"ports": [{"name": "web", "port": 8081}],
                "endpoints": [{"addresses": ["198.18.2.2"],
                  "topology": {"kubernetes.io/hostname": "n2"},
                  "targetRef": {"kind": "Pod", "name": "c"}}]}"#,
        );
        let found = facts("shop", "web", &service, &[v1, v1beta1]);
        assert_eq!(found.name, "shop/web");
        assert_eq!(found.address, Some([198, 19, 128, 9].into()));
        assert!(found.local);
        let told: Vec<String> = found
            .ports
            .iter()
            .flat_map(|port| {
                let shown = |backend: &Backend| {
                    let Backend {
                        pod,
                        node,
                        port: to,
                    } = backend;
                    let nodes = port.node_port.unwrap_or_default();
                    let port = format!("{}/{}/{nodes}", port.port, port.protocol);
                    format!("{port} {pod}:{to} on {node}")
                };
                port.backends.iter().map(shown).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(
            told,
            [
                "80/TCP/30080 shop/a:8080 on n1",
                "80/TCP/30080 shop/c:8081 on n2",
                "53/UDP/0 shop/a:5353 on n1"
            ]
        );
    }

    #[test]
    fn a_headless_service_has_no_address() {
        let service: Service = parsed(r#"{"spec": {"clusterIP": "None"}}"#);
        assert_eq!(facts("a", "b", &service, &[]).address, None);
    }
}

//! The rules of the lab's services on one node, in the chains of kube-proxy's nftables mode
//! (`pkg/proxy/nftables` of Kubernetes): a service's chain chooses one of its endpoints' chains, which
//! translates the destination; what does not come from a pod of this node, or goes back to the pod that
//! it comes from, is marked, and its source translated after routing.

use crate::plan::{Node, Plan, PodNetwork, Service};

/// The bit that marks what is to be masqueraded.
const MASQUERADE: u32 = 0x4000;

/// For `nft`: the node's whole table.
pub(crate) fn table(plan: &Plan, node: &Node) -> Vec<String> {
    let mut lines = vec!["table ip kube-proxy {".to_owned()];
    lines.extend(masquerading());
    let network = plan.service_network();
    let (mut services, mut node_ports, mut addresses) = (vec![], vec![], vec![]);
    for service in plan.services() {
        let (name, address, port) = (&service.name, service.address, Service::PORT);
        addresses.push(address.to_string());
        for protocol in Service::PROTOCOLS {
            let protocol = protocol.to_string().to_lowercase();
            let chain = format!("lab/{name}/{protocol}");
            lines.extend(endpoints(&service, network, &protocol));
            lines.extend(choice(&service, network, node, &protocol));
            services.push(format!(
                "{address} . {protocol} . {port} : goto service-{chain}"
            ));
            if let Some(port) = service.node_port {
                lines.extend(from_outside(&chain));
                node_ports.push(format!("{protocol} . {port} : goto external-{chain}"));
            }
        }
    }
    let address = node.address().to_string();
    lines.extend([
        set("set cluster-ips", "ipv4_addr", &addresses),
        set("set nodeport-ips", "ipv4_addr", &[address]),
        set(
            "map service-ips",
            "ipv4_addr . inet_proto . inet_service : verdict",
            &services,
        ),
        set(
            "map service-nodeports",
            "inet_proto . inet_service : verdict",
            &node_ports,
        ),
    ]);
    lines.extend(hooks());
    lines.push("}".to_owned());
    lines
}

fn chain(name: &str, rules: &[String]) -> Vec<String> {
    let mut lines = vec![format!("chain {name} {{")];
    lines.extend_from_slice(rules);
    lines.push("}".to_owned());
    lines
}

fn set(name: &str, of: &str, elements: &[String]) -> String {
    let elements = elements.join(", ");
    format!("{name} {{ type {of}; elements = {{ {elements} }}; }}")
}

fn masquerading() -> Vec<String> {
    let mark = chain(
        "mark-for-masquerade",
        &[format!("meta mark set meta mark or {MASQUERADE:#x}")],
    );
    let masquerade = chain(
        "masquerading",
        &[
            format!("meta mark and {MASQUERADE:#x} == 0 return"),
            format!("meta mark set meta mark xor {MASQUERADE:#x}"),
            "masquerade fully-random".to_owned(),
        ],
    );
    [mark, masquerade].concat()
}

/// The name of a backend's chain.
fn endpoint(service: &Service, protocol: &str, backend: &str) -> String {
    format!("endpoint-lab/{}/{protocol}__{backend}", service.name)
}

/// A chain for each backend.
fn endpoints(service: &Service, network: PodNetwork, protocol: &str) -> Vec<String> {
    let backends = service.backends.iter().flat_map(|pod| {
        let (address, port) = (pod.address(network), Service::TARGET_PORT);
        chain(
            &endpoint(service, protocol, &address.to_string()),
            &[
                format!("ip saddr {address} jump mark-for-masquerade"),
                format!("meta l4proto {protocol} dnat to {address}:{port}"),
            ],
        )
    });
    backends.collect()
}

/// The service's chain: one backend by chance.
fn choice(service: &Service, network: PodNetwork, node: &Node, protocol: &str) -> Vec<String> {
    let (address, port) = (service.address, Service::PORT);
    let own_pods = network.subnet(node.number);
    let backends = service.backends.iter().enumerate().map(|(number, pod)| {
        let backend = endpoint(service, protocol, &pod.address(network).to_string());
        format!("{number} : goto {backend}")
    });
    let backends: Vec<_> = backends.collect();
    chain(
        &format!("service-lab/{}/{protocol}", service.name),
        &[
            format!(
                "ip daddr {address} {protocol} dport {port} ip saddr != {own_pods} jump \
                 mark-for-masquerade"
            ),
            format!(
                "numgen random mod {} vmap {{ {} }}",
                backends.len(),
                backends.join(", ")
            ),
        ],
    )
}

/// The chain of a service for what comes to a node's port.
fn from_outside(service: &str) -> Vec<String> {
    chain(
        &format!("external-{service}"),
        &[
            "jump mark-for-masquerade".to_owned(),
            format!("goto service-{service}"),
        ],
    )
}

/// Where the kernel enters.
fn hooks() -> Vec<String> {
    let lines = "chain services {
ip daddr . meta l4proto . th dport vmap @service-ips
ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
}
chain cluster-ips-check {
ip daddr @cluster-ips reject
}
chain nat-prerouting {
type nat hook prerouting priority dstnat;
jump services
}
chain nat-output {
type nat hook output priority -100;
jump services
}
chain nat-postrouting {
type nat hook postrouting priority srcnat;
jump masquerading
}
chain filter-forward {
type filter hook forward priority -110;
ct state new jump cluster-ips-check
}
chain filter-output-post-dnat {
type filter hook output priority -90;
ct state new jump cluster-ips-check
}";
    lines.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Network, Underlay};

    #[test]
    fn a_service_reads_as_kube_proxy_writes_it() {
        let plan = Plan::new(2, Network::Vxlan, Underlay::Veth).unwrap();
        let table = table(&plan, &plan.nodes[0]).join("\n");
        for part in [
            "chain endpoint-lab/echo/tcp__198.18.2.2 {\n\
             ip saddr 198.18.2.2 jump mark-for-masquerade\n\
             meta l4proto tcp dnat to 198.18.2.2:9489\n}",
            "chain service-lab/echo/udp {\n\
             ip daddr 198.18.128.1 udp dport 80 ip saddr != 198.18.1.0/24 jump mark-for-masquerade\n\
             numgen random mod 2 vmap { 0 : goto endpoint-lab/echo/udp__198.18.1.2, \
             1 : goto endpoint-lab/echo/udp__198.18.2.2 }\n}",
            "chain external-lab/echo/tcp {\njump mark-for-masquerade\ngoto service-lab/echo/tcp\n}",
            "198.18.128.22 . udp . 80 : goto service-lab/n2-a/udp",
            "elements = { tcp . 30080 : goto external-lab/echo/tcp, udp . 30080",
            "set nodeport-ips { type ipv4_addr; elements = { 198.18.0.1 }; }",
        ] {
            assert!(table.contains(part), "no {part} in\n{table}");
        }
        assert_eq!(table.matches('{').count(), table.matches('}').count());
        let host_gw = Plan::new(2, Network::HostGw, Underlay::Veth).unwrap();
        let table = super::table(&host_gw, &host_gw.nodes[1]).join("\n");
        assert!(table.contains("dnat to 198.18.101.2:9489"), "{table}");
        assert!(table.contains("ip saddr != 198.18.102.0/24"), "{table}");
    }
}

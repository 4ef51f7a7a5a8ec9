//! How it was measured, and what the words mean.

use nettoll_core::report::Report;

use super::{Section, markup::text};

/// The rules of measuring that a reader must know to trust the figures.
pub(super) fn method(report: &Report) -> Section {
    let mut rounds: Vec<_> = report.runs.iter().map(|run| run.options.rounds).collect();
    rounds.sort_unstable();
    rounds.dedup();
    let rounds = match (rounds.first(), rounds.last()) {
        (Some(low), Some(high)) if low == high => format!("{low} pairs"),
        (Some(low), Some(high)) => format!("{low} to {high} pairs"),
        _ => "pairs".to_owned(),
    };
    let body = format!(
        "<ul>\n\
         <li>Real traffic ran between sockets inside the endpoints’ own network namespaces, over \
         their real devices, routes and policies.</li>\n\
         <li>A path and its baseline ran in {} of rounds, one after the other, in random order \
         within each pair. A toll is the mean ratio of the pairs, with Student’s 95 % interval.</li>\n\
         <li>An interval that contains no difference is called <em>not resolved</em>, and never \
         0 %.</li>\n\
         <li>The stages come from kernel tracepoints that were passed by the packets of the test \
         and by no others. They were added up inside the kernel, packet by packet.</li>\n\
         <li>What no hook explains is shown as <em>unattributed</em>. No stage is filled in by \
         subtraction unless it says <em>derived</em>.</li>\n\
         <li>Percentiles come from merged histograms, never from averages of percentiles.</li>\n\
         </ul>\n",
        text(&rounds)
    );
    Section::new("method", "How it was measured", body)
}

/// Words and their meanings, as the documents have them.
const WORDS: [(&str, &str); 30] = [
    (
        "baseline",
        "the path that another one is compared with: the bare network between the same nodes for paths between nodes, loopback for paths inside one",
    ),
    (
        "toll",
        "what a path costs beyond its baseline, with its 95 % interval",
    ),
    (
        "host-to-host",
        "from node to node, on the nodes’ own network",
    ),
    (
        "pod-to-pod",
        "from a pod to a pod on another node, over the pod network named in brackets",
    ),
    (
        "pod-to-pod-same-node",
        "from a pod to another pod on its node",
    ),
    (
        "loopback",
        "two sockets in one network namespace (path), or the device lo (stage)",
    ),
    ("tcp_stream", "bulk data from client to server"),
    ("tcp_reverse", "bulk data from server to client"),
    (
        "udp_stream",
        "datagrams from client to server: what arrives counts",
    ),
    (
        "tcp_rr, udp_rr",
        "one request outstanding: a round trip includes two wake-ups",
    ),
    (
        "path_cost",
        "one datagram at a time by one thread that owns both sockets: one way, no wake-up",
    ),
    (
        "closure",
        "the sum of the stages’ mean times over the measured mean time; 1 is perfect",
    ),
    (
        "socket_tx",
        "from the sender’s system call to the queue of the endpoint’s device",
    ),
    ("qdisc", "in the queueing discipline of a device"),
    ("veth", "through the virtual cable between two namespaces"),
    (
        "backlog",
        "from a virtual device’s receive to the softirq that takes it up",
    ),
    ("bridge", "through a bridge"),
    (
        "forward",
        "routing, netfilter and conntrack, from receive to the next device",
    ),
    (
        "encap",
        "from the tunnel device to the device below it: the packet gets its outer headers",
    ),
    (
        "wire",
        "from the sender’s underlay device to the receiver’s",
    ),
    (
        "decap",
        "from the device below the tunnel to the tunnel’s receive queue",
    ),
    (
        "gro_cells",
        "waiting in the tunnel’s receive queue for a second softirq",
    ),
    (
        "socket_rx",
        "from receive on the endpoint’s device to the data in the socket, and a receive call that finds them there; where it is mixed, all up to the return of the receive call",
    ),
    (
        "socket_backlog",
        "instead of socket_rx where a system call had the socket to itself: the packet waits for its end, and is worked on then",
    ),
    (
        "socket_queue",
        "data wait in the socket for the receive call",
    ),
    (
        "wakeup",
        "from the data in the socket to the return of a receive call that had waited for them",
    ),
    ("responder", "the server’s time between receive and send"),
    ("unattributed", "measured time that no stage explains"),
    (
        "component",
        "what a CPU sample was busy with, by the innermost known function",
    ),
    ("region", "what a CPU sample belongs to, by its whole stack"),
];

pub(super) fn glossary() -> Section {
    let words: String = WORDS
        .iter()
        .map(|(word, meaning)| {
            format!(
                "<div><dt>{}</dt><dd>{}</dd></div>\n",
                text(word),
                text(meaning)
            )
        })
        .collect();
    Section::new(
        "words",
        "Words",
        format!("<dl class=\"words\">\n{words}</dl>\n"),
    )
}

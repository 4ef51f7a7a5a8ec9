//! Hops, their order and their counts against bpftrace's, on the same packets at the same time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    hop::{Direction, Side},
    report::Run,
};
use nettoll_lab::{Network, Underlay, netns, plan};
use nettoll_tests::{
    bpftrace::Bpftrace,
    session::{OF_SOCKET, Session, first, requests, stage},
};

/// How many events are printed one by one, for their order.
const PRINTED: usize = 4_000;

/// The tracepoints, under the names that this file has for them.
const EVENTS: [(&str, &str); 5] = [
    ("queue", "net_dev_queue"),
    ("start_xmit", "net_dev_start_xmit"),
    ("netif_rx", "netif_rx"),
    ("gro", "napi_gro_receive_entry"),
    ("receive", "netif_receive_skb"),
];

/// The namespaces that the path crosses, by inode.
fn places() -> Result<BTreeMap<u64, &'static str>> {
    let inode = |place| {
        let inode = netns::inode(&plan::netns(place));
        Ok((
            inode.with_context(|| format!("no namespace of {place}"))?,
            place,
        ))
    };
    ["n1", "n2", "n1-a", "n2-a"]
        .into_iter()
        .map(inode)
        .collect()
}

/// Counts each event of each device, and prints the first ones of the path.
fn script(places: &BTreeMap<u64, &str>) -> String {
    let here = places.keys().map(|inode| format!("$netns == {inode}"));
    let here = here.collect::<Vec<_>>().join(" || ");
    // A number and no text: version 0.17 lays texts out where the verifier forbids it.
    let probe = |(event, (_, tracepoint)): (usize, (&str, &str))| {
        format!(
            "tracepoint:net:{tracepoint} {{
               $skb = (struct sk_buff *)args->skbaddr;
               $dev = $skb->dev;
               $netns = $dev->nd_net.net->ns.inum;
               @n[{event}, $netns, $dev->name] = count();
               if (({here}) && $dev->name != \"mgmt0\" && @printed < {PRINTED}) {{
                 @printed++;
                 printf(\"hop %llu %lx {event} %u %s\\n\", nsecs, args->skbaddr, $netns, $dev->name);
               }}
             }}\n"
        )
    };
    EVENTS.into_iter().enumerate().map(probe).collect()
}

/// A hop: event, place, device.
type Hop = (String, String, String);

/// What bpftrace saw.
struct Seen {
    counts: BTreeMap<Hop, u64>,
    /// Each packet's hops in their order, by the address of its `sk_buff`.
    packets: BTreeMap<String, Vec<Hop>>,
}

impl Seen {
    fn read(printed: &str, places: &BTreeMap<u64, &str>) -> Result<Self> {
        let hop = |event: &str, netns: &str, device: &str| {
            let (event, _) = EVENTS.get(event.parse::<usize>().ok()?)?;
            let place = places.get(&netns.parse().ok()?)?;
            Some([event, place, device].map(str::to_owned).into())
        };
        let mut counts = BTreeMap::new();
        let mut hops = Vec::new();
        for line in printed.lines() {
            let words: Vec<_> = line
                .split(|c: char| c.is_whitespace() || "[],:".contains(c))
                .filter(|word| !word.is_empty())
                .collect();
            match words[..] {
                ["@n", event, netns, device, count] => {
                    if let Some(hop) = hop(event, netns, device) {
                        counts.insert(hop, count.parse()?);
                    }
                }
                ["hop", ns, skb, event, netns, device] => {
                    if let Some(hop) = hop(event, netns, device) {
                        hops.push((ns.parse::<u64>()?, skb.to_owned(), hop));
                    }
                }
                _ => {}
            }
        }
        // Each CPU has a buffer of its own.
        hops.sort();
        let mut packets: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (_, skb, hop) in hops {
            packets.entry(skb).or_default().push(hop);
        }
        Ok(Self { counts, packets })
    }

    /// The way that most packets took from one pod's device to the other's.
    fn way(&self, from: &str, to: &str) -> Result<Vec<Hop>> {
        let hop =
            |event: &str, place: &str| (event.to_owned(), place.to_owned(), "eth0".to_owned());
        let (begin, end) = (hop("queue", from), hop("receive", to));
        let mut ways: BTreeMap<Vec<Hop>, u32> = BTreeMap::new();
        for hops in self.packets.values() {
            // An address is used again by later packets.
            for way in hops.split_inclusive(|hop| *hop == end) {
                let at = way.iter().rposition(|hop| *hop == begin);
                if let Some(at) = at
                    && way.last() == Some(&end)
                {
                    *ways.entry(way[at..].to_vec()).or_default() += 1;
                }
            }
        }
        let most = ways.iter().max_by_key(|(_, count)| **count);
        let (way, count) = most.context("bpftrace saw no packet go all the way")?;
        let all: u32 = ways.values().sum();
        println!(
            "{from} to {to}: {count} of {all} packets took one way of {} hops",
            way.len()
        );
        ensure!(count * 10 >= all * 9, "{ways:?}");
        Ok(way.clone())
    }
}

/// What lies between two hops on this bed, by this file's own table.
fn between(a: &Hop, b: &Hop) -> Result<(String, String)> {
    let name = match (&*a.0, &*a.2, &*b.0, &*b.2) {
        ("queue", x, "start_xmit", y) if x == y => ("qdisc", x),
        ("start_xmit", "eth0", "netif_rx", "eth0") if a.1 == "n1" || a.1 == "n2" => {
            ("wire", "eth0")
        }
        ("start_xmit", x, "netif_rx", _) => ("veth", x),
        ("netif_rx", x, "receive", y) if x == y => ("backlog", x),
        ("receive", _, "receive", "cni0") | ("start_xmit", "cni0", "queue", _) => {
            ("bridge", "cni0")
        }
        ("receive", _, "queue", x) => ("forward", x),
        ("start_xmit", "flannel.1", "queue", "eth0") => ("encap", "flannel.1"),
        ("receive", "eth0", "gro", "flannel.1") => ("decap", "flannel.1"),
        ("gro", x, "receive", y) if x == y => ("gro_cells", x),
        _ => anyhow::bail!("nothing known lies between {a:?} and {b:?}"),
    };
    Ok((name.0.to_owned(), name.1.to_owned()))
}

/// The inner stages of one direction in a report.
fn inner(run: &Run, direction: Direction) -> BTreeSet<(String, String)> {
    let outer = ["socket_tx", "socket_rx", "responder", "unattributed"];
    let outer = [&outer[..], &OF_SOCKET].concat();
    let stages = run.stages.iter().flatten();
    stages
        .filter(|stage| stage.direction == direction && !outer.contains(&&*stage.stage))
        .map(|stage| {
            (
                stage.stage.clone(),
                stage.device.clone().unwrap_or_default(),
            )
        })
        .collect()
}

#[test]
fn bpftrace_sees_the_same_hops() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let places = places()?;
    let bpftrace = Bpftrace::start(&script(&places))?;
    let ends = ["--from", "pod/lab/n1-a", "--to", "pod/lab/n2-a"];
    let how = ["--type", "udp_rr", "--seconds", "1", "--warmup-ms", "0"];
    let arguments = [&["test", "-o", "json"], &ends[..], &how, &["--probe", "on"]].concat();
    // Whether or not rounds were disturbed, each packet has its hops.
    let output = session.nettoll(&arguments)?;
    let printed = bpftrace.end()?;
    let report = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let run = first(&report)?;
    let seen = Seen::read(&printed, &places)?;

    for (sender, receiver, direction, from, to) in [
        (Side::Client, Side::Server, Direction::Request, "n1", "n2"),
        (Side::Server, Side::Client, Direction::Response, "n2", "n1"),
    ] {
        let way = seen.way(&format!("{from}-a"), &format!("{to}-a"))?;
        let steps = way.windows(2).map(|pair| between(&pair[0], &pair[1]));
        let theirs = steps.collect::<Result<BTreeSet<_>>>()?;
        let ours = inner(run, direction);
        ensure!(
            ours == theirs,
            "{direction:?}: only ours {:?}, only theirs {:?}",
            ours.difference(&theirs).collect::<Vec<_>>(),
            theirs.difference(&ours).collect::<Vec<_>>()
        );

        let (from_pod, to_pod) = (format!("{from}-a"), format!("{to}-a"));
        let (from_veth, to_veth) = (format!("veth{from_pod}"), format!("veth{to_pod}"));
        // The nodes' own devices carry the baseline too.
        let mut first_hop = None;
        let requests = requests(run);
        for (event, place, device, side, name, of) in [
            ("queue", &*from_pod, "eth0", sender, "socket_tx", "eth0"),
            ("start_xmit", &from_pod, "eth0", sender, "veth", "eth0"),
            ("netif_rx", from, &from_veth, sender, "backlog", &*from_veth),
            ("receive", from, "cni0", sender, "bridge", "cni0"),
            ("queue", from, "flannel.1", sender, "forward", "flannel.1"),
            (
                "start_xmit",
                from,
                "flannel.1",
                sender,
                "encap",
                "flannel.1",
            ),
            ("gro", to, "flannel.1", receiver, "gro_cells", "flannel.1"),
            ("queue", to, "cni0", receiver, "forward", "cni0"),
            ("start_xmit", to, "cni0", receiver, "bridge", "cni0"),
            ("start_xmit", to, &to_veth, receiver, "veth", &*to_veth),
            ("receive", &to_pod, "eth0", receiver, "socket_rx", "eth0"),
        ] {
            let hop = (event.to_owned(), place.to_owned(), device.to_owned());
            let theirs = *seen
                .counts
                .get(&hop)
                .with_context(|| format!("no {hop:?}"))?;
            let ours = stage(run, side, direction, name, Some(of))
                .and_then(|stage| stage.packets)
                .with_context(|| format!("no {side:?} {direction:?} {name} {of}"))?;
            println!("{direction:?} {event} {place} {device}: {ours}, by bpftrace {theirs}");
            ensure!(
                ours.abs_diff(requests) <= requests / 100,
                "{hop:?}: {ours} of {requests} requests"
            );
            // Theirs has the rounds of calibration too, of which no figure is kept: what must be
            // equal is how many times as many packets as the first hop had.
            let (first_theirs, first_ours) = *first_hop.get_or_insert((theirs, ours));
            let times = theirs as f64 / first_theirs as f64 / (ours as f64 / first_ours as f64);
            ensure!(
                ours <= theirs && (0.99..=1.01).contains(&times),
                "{hop:?}: {ours} against {theirs}, {times} times as many"
            );
        }
    }
    Ok(())
}

//! Runs in which hooks were missing.

use super::*;
use crate::{
    kernel::{Reason, Tracepoint},
    report::MissingHook,
};

/// As the probe's programs see the same packets without these hooks: the time between the hop before
/// and the one after is one edge.
fn without(edges: &[Edge], missing: &[Event]) -> Vec<Edge> {
    let mut seen: Vec<Edge> = Vec::new();
    let mut begun: Option<Edge> = None;
    for edge in edges {
        let mut edge = edge.clone();
        if let Some(before) = begun.take() {
            edge.from = before.from;
            edge.sum_ns += before.sum_ns;
        }
        match missing.contains(&edge.to.event) {
            true => begun = Some(edge),
            false => seen.push(edge),
        }
    }
    seen
}

fn missing(hook: &str) -> MissingHook {
    MissingHook {
        hook: hook.to_owned(),
        node: "n1".to_owned(),
        reason: Reason::LoadRefused,
        detail: String::new(),
        stages: Vec::new(),
    }
}

/// A request over vxlan, seen without these hooks.
fn request_without(hooks: &[&str]) -> Waterfall {
    let events: Vec<Event> = (hooks.iter())
        .filter_map(|hook| Tracepoint::named(hook)?.event)
        .collect();
    let edges = without(&over_vxlan(Direction::Request, 11, 21), &events);
    let mut side = run_side(edges);
    side.user_times = vec![user(
        UserStage::SocketRx,
        Side::Server,
        Direction::Request,
        100,
    )];
    side.missing = hooks.iter().map(|hook| missing(hook)).collect();
    derive(&[&side], &devices(), 21, Some(2_000.0))
}

/// The absent stages of one hook, in words.
fn absent(found: &Waterfall, hook: &str) -> String {
    let stages = found.absent.get(hook).into_iter().flatten().copied();
    stages.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_missing_hook_costs_its_own_stages_and_no_others() {
    let whole = request_without(&[]);
    assert_eq!((whole.closure, whole.absent.len()), (Some(1.0), 0));
    for (hook, gone) in [
        ("net_dev_queue", "bridge encap forward qdisc socket_tx"),
        ("net_dev_start_xmit", "bridge encap qdisc veth wire"),
        ("netif_rx", "backlog veth wire"),
        ("napi_gro_receive_entry", "decap gro_cells"),
        (
            "netif_receive_skb",
            "backlog decap forward gro_cells socket_rx",
        ),
    ] {
        let found = request_without(&[hook]);
        assert_eq!(absent(&found, hook), gone, "{hook}");
        assert_eq!(found.absent.len(), 1, "{hook}: {:?}", found.absent);
        assert_eq!(found.closure, None, "{hook}");
        let (known, other): (Vec<_>, Vec<_>) =
            (found.stages.iter()).partition(|stage| stage.class.is_some());
        // What is still told is what it was with the hook.
        for stage in known {
            let same = |it: &&Stage| {
                (it.side, &it.stage, &it.device) == (stage.side, &stage.stage, &stage.device)
            };
            assert_eq!(whole.stages.iter().find(same), Some(stage), "{hook}");
        }
        // And what lies over the gap is told under its hops' names, and is not nothing.
        for stage in other {
            let rest = stage.stage == "unattributed";
            assert!(
                rest || stage.stage.contains("->"),
                "{hook}: {}",
                stage.stage
            );
            assert!(rest || stage.mean_ns >= 100.0, "{hook}: {}", stage.stage);
        }
    }
}

#[test]
fn hooks_that_miss_one_after_the_other_are_told_as_well() {
    let found = request_without(&["net_dev_start_xmit", "netif_rx"]);
    assert_eq!(
        absent(&found, "net_dev_start_xmit"),
        "bridge encap qdisc veth wire"
    );
    assert_eq!(absent(&found, "netif_rx"), "backlog veth wire");
    let over = "queue@eth0->receive@veth-a";
    assert!(found.stages.iter().any(|stage| stage.stage == over));
}

#[test]
fn each_hook_has_the_stages_of_the_table() {
    for (hook, stages) in [
        ("net_dev_queue", "socket_tx qdisc encap bridge forward"),
        (
            "net_dev_start_xmit",
            "wire qdisc loopback veth driver encap bridge",
        ),
        ("netif_rx", "wire loopback veth backlog decap"),
        (
            "napi_gro_receive_entry",
            "wire veth gro_cells backlog decap",
        ),
        ("skb_copy_datagram_iovec", "socket_rx"),
        ("consume_skb", ""),
        ("no_such_hook", ""),
    ] {
        assert_eq!(at_hook(hook).join(" "), stages, "{hook}");
    }
}

#[test]
fn a_hook_of_no_stage_leaves_the_closure() {
    for hook in ["net_dev_xmit", "kfree_skb", "skb_copy_datagram_iovec"] {
        let mut side = run_side(over_vxlan(Direction::Request, 11, 21));
        side.user_times = vec![user(
            UserStage::SocketRx,
            Side::Server,
            Direction::Request,
            100,
        )];
        side.missing = vec![missing(hook)];
        let found = derive(&[&side], &devices(), 21, Some(2_000.0));
        assert_eq!(
            (found.closure, found.absent.len()),
            (Some(1.0), 0),
            "{hook}"
        );
    }
}

#[test]
fn where_no_way_begins_all_before_the_other_node_is_absent() {
    let mut side = run_side(over_vxlan(Direction::Request, 11, 21));
    side.edges.retain(|edge| edge.from.device.netns / 10 == 2);
    side.missing = vec![missing("net_dev_queue")];
    let edges = without(&side.edges, &[Event::Queue]);
    side.edges = edges;
    let found = derive(&[&side], &devices(), 21, Some(2_000.0));
    assert_eq!(
        absent(&found, "net_dev_queue"),
        "bridge encap forward qdisc socket_tx wire"
    );
    assert_eq!(found.closure, None);
}

#[test]
fn nothing_is_derived_over_a_gap() {
    let mut side = run_side(over_vxlan(Direction::Request, 11, 21));
    side.missing = vec![missing("net_dev_start_xmit")];
    side.edges
        .retain(|edge| edge.from.device.netns < 20 && edge.to.device.netns < 20);
    let edges = without(&side.edges, &[Event::StartXmit]);
    side.edges = edges;
    let found = waterfall(&Journey {
        sides: &[&side],
        devices: &devices(),
        client: End {
            node: "n1",
            netns: 11,
        },
        server: End {
            node: "n2",
            netns: 21,
        },
        one_kernel: false,
        rtt_mean_ns: Some(5_000.0),
        requests: REQUESTS,
    });
    assert!(!found.stages.iter().any(|stage| stage.derived));
    assert!(absent(&found, "net_dev_start_xmit").contains("wire"));
    assert_eq!(found.stages.last().unwrap().stage, "unattributed");
}

#[test]
fn without_what_a_socket_tells_its_stage_is_whole() {
    let seen = |stage| user(stage, Side::Server, Direction::Request, 100);
    let mut side = run_side(over_vxlan(Direction::Request, 11, 21));
    side.user_times = vec![seen(UserStage::SocketUnsplit)];
    side.missing = vec![missing("sk_data_ready")];
    let found = derive(&[&side], &devices(), 21, Some(2_000.0));
    assert_eq!(
        absent(&found, "sk_data_ready"),
        "socket_backlog socket_queue wakeup"
    );
    assert_eq!(found.closure, Some(1.0));
    let whole = found.stages.iter().find(|it| it.stage == "socket_rx");
    assert_eq!(whole.unwrap().class, Some(StageClass::Mixed));
    // One that has no parts anyway.
    side.user_times = vec![seen(UserStage::SocketRx)];
    let found = derive(&[&side], &devices(), 21, Some(2_000.0));
    assert_eq!((found.closure, found.absent.len()), (Some(1.0), 0));
    assert_eq!(
        at_hook("sk_data_ready"),
        ["socket_backlog", "socket_queue", "wakeup"]
    );
}

#[test]
fn a_missing_receive_is_missed_before_the_socket_too() {
    let seen = |stage| user(stage, Side::Server, Direction::Request, 100);
    let mut side = run_side(without(
        &over_vxlan(Direction::Request, 11, 21),
        &[Event::Receive],
    ));
    side.user_times = vec![seen(UserStage::SocketWork), seen(UserStage::Wakeup)];
    side.missing = vec![missing("netif_receive_skb")];
    let found = derive(&[&side], &devices(), 21, Some(2_000.0));
    let lines = lines(&found);
    for row in ["netif_rx@eth0->data_ready@eth0 eth0", "wakeup eth0"] {
        let row = format!("server request {row}");
        assert!(lines.contains(&row), "{row}: {lines:?}");
    }
    assert_eq!(found.closure, None);
    assert!(absent(&found, "netif_receive_skb").contains("socket_rx"));
}

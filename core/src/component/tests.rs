//! Stacks as they are seen from pod to pod over vxlan, and what they count as.

use super::*;
use crate::api::Stacks;

/// A stack from its frames, outermost first.
fn stack(thread: &str, frames: &str) -> Stack {
    Stack {
        thread: thread.to_owned(),
        frames: frames.split_whitespace().map(str::to_owned).collect(),
        samples: 1,
    }
}

/// A TCP sender's way to its device.
const SEND: &str = "entry_SYSCALL_64_after_hwframe do_syscall_64 __x64_sys_sendto __sys_sendto \
    sock_sendmsg inet_sendmsg tcp_sendmsg tcp_sendmsg_locked tcp_push __tcp_push_pending_frames \
    tcp_write_xmit __tcp_transmit_skb __ip_queue_xmit ip_local_out ip_output ip_finish_output2 \
    __dev_queue_xmit dev_hard_start_xmit veth_xmit";
/// From the softirq that follows to the bridge and the tunnel's transmit function.
const TO_TUNNEL: &str = "__local_bh_enable_ip do_softirq __do_softirq net_rx_action __napi_poll \
    process_backlog __netif_receive_skb_one_core __netif_receive_skb_core.constprop.0 \
    br_handle_frame br_handle_frame_finish br_pass_frame_up netif_receive_skb \
    __netif_receive_skb_core.constprop.0 ip_rcv ip_forward ip_forward_finish ip_output \
    ip_finish_output2 __dev_queue_xmit dev_hard_start_xmit vxlan_xmit";
const ENCAP: &str = "vxlan_xmit_one udp_tunnel_xmit_skb iptunnel_xmit ip_local_out ip_output";
/// On the other node, from softirq to the tunnel's receive function.
const RECEIVE: &str = "do_softirq handle_softirqs net_rx_action __napi_poll process_backlog \
    __netif_receive_skb_one_core ip_rcv ip_local_deliver ip_protocol_deliver_rcu udp_rcv \
    udp_unicast_rcv_skb udp_queue_rcv_one_skb";

fn over(parts: &[&str]) -> Stack {
    stack("nettoll-agent", &parts.join(" "))
}

#[test]
fn the_innermost_known_frame_decides() {
    for (parts, expected) in [
        (&[SEND][..], Component::Veth),
        (&[SEND, "skb_scrub_packet"], Component::Veth),
        (&[SEND, TO_TUNNEL], Component::Encap),
        (
            &[SEND, TO_TUNNEL, "vxlan_xmit_one", "skb_push"],
            Component::Encap,
        ),
        (&[SEND, TO_TUNNEL, ENCAP], Component::Ip),
        (
            &[
                SEND,
                TO_TUNNEL,
                "vxlan_xmit_one vxlan_get_route ip_route_output_key_hash fib_table_lookup",
            ],
            Component::Routing,
        ),
        (
            &[
                SEND,
                TO_TUNNEL,
                ENCAP,
                "nf_hook_slow nft_do_chain_inet nft_do_chain",
            ],
            Component::Netfilter,
        ),
        (
            &[SEND, TO_TUNNEL, ENCAP, "nf_hook_slow nf_conntrack_in"],
            Component::Conntrack,
        ),
        (
            &[SEND, TO_TUNNEL, ENCAP, "ip_finish_output2 __dev_queue_xmit"],
            Component::Qdisc,
        ),
        (
            &[
                SEND,
                TO_TUNNEL,
                ENCAP,
                "__dev_queue_xmit validate_xmit_skb __skb_gso_segment skb_mac_gso_segment inet_gso_segment skb_udp_tunnel_segment skb_segment",
            ],
            Component::GroGso,
        ),
        (&[RECEIVE, "vxlan_rcv"], Component::Decap),
        (
            &[RECEIVE, "vxlan_rcv gro_cells_receive _raw_spin_lock"],
            Component::Locking,
        ),
        (
            &["net_rx_action __napi_poll gro_cell_poll"],
            Component::Decap,
        ),
        (
            &[
                "net_rx_action __napi_poll gro_cell_poll napi_gro_receive dev_gro_receive inet_gro_receive",
            ],
            Component::GroGso,
        ),
        (
            &[RECEIVE, "tcp_v4_rcv tcp_rcv_established sock_def_readable"],
            Component::Socket,
        ),
        (
            &[
                RECEIVE,
                "tcp_v4_rcv sock_def_readable __wake_up_sync_key try_to_wake_up",
            ],
            Component::Scheduler,
        ),
        (
            &[
                RECEIVE,
                "tcp_v4_rcv tcp_rcv_established __kfree_skb skb_release_data kmem_cache_free",
            ],
            Component::Memory,
        ),
        (
            &[
                "do_syscall_64 __x64_sys_recvfrom tcp_recvmsg_locked skb_copy_datagram_iter _copy_to_iter rep_movs_alternative",
            ],
            Component::Copy,
        ),
        (
            &[SEND, "bpf_trace_run2 bpf_prog_0123456789abcdef_start_xmit"],
            Component::Bpf,
        ),
        (
            &[
                SEND,
                "__traceiter_net_dev_start_xmit bpf_trampoline_6442509 bpf_prog_1_x ktime_get_mono_fast_ns",
            ],
            Component::Bpf,
        ),
        (
            &["entry_SYSCALL_64_after_hwframe do_syscall_64"],
            Component::Other,
        ),
        (&["do_softirq handle_softirqs"], Component::Softirq),
    ] {
        assert_eq!(component(&over(parts)), expected, "{:?}", parts.last());
    }
}

#[test]
fn names_are_read_with_what_tools_add_to_them() {
    for frame in [
        "vxlan_xmit",
        "vxlan_xmit+0x1c/0x80",
        "vxlan_xmit [vxlan]",
        "vxlan_xmit+0x1c/0x80 [vxlan]",
        "vxlan_xmit.isra.0",
        "__vxlan_xmit.cold",
    ] {
        let one = Stack {
            thread: "x".to_owned(),
            frames: vec!["do_syscall_64".to_owned(), frame.to_owned()],
            samples: 1,
        };
        assert_eq!(component(&one), Component::Encap, "{frame}");
    }
}

#[test]
fn the_idle_thread_is_idle_only_where_it_does_nothing() {
    let idle = "common_startup_64 start_secondary cpu_startup_entry do_idle";
    for (frames, expected) in [
        (
            &[
                idle,
                "cpuidle_idle_call default_idle_call default_idle pv_native_safe_halt",
            ][..],
            Component::Idle,
        ),
        (&[idle, "tick_nohz_idle_enter"], Component::Idle),
        (&[idle, "schedule_idle __schedule"], Component::Scheduler),
        (
            &[idle, "flush_smp_call_function_queue", RECEIVE, "vxlan_rcv"],
            Component::Decap,
        ),
        (&["start_secondary"], Component::Idle),
    ] {
        assert_eq!(
            component(&stack("swapper", &frames.join(" "))),
            expected,
            "{frames:?}"
        );
    }
    assert_eq!(component(&stack("swapper/3", "x")), Component::Idle);
    assert_eq!(component(&stack("nettoll-agent", "")), Component::User);
    assert_eq!(component(&stack("nettoll-agent", "x")), Component::Other);
}

#[test]
fn encap_ends_where_the_lower_device_transmits() {
    for (parts, inside) in [
        (&[SEND][..], false),
        (&[SEND, TO_TUNNEL], true),
        (&[SEND, TO_TUNNEL, ENCAP], true),
        (
            &[SEND, TO_TUNNEL, ENCAP, "nf_hook_slow nf_conntrack_in"],
            true,
        ),
        (
            &[
                SEND,
                TO_TUNNEL,
                ENCAP,
                "__dev_queue_xmit validate_xmit_skb __skb_gso_segment",
            ],
            true,
        ),
        (
            &[
                SEND,
                TO_TUNNEL,
                ENCAP,
                "__dev_queue_xmit dev_hard_start_xmit",
            ],
            true,
        ),
        (
            &[
                SEND,
                TO_TUNNEL,
                ENCAP,
                "__dev_queue_xmit dev_hard_start_xmit veth_xmit __netif_rx",
            ],
            false,
        ),
        (
            &[
                SEND,
                TO_TUNNEL,
                ENCAP,
                "__dev_queue_xmit sch_direct_xmit dev_hard_start_xmit start_xmit",
            ],
            false,
        ),
        (
            &["kworker worker_thread wg_packet_encrypt_worker chacha20poly1305_encrypt_sg_inplace"],
            true,
        ),
        (&[RECEIVE, "vxlan_rcv"], false),
    ] {
        assert_eq!(
            in_region(&over(parts), Region::Encap),
            inside,
            "{:?}",
            parts.last()
        );
    }
}

#[test]
fn decap_ends_where_the_inner_packet_goes_its_own_way() {
    for (parts, inside) in [
        (&[RECEIVE][..], false),
        (&[RECEIVE, "vxlan_rcv"], true),
        (&[RECEIVE, "vxlan_rcv __iptunnel_pull_header"], true),
        (&[RECEIVE, "vxlan_rcv gro_cells_receive"], true),
        (
            &[
                RECEIVE,
                "vxlan_rcv gro_cells_receive netif_rx enqueue_to_backlog",
            ],
            true,
        ),
        (&["net_rx_action gro_cell_poll napi_gro_receive"], false),
        (&["net_rx_action wg_packet_rx_poll"], true),
        (
            &["net_rx_action wg_packet_rx_poll napi_gro_receive netif_receive_skb_list_internal"],
            false,
        ),
        (&[SEND, TO_TUNNEL, ENCAP], false),
    ] {
        assert_eq!(
            in_region(&over(parts), Region::Decap),
            inside,
            "{:?}",
            parts.last()
        );
    }
}

fn sampled() -> Stacks {
    let many = |samples, stack| Stack { samples, ..stack };
    Stacks {
        hz: 1_000,
        stacks: vec![
            many(100, over(&[SEND, TO_TUNNEL])),
            many(300, over(&[SEND, TO_TUNNEL, ENCAP])),
            many(500, stack("swapper", "do_idle pv_native_safe_halt")),
            many(60, stack("a;b\n", "")),
            many(40, stack("a;b\n", "")),
        ],
        ..Stacks::default()
    }
}

#[test]
fn shares_sum_to_one_and_carry_their_interval() {
    let found = shares(&sampled(), 1_000_000, 2_000).unwrap();
    assert_eq!(found.components.len(), Component::ALL.len());
    let sum: f64 = found.components.iter().map(|share| share.share).sum();
    assert!((sum - 1.0).abs() < 1e-12);
    let named = |name: &str| {
        found
            .components
            .iter()
            .find(|share| share.name == name)
            .unwrap()
    };
    assert_eq!(named("encap").samples, 100);
    assert_eq!(named("ip").samples, 300);
    assert_eq!(named("user").samples, 100);
    assert_eq!((named("veth").samples, named("veth").share), (0, 0.0));
    // 100 samples of 1 ms over 1 MB, and over 2,000 packets.
    assert!((named("encap").ns_per_byte.unwrap() - 100.0).abs() < 1e-9);
    assert!((named("encap").ns_per_packet.unwrap() - 50_000.0).abs() < 1e-6);
    let [low, high] = named("encap").share_ci95;
    assert!(low < 0.1 && 0.1 < high && high - low < 0.04);
    let regions: Vec<_> = found
        .regions
        .iter()
        .map(|it| (it.name.as_str(), it.samples))
        .collect();
    assert_eq!(regions, [("encap", 400), ("decap", 0)]);
}

#[test]
fn nothing_is_divided_by_zero() {
    assert_eq!(shares(&Stacks::default(), 1, 1), None);
    let found = shares(&sampled(), 0, 0).unwrap();
    assert!(
        found
            .components
            .iter()
            .all(|share| share.ns_per_byte.is_none())
    );
    let without_rate = Stacks { hz: 0, ..sampled() };
    let found = shares(&without_rate, 1, 1).unwrap();
    assert!(
        found
            .components
            .iter()
            .all(|share| share.ns_per_packet.is_none())
    );
}

#[test]
fn folded_stacks_are_one_line_each() {
    let text = folded(&sampled());
    assert_eq!(text.lines().count(), 4);
    assert!(text.contains("a:b:;[user] 100\n"));
    assert!(text.contains("swapper;do_idle;pv_native_safe_halt 500\n"));
    let line = text
        .lines()
        .find(|line| line.ends_with("vxlan_xmit 100"))
        .unwrap();
    assert!(line.starts_with("nettoll-agent;entry_SYSCALL_64_after_hwframe;do_syscall_64;"));
}

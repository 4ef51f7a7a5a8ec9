//! Which function belongs to which component, for Linux 5.15 to 7.x.

use super::Component;

/// The functions of each component, without leading underscores. `name*` is every function whose
/// name begins so. Where several patterns fit, the longest counts, a whole name before any other,
/// so neither the order of lines nor that of words matters.
#[rustfmt::skip]
pub(super) const PATTERNS: &[(Component, &str)] = &[
    (Component::Encap, "
        vxlan_xmit* vxlan_build_* vxlan_find_mac* vxlan_get_route vxlan_encap* vxlan6_get_route
        udp_tunnel_xmit_skb udp_tunnel6_xmit_skb udp_tunnel_dst_lookup udp_tunnel6_dst_lookup
        iptunnel_xmit iptunnel_handle_offloads ip6tunnel_xmit ip_tunnel_xmit ip_md_tunnel_xmit
        geneve_xmit* geneve_build_* bareudp_xmit* gre_build_header gre_tap_xmit ipgre_xmit
        erspan_xmit ip6gre_tunnel_xmit ipip_tunnel_xmit sit_tunnel_xmit* ip6_tnl_xmit
        ip6_tnl_start_xmit vti_tunnel_xmit xfrm_output* xfrmi_xmit esp_output*
        wg_xmit wg_packet_send_* wg_packet_create_data* wg_packet_encrypt_worker
        wg_packet_tx_worker wg_socket_send_* encrypt_packet chacha20poly1305_encrypt*"),
    (Component::Decap, "
        vxlan_rcv* vxlan_snoop vxlan_set_mac vxlan_remcsum vxlan_ecn_decapsulate vxlan_vs_find*
        geneve_udp_encap_recv geneve_rx bareudp_udp_encap_recv iptunnel_pull_header
        udp_tun_rx_dst ip_tunnel_rcv ip6_tnl_rcv ipip_rcv ipip_tunnel_rcv tunnel4_rcv tunnel6_rcv
        tunnel64_rcv gre_rcv gre_parse_header ipgre_rcv erspan_rcv sit_tunnel ipip6_rcv
        xfrm_input* xfrm4_rcv* xfrm6_rcv* esp_input*
        wg_receive wg_packet_receive wg_packet_rx_poll wg_packet_decrypt_worker
        wg_packet_consume_data* decrypt_packet chacha20poly1305_decrypt*
        gro_cell_poll gro_cells_receive"),
    (Component::Bridge, "br_* nbp_switchdev_* deliver_clone maybe_deliver"),
    (Component::Veth, "veth_*"),
    (Component::Netfilter, "
        nf_* nft_* NF_HOOK* nfnetlink_* nfqnl_* ipt_* ip6t_* iptable_* ip6table_* arpt_* xt_* ebt_*
        br_nf_* ip_sabotage_in setup_pre_routing ip_vs_* ip_set_* hash_ipport* hash_net* tproxy_* tcp_mt udp_mt mark_mt mark_tg
        comment_mt multiport_mt addrtype_mt* conntrack_mt* state_mt statistic_mt physdev_mt
        set_match* limit_mt masquerade_tg* reject_tg* ip_route_me_harder"),
    (Component::Conntrack, "
        nf_conntrack* nf_ct_* nf_nat_* nf_confirm nf_defrag_* ipv4_conntrack_* ipv6_conntrack_*
        ipv4_confirm ipv6_confirm hash_conntrack* resolve_normal_ct early_drop nf_ip_checksum
        nf_ip6_checksum nf_xfrm_me_harder"),
    (Component::Routing, "
        fib_* fib4_* fib6_* fib_rules_* ip_route_* ip6_route_* ip6_pol_route* ip6_dst_* ip_mkroute_*
        ipv4_dst_* rt_dst_* rt_set_nexthop rt_cache_* rt_add_* rt_del_* rt6_* dst_* find_exception
        neigh_* arp_* ndisc_* inet_addr_type* inet_dev_addr_type inet_select_addr ip_neigh_*
        ip_dst_* l3mdev_*"),
    (Component::Qdisc, "
        dev_queue_xmit dev_direct_xmit dev_hard_start_xmit dev_xmit_skb xmit_one validate_xmit_*
        netdev_pick_tx netdev_core_pick_tx netdev_start_xmit qdisc_* sch_* tcf_* tc_run tcf_classify
        pfifo_* bfifo_* fifo_* fq_* codel_* htb_* tbf_* hfsc_* prio_* netem_* cake_* mq_* ingress_*
        clsact_* get_xps_queue skb_tx_hash netif_schedule*"),
    (Component::Driver, "
        loopback_xmit dummy_xmit start_xmit virtnet_* virtqueue_* vring_* vp_notify* virtio_*
        receive_buf receive_mergeable page_to_skb try_fill_recv free_old_xmit* detach_buf_split
        e1000* igb_* igc_* ixgbe_* ixgbevf_* i40e_* iavf_* ice_* mlx4_* mlx5* mlx5e_* bnxt_* bnx2x_*
        ena_* gve_* tg3_* rtl8169_* rtl_* r8169_* nfp_* qede_* vmxnet3_* netvsc_* hv_* vmbus_*
        xennet_* tun_* tap_* vhost_* macvlan_* macvtap_* ipvlan_* bond_* team_* netkit_* vlan_dev_*
        ifb_* swiotlb_* dma_map_* dma_unmap_* dma_sync_* iommu_* dma_direct_*"),
    (Component::GroGso, "
        dev_gro_receive napi_gro_* gro_* skb_gro_* skb_gso_* skb_mac_gso_segment skb_segment*
        skb_udp_tunnel_segment inet_gso_segment inet_gro_* ipv6_gso_segment ipv6_gro_* ip4ip4_g*
        ipip_gro_* ipip_gso_* tcp_gso_segment tcp_gro_* tcp4_gso_segment tcp4_gro_* tcp6_gso_segment
        tcp6_gro_* udp_gso_segment udp_gro_* udp4_gro_* udp6_gro_* udp4_ufo_fragment
        udp6_ufo_fragment vxlan_gro_* geneve_gro_* eth_gro_* gre_gso_segment gre_gro_*
        netif_skb_features passthru_features_check tcp_tso_* skb_crc32c_csum_help"),
    (Component::Checksum, "
        csum_* do_csum ip_fast_csum ip_compute_csum skb_checksum* skb_csum_* tcp_v4_send_check
        tcp_v6_send_check tcp_v4_check udp4_hwcsum udp_set_csum udp6_set_csum udp_csum*
        udp4_csum_init udp6_csum_init skb_copy_and_csum_* csum_and_copy_* crc32* inet_proto_csum_*
        warn_crc32c_csum_*"),
    (Component::Ip, "
        ip_* ip6_* ipv4_* ipv6_* icmp_* icmpv6_* igmp_* inet_frag* raw_local_deliver raw_v4_*
        raw_rcv* raw_send* xfrm_lookup* xfrm_policy_*"),
    (Component::Udp, "
        udp_* udp4_* udp6_* udpv6_* udplite_* skb_consume_udp skb_recv_udp"),
    (Component::Tcp, "
        tcp_* tcp4_* tcp6_* tcpv6_* mptcp_* inet_csk_* inet_lookup* inet6_lookup* inet_ehash*
        inet6_ehash* inet_twsk_* inet_hash* inet6_csk_* cubictcp_* bictcp_* bbr_* dctcp_*
        sk_stream_*"),
    (Component::Socket, "
        sock_* sk_* fdget sockfd_* sys_send* sys_recv* sys_socket* sys_connect* sys_accept* sys_bind*
        sys_setsockopt sys_getsockopt x64_sys_send* x64_sys_recv* arm64_sys_send* arm64_sys_recv*
        do_sys_send* do_recvmmsg inet_* inet6_* lock_sock* release_sock* move_addr_to_*
        copy_msghdr_* sendmsg_copy_* recvmsg_copy_* import_single_range import_ubuf security_socket_*
        security_sock_* security_sk_* skb_recv_* skb_try_recv_* skb_wait_for_* skb_set_owner_*
        datagram_poll do_epoll_* ep_* do_sys_poll do_select packet_* tpacket_*
        dev_queue_xmit_nit put_cmsg scm_*"),
    (Component::Copy, "
        copy_to_* copy_from_* copy_page_* copy_user_* copy_iovec_* copyin copyout raw_copy_*
        rep_movs* memcpy* memmove* simple_copy_to_iter skb_copy_datagram_* skb_datagram_iter
        skb_copy_bits skb_store_bits skb_do_copy_data_nocache ip_generic_getfrag check_object_size
        check_heap_object iov_iter_* fault_in_* arch_copy_*"),
    (Component::Memory, "
        kmem_cache_* kmalloc* kfree* krealloc* kvmalloc* kvfree* slab_* get_partial_node*
        get_from_partial_node* put_cpu_partial memset* clear_page* alloc_skb* build_skb*
        napi_alloc_* napi_build_skb netdev_alloc_* napi_skb_cache_* consume_skb consume_stateless_skb
        kfree_skb* sk_skb_reason_drop skb_free_* skb_release_* napi_consume_skb skb_clone
        skb_copy skb_copy_expand skb_copy_ubufs skb_copy_header skb_unclone* skb_ext_*
        skb_realloc_* skb_attempt_defer_* skb_defer_free* skb_splice_* pskb_* page_frag_* page_pool_*
        skb_page_frag_refill sk_page_frag_refill skb_queue_purge* skb_rbtree_purge
        alloc_pages* alloc_frozen_pages* get_page_from_freelist free_unref_* free_frozen_* free_page*
        free_pages* free_pcppages_* rmqueue* prep_new_page put_page* mem_cgroup_* memcg_*
        mod_memcg_* obj_cgroup_* try_charge* refill_stock refill_obj_stock consume_obj_stock
        drain_stock exc_page_fault asm_exc_page_fault do_user_addr_fault handle_mm_fault folio_*
        lru_* vma_*"),
    (Component::Locking, "
        raw_spin_* raw_read_* raw_write_* native_queued_spin_* queued_spin_* queued_read_*
        queued_write_* pv_queued_spin_* raw_callee_save_* mutex_* ww_mutex_* rwsem_* down_* up_read up_write rt_spin_*
        rt_mutex_* osq_* rcu_* call_rcu* srcu_* futex_* lock_acquire* lock_release lock_is_held*
        percpu_down_* percpu_up_*"),
    (Component::Scheduler, "
        schedule schedule_* do_sched_* sched_* try_to_wake_up ttwu_* wake_up* default_wake_function
        autoremove_wake_function woken_wake_function receiver_wake_function pollwake
        ep_autoremove_wake_function ep_poll_callback enqueue_task* dequeue_task* enqueue_entity*
        dequeue_entit* pick_next_* pick_task* pick_eevdf put_prev_* set_next_* select_task_rq*
        select_idle_* available_idle_cpu update_curr* update_load_avg* update_rq_clock* update_cfs_*
        update_se finish_task_switch* prepare_task_switch switch_mm* switch_to* load_balance
        newidle_balance prepare_to_wait* finish_wait add_wait_queue* remove_wait_queue wait_woken
        check_preempt_* wakeup_preempt* resched_curr* reweight_* place_entity psi_* cpuacct_*
        cgroup_rstat_* smp_call_function_* send_call_function_* call_function_single_*
        flush_smp_call_function_* generic_smp_call_* native_smp_send_* native_send_call_func_*
        x2apic_send_IPI* default_send_IPI* nohz_* activate_task deactivate_task
        set_task_cpu migrate_task_* block_task preempt_schedule* do_nanosleep"),
    (Component::Softirq, "
        do_softirq* handle_softirqs invoke_softirq net_rx_action net_tx_action napi_poll
        napi_complete_done napi_schedule* napi_busy_* process_backlog irq_exit* run_ksoftirqd
        raise_softirq* local_bh_enable_ip local_bh_disable_ip tasklet_* netif_receive_skb* netif_rx*
        enqueue_to_backlog deliver_skb deliver_ptype_* do_xdp_generic get_rps_cpu net_rps_* rps_*
        flush_backlog dev_forward_skb* dev_loopback_xmit"),
    (Component::Bpf, "
        bpf_* cls_bpf_* tcx_* trace_call_bpf traceiter_* htab_* array_map_* percpu_array_*
        lookup_nulls_elem_raw lookup_elem_raw trie_lookup_elem xdp_* run_bpf_filter
        perf_trace_run_bpf_submit"),
    (Component::Idle, "
        default_idle* pv_native_safe_halt native_safe_halt acpi_idle* acpi_safe_halt
        acpi_processor_ffh_* arch_cpu_idle* cpuidle_* cpu_idle_* intel_idle* mwait_idle* poll_idle
        do_idle cpu_startup_entry xen_safe_halt tdx_* haltpoll_* amd_e400_idle default_enter_idle
        cpu_do_idle"),
];

/// The component of a function, `None` where no pattern fits.
pub(super) fn lookup(function: &str) -> Option<Component> {
    let all = PATTERNS.iter().flat_map(|&(component, patterns)| {
        patterns
            .split_ascii_whitespace()
            .map(move |pattern| (component, pattern))
    });
    all.filter_map(|(component, pattern)| Some((fit(pattern, function)?, component)))
        .max_by_key(|&(fit, _)| fit)
        .map(|(_, component)| component)
}

/// How well a pattern fits: whole names before beginnings, long before short.
fn fit(pattern: &str, function: &str) -> Option<(bool, usize)> {
    match pattern.strip_suffix('*') {
        Some(start) => function.starts_with(start).then_some((false, start.len())),
        None => (pattern == function).then_some((true, pattern.len())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn no_pattern_is_in_two_components() {
        let mut seen = BTreeMap::new();
        for (component, patterns) in PATTERNS {
            for pattern in patterns.split_ascii_whitespace() {
                assert!(!pattern.starts_with('_'), "{pattern}");
                assert_eq!(seen.insert(pattern, component), None, "{pattern} twice");
            }
        }
    }

    #[test]
    fn the_longest_pattern_counts() {
        for (function, component) in [
            ("ip_finish_output2", Component::Ip),
            ("ip_route_input_slow", Component::Routing),
            ("ip_tunnel_xmit", Component::Encap),
            ("ip_vs_conn_in_get", Component::Netfilter),
            ("nf_hook_slow", Component::Netfilter),
            ("nf_conntrack_in", Component::Conntrack),
            ("br_nf_pre_routing", Component::Netfilter),
            ("br_handle_frame", Component::Bridge),
            ("tcp_v4_send_check", Component::Checksum),
            ("tcp_gro_receive", Component::GroGso),
            ("tcp_v4_rcv", Component::Tcp),
            ("vxlan_gro_receive", Component::GroGso),
            ("gro_cell_poll", Component::Decap),
            ("sk_page_frag_refill", Component::Memory),
            ("sock_def_readable", Component::Socket),
            ("skb_copy_datagram_iter", Component::Copy),
            ("skb_copy", Component::Memory),
        ] {
            assert_eq!(lookup(function), Some(component), "{function}");
        }
        assert_eq!(lookup("skb_push"), None);
        assert_eq!(lookup(""), None);
    }
}

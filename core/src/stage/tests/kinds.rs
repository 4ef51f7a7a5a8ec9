//! What a device's kind makes of the stages on it.

use super::*;

#[test]
fn the_end_of_decap_decides_its_class() {
    let class_of = |hops: &str| {
        let side = run_side(way(Direction::Request, hops));
        let found = derive(&[&side], &devices(), 21, None);
        classes(&found)
            .into_iter()
            .map(|(stage, class)| (stage.to_owned(), class))
            .collect::<Vec<_>>()
    };
    let named = |stage: &str, class| (stage.to_owned(), Some(class));
    assert_eq!(
        class_of("receive@20:eth0 gro_receive@20:flannel.1 receive@20:flannel.1"),
        [named("decap", Work), named("gro_cells", Wait)]
    );
    assert_eq!(
        class_of("receive@20:eth0 netif_rx@20:flannel.1 receive@20:flannel.1"),
        [named("decap", Work), named("backlog", Wait)]
    );
    assert_eq!(
        class_of("receive@20:eth0 receive@20:flannel.1 queue@20:cni0"),
        [named("decap", Mixed), named("forward", Work)]
    );
}

#[test]
fn a_network_card_has_its_driver_and_its_wait() {
    let mut known = devices();
    for device in known.iter_mut().filter(|device| device.underlay) {
        device.kind = DeviceKind::Physical;
    }
    let side = run_side(
        [
            way(
                Direction::Request,
                "user_send@10:eth0 queue@10:eth0 start_xmit@10:eth0 xmit@10:eth0",
            ),
            way(
                Direction::Request,
                "gro_receive@20:eth0 receive@20:eth0 queue@20:cni0",
            ),
        ]
        .concat(),
    );
    let journey = Journey {
        sides: &[&side],
        devices: &known,
        client: End {
            node: "n1",
            netns: 11,
        },
        server: End {
            node: "n2",
            netns: 21,
        },
        one_kernel: false,
        rtt_mean_ns: Some(800.0),
        requests: REQUESTS,
    };
    let found = waterfall(&journey);
    assert_eq!(
        lines(&found),
        [
            "client request socket_tx eth0",
            "client request qdisc eth0",
            "client request driver eth0",
            "server request backlog eth0",
            "server request forward cni0",
            "- both wire -",
            "- both unattributed -",
        ]
    );
    // Two kernels: the wire is the rest, and says so.
    let wire = &found.stages[5];
    assert_eq!(
        (wire.mean_ns, wire.derived, wire.class),
        (300.0, true, Some(Wait))
    );
    assert_eq!(found.stages[6].mean_ns, 0.0);
    assert_eq!(found.closure, None);
}

#[test]
fn wireguard_waits_for_its_thread_and_is_unreadable_up_to_its_own_device() {
    let mut known = devices();
    for device in known
        .iter_mut()
        .filter(|device| device.kind == DeviceKind::Vxlan)
    {
        device.kind = DeviceKind::Wireguard;
    }
    let side = run_side(way(
        Direction::Request,
        "start_xmit@10:flannel.1 queue@10:eth0 start_xmit@10:eth0 gro_receive@20:flannel.1 \
         receive@20:flannel.1 queue@20:cni0",
    ));
    let found = derive(&[&side], &known, 21, None);
    assert_eq!(
        classes(&found),
        [
            ("encap", Some(Mixed)),
            ("qdisc", Some(Wait)),
            ("start_xmit@eth0->gro_receive@flannel.1", None),
            ("backlog", Some(Wait)),
            ("forward", Some(Work)),
        ]
    );
}

//! Two agents make traffic between two pods; the kernel's own counters say what was there.

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::{Calibrate, RoundSpec, RunSide, TRAFFIC_PORT_FIRST, UserStage},
    report::TestType,
};
use nettoll_tests::{
    counters::{proc_net, snmp},
    pods::{Pods, round},
};

/// Bytes that a device of the namespace sent.
fn sent_bytes(namespace: &str, device: &str) -> Result<u64> {
    let text = proc_net(namespace, "dev")?;
    let of_device = |line: &str| {
        Some(
            line.trim_start()
                .strip_prefix(device)?
                .strip_prefix(':')?
                .to_owned(),
        )
    };
    let counters = text.lines().find_map(of_device).context("no such device")?;
    Ok(counters
        .split_whitespace()
        .nth(8)
        .context("no counter")?
        .parse()?)
}

#[test]
fn datagrams_are_those_that_the_kernel_delivered() -> Result<()> {
    let bed = Pods::up()?;
    let spec = bed.spec(TestType::UdpRr)?;
    bed.begin_run(&spec)?;
    for probe in [false, true] {
        let delivered = || -> Result<(u64, u64)> {
            Ok((
                snmp(&bed.pod(0), "Udp:", "InDatagrams")?,
                snmp(&bed.pod(1), "Udp:", "InDatagrams")?,
            ))
        };
        let before = delivered()?;
        let (client, server) = bed.round(&spec.id, &round(probe))?;
        let after = delivered()?;
        ensure!(client.transactions > 0 && client.lost == 0, "{client:?}");
        assert_eq!(
            after.0 - before.0,
            client.transactions,
            "responses, probe {probe}"
        );
        assert_eq!(
            after.1 - before.1,
            client.transactions,
            "requests, probe {probe}"
        );
        assert_eq!(server.transactions, client.transactions);
    }
    bed.end_run(&spec.id)
}

#[test]
fn acknowledged_bytes_went_over_the_pods_device() -> Result<()> {
    let bed = Pods::up()?;
    let mut spec = bed.spec(TestType::TcpStream)?;
    spec.options.warmup_ms = 0;
    bed.begin_run(&spec)?;
    let before = sent_bytes(&bed.pod(0), "eth0")?;
    let (client, server) = bed.round(&spec.id, &round(false))?;
    let went = sent_bytes(&bed.pod(0), "eth0")? - before;
    // Beside the payload: headers, at most 66 of some 1,400 bytes, and what was under way at the
    // end, at most the send buffer.
    let buffers: u64 = 8 << 20;
    ensure!(
        went >= client.bytes && went as f64 <= 1.06 * client.bytes as f64 + buffers as f64,
        "{went} bytes on the device, {} acknowledged",
        client.bytes
    );
    ensure!(
        server.bytes <= went && server.bytes + buffers >= client.bytes,
        "{} received, {} acknowledged",
        server.bytes,
        client.bytes
    );
    bed.end_run(&spec.id)
}

#[test]
fn a_deleted_run_leaves_no_socket_in_the_pods() -> Result<()> {
    let bed = Pods::up()?;
    let port = format!(":{TRAFFIC_PORT_FIRST:04X}");
    for (test, table) in [(TestType::TcpRr, "tcp"), (TestType::UdpRr, "udp")] {
        let spec = bed.spec(test)?;
        bed.begin_run(&spec)?;
        let there = |pod: usize| -> Result<Vec<String>> {
            let sockets = proc_net(&bed.pod(pod), table)?;
            // 06 is TIME_WAIT: nobody's socket any more.
            let ours = |line: &&str| line.contains(&port) && !line.contains(" 06 ");
            Ok(sockets.lines().filter(ours).map(str::to_owned).collect())
        };
        ensure!(
            !there(0)?.is_empty() && !there(1)?.is_empty(),
            "{test} has no sockets"
        );
        bed.end_run(&spec.id)?;
        assert_eq!(
            [there(0)?, there(1)?],
            [Vec::<String>::new(), Vec::new()],
            "{test}"
        );
    }
    Ok(())
}

#[test]
fn a_pod_of_another_inode_is_refused() -> Result<()> {
    let bed = Pods::up()?;
    let mut spec = bed.spec(TestType::TcpRr)?;
    spec.client.netns += 1;
    let (status, body) = bed.client.request("POST", "/v1/runs", &spec)?;
    assert_eq!(status, 409, "{body}");
    ensure!(body.contains("resolve the path again"), "{body}");
    Ok(())
}

#[test]
fn a_calibration_changes_nothing_but_the_programs_times() -> Result<()> {
    let bed = Pods::up()?;
    let spec = bed.spec(TestType::TcpRr)?;
    bed.begin_run(&spec)?;
    let (measured, _) = bed.round(&spec.id, &round(true))?;
    let calibration = |calibrate| RoundSpec {
        calibrate: Some(calibrate),
        ..round(true)
    };
    // After seams the run goes on, after run times it does not.
    bed.round(&spec.id, &calibration(Calibrate::Seams))?;
    let (more, _) = bed.round(&spec.id, &round(true))?;
    bed.round(&spec.id, &calibration(Calibrate::Seams))?;
    bed.round(&spec.id, &calibration(Calibrate::RunTimes))?;
    let transactions = measured.transactions + more.transactions;
    let path = |what| format!("/v1/runs/{}/{what}", spec.id);
    let (status, body) = bed.client.request("POST", &path("begin"), &round(true))?;
    assert_eq!(status, 409, "{body}");
    for agent in [&bed.client, &bed.server] {
        let side: RunSide = agent.ask("POST", &path("finish"), &())?;
        let queue = side
            .programs
            .iter()
            .find(|program| program.name == "net_dev_queue");
        let queue = queue.context("no program net_dev_queue")?;
        let (mean, empty) = queue
            .mean_ns
            .zip(queue.empty_mean_ns)
            .context("not calibrated")?;
        ensure!(mean > empty && empty > 0.0, "{mean} ns, empty {empty} ns");
        let seam = side.seam_ns.context("no seam")?;
        ensure!(
            seam > 1.0 && seam < 300.0,
            "{seam} ns between two programs on one tracepoint"
        );
        let counted = |stages: &[UserStage]| -> u64 {
            let times = side.user_times.iter();
            let times = times.filter(|user| stages.contains(&user.stage));
            times.map(|user| user.times.count).sum()
        };
        let arrived = [
            UserStage::SocketUnsplit,
            UserStage::SocketQueue,
            UserStage::Wakeup,
        ];
        let mut wanted = vec![&arrived[..]];
        if side.node == "n2" {
            wanted.push(&[UserStage::Responder]);
        }
        for stages in wanted {
            let counted = counted(stages);
            ensure!(
                counted.abs_diff(transactions) * 100 <= transactions,
                "{counted} {stages:?}, {transactions} transactions in measured rounds",
            );
        }
    }
    bed.end_run(&spec.id)
}

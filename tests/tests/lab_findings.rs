//! What is made wrong on a path is found there, and nothing where nothing is wrong.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    finding::{Finding, findings},
    report::Report,
};
use nettoll_lab::{Network, Underlay};
use nettoll_tests::session::{PODS, Session, first};

/// Rule, place and device of what is found from pod to pod.
fn found(session: &Session) -> Result<Vec<String>> {
    let [from, to] = PODS;
    // Settings are what they are, whether or not the rounds were disturbed, and however short.
    let how = ["path", "-o", "json", "--seconds", "0.3"];
    let output = session.nettoll(&[&how[..], &["--from", from, "--to", to]].concat())?;
    let report: Report = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let found = findings(&report, [first(&report)?]);
    let row = |it: Finding| format!("{} {} {}", it.rule, it.place, it.device);
    Ok(found.into_iter().map(row).collect())
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot start {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Switches an offload of a device of node n1.
fn switch(device: &str, offload: &str, state: &str) -> Result<()> {
    let within = ["netns", "exec", "nettoll-n1", "ethtool", "-K", device];
    run("ip", &[&within[..], &[offload, state]].concat())
}

#[test]
fn what_is_made_wrong_is_found_there() -> Result<()> {
    let session = Session::up(Network::Vxlan, Underlay::Veth)?;
    let nothing = found(&session)?;
    ensure!(nothing.is_empty(), "{nothing:?}");
    for (device, offload, rule) in [
        (
            "flannel.1",
            "tx-tcp-segmentation",
            "segmented-before-encapsulation",
        ),
        ("flannel.1", "rx-gro", "not-merged"),
        (
            "eth0",
            "tx-udp_tnl-segmentation",
            "tunnel-segmented-in-software",
        ),
        ("vethn1-a", "tx-tcp-segmentation", "segmented-early"),
    ] {
        switch(device, offload, "off")?;
        let found = found(&session)?;
        ensure!(
            found == [format!("{rule} node/n1 {device}")],
            "{device} {offload}: {found:?}"
        );
        switch(device, offload, "on")?;
    }
    let pod = |pod, mtu| run("ip", &["-n", pod, "link", "set", "eth0", "mtu", mtu]);
    pod("nettoll-n2-a", "1480")?;
    let wrong = found(&session)?;
    ensure!(wrong == ["mtu-differs pod/lab/n1-a eth0"], "{wrong:?}");
    pod("nettoll-n1-a", "1480")?;
    let wrong = found(&session)?;
    ensure!(
        wrong
            == [
                "mtu-over-tunnel pod/lab/n1-a eth0",
                "mtu-over-tunnel pod/lab/n2-a eth0"
            ],
        "{wrong:?}"
    );
    pod("nettoll-n1-a", "1450")?;
    pod("nettoll-n2-a", "1450")?;
    let node = ["-n", "nettoll-n1", "link", "set", "eth0", "mtu", "1490"];
    run("ip", &node)?;
    let wrong = found(&session)?;
    ensure!(
        wrong
            == [
                "fragmented-after-encapsulation node/n1 flannel.1",
                "mtu-differs node/n1 eth0"
            ],
        "{wrong:?}"
    );
    Ok(())
}

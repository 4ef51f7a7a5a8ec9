//! A real Prometheus scrapes a real cluster, and the questions that users have are answered.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nettoll_core::{
    api::{Job, ProbeMode, TestJob},
    exposition::{RTT_BOUNDS_NS, STAGE_BOUNDS_NS},
    report::{Options, TestType},
};
use nettoll_tests::{
    cluster::{
        NAMESPACE, eventually,
        leader::leader,
        on, pods,
        prometheus::{Forwarded, Histograms, Prometheus},
        ready,
    },
    promtool::check_metrics,
};

/// For two scrapes of the same times.
const SAME: Duration = Duration::from_secs(20);

/// One measured path with everything: probe and samples.
fn measure(api: &Forwarded) -> Result<()> {
    let (from, to) = (on("endpoint-a", "n1")?, on("endpoint-a", "n2")?);
    let job = Job::Test(TestJob {
        from: format!("pod/{NAMESPACE}/{}", from.name).parse()?,
        to: format!("pod/{NAMESPACE}/{}", to.name).parse()?,
        network: None,
        test: TestType::TcpRr,
        options: Options {
            seconds: 2.0,
            rounds: 10,
            warmup_ms: 20,
            message_bytes: 131_072,
            request_bytes: 64,
            response_bytes: 64,
            sample_hz: 997,
            mss_bytes: None,
            datagram_bytes: 1_400,
            rate_bits_per_second: None,
        },
        against: None,
        probe: ProbeMode::On,
    });
    let (status, events) = api.ask("POST", "/api/v1/jobs", &serde_json::to_string(&job)?)?;
    ensure!(
        status == 200 && events.contains("\"done\""),
        "{status} {events}"
    );
    Ok(())
}

#[test]
fn the_questions_of_users_are_answered() -> Result<()> {
    ready()?;
    let mut targets = Vec::new();
    for component in ["agent", "controller"] {
        let all = pods(component)?;
        targets.extend(all.iter().map(|pod| format!("{}:9471", pod.address)));
    }
    assert_eq!(targets.len(), 4);
    let prometheus = Prometheus::start(&targets, Histograms::Classic)?;
    let native = Prometheus::start(&targets, Histograms::Native)?;
    let api = Forwarded::to(&leader()?.name)?;
    measure(&api)?;
    let (status, page) = api.ask("GET", "/metrics", "")?;
    ensure!(status == 200, "{status} {page}");
    check_metrics(&page)?;

    for (query, least) in [
        ("count(up == 1)", 4.0),
        // The mesh: both nodes probe each other, on their own network and between pods.
        (r#"sum(nettoll_mesh_members{agent="answers"})"#, 2.0),
        (r#"count(nettoll_up{path="host-to-host"} == 1)"#, 2.0),
        (r#"count(nettoll_up{path="pod-to-pod"} == 1)"#, 2.0),
        (
            r#"count(nettoll_up{from_zone="zone-a", to_zone="zone-b"} == 1)"#,
            2.0,
        ),
        // What does the overlay cost between these nodes?
        (
            r#"max by (from_node, to_node) (nettoll_toll_ratio{path="pod-to-pod", metric="rtt_mean"})"#,
            // A few rounds of a busy machine: that there is one, not how much it is.
            0.1,
        ),
        // How slow is it at worst?
        (
            r#"max by (from_node, to_node) (nettoll_rtt_p99_seconds{path="pod-to-pod"})"#,
            1e-6,
        ),
        (
            r#"histogram_quantile(0.99, sum by (le, path) (nettoll_rtt_seconds_bucket{path="pod-to-pod"}))"#,
            1e-6,
        ),
        // Where does it go, and what does encapsulation cost of the processor?
        (
            r#"sum by (stage) (nettoll_stage_latency_seconds_sum{stage="encap"})"#,
            1e-9,
        ),
        (
            r#"sum(nettoll_agent_stage_cpu_seconds_total{stage="encap"}) / sum(nettoll_agent_stage_packets_total{stage="encap"})"#,
            1e-9,
        ),
        (
            r#"sum(nettoll_component_cpu_seconds_total{component="encap"})"#,
            1e-9,
        ),
        // Is the probe there, and does it see everything?
        (
            r#"count(nettoll_hook_state{hook="net_dev_start_xmit", state="ready"} == 1)"#,
            2.0,
        ),
    ] {
        let vector = prometheus.answers(query)?;
        println!("{query}: {vector:?}");
        for (_, value) in vector {
            ensure!(value >= least, "{query}: {value}");
        }
    }
    for (histogram, bounds) in [
        ("nettoll_rtt_seconds", &RTT_BOUNDS_NS[..]),
        ("nettoll_stage_latency_seconds", &STAGE_BOUNDS_NS),
        ("nettoll_agent_stage_latency_seconds", &STAGE_BOUNDS_NS),
    ] {
        for quantile in [0.5, 0.99] {
            // The mesh goes on: two scrapes may have other times.
            eventually(SAME, || {
                same_quantile(&prometheus, &native, histogram, bounds, quantile)
            })?;
        }
    }
    Ok(())
}

/// The native histogram has a quantile of all times in the classic one's bucket, or within its own
/// next to that.
fn same_quantile(
    classic: &Prometheus,
    native: &Prometheus,
    histogram: &str,
    bounds_ns: &[u64],
    quantile: f64,
) -> Result<()> {
    let one = |prometheus: &Prometheus, query: &str| {
        let vector = prometheus.answers(query)?;
        println!("{query}: {vector:?}");
        let (_, value) = vector.first().context("no value")?;
        Ok::<_, anyhow::Error>(*value)
    };
    let query = format!("histogram_quantile({quantile}, sum by (le) ({histogram}_bucket))");
    let found = one(classic, &query)? * 1e9;
    let query = format!("histogram_quantile({quantile}, sum({histogram}))");
    let exact = one(native, &query)? * 1e9;
    let place = bounds_ns.partition_point(|&bound| (bound as f64) < found);
    let low = place.checked_sub(1).map_or(0, |below| bounds_ns[below]);
    let high = bounds_ns.get(place).copied().unwrap_or(u64::MAX);
    ensure!(
        low as f64 / 1.1 <= exact && exact <= high as f64 * 1.1,
        "{query}: {exact} ns, not in {low} to {high} ns"
    );
    Ok(())
}

//! What both sides saw in each round → the report's rounds, and the figures over them.

use nettoll_core::{
    api::RoundSide,
    histogram::{Histogram, USER_SUB_BITS},
    report::{Distribution, Estimate, Round, TestType},
    stats,
};

use crate::jobs::sides::{MeasuredRound, Sides};

/// A round for the report; one that failed twice is in it twice.
pub(super) fn round(test: TestType, one_kernel: bool, measured: &MeasuredRound) -> Round {
    let MeasuredRound { spec, outcome } = measured;
    let mut round = Round {
        pair: spec.pair,
        sequence: spec.sequence,
        probe: spec.probe,
        seconds: 0.0,
        bytes: None,
        transactions: None,
        lost: None,
        throughput_bits_per_second: None,
        rtt_mean_ns: None,
        rtt_p50_ns: None,
        cpu_busy_seconds: None,
        invalid_reason: None,
        disturbed: false,
    };
    let sides = match outcome {
        Ok(sides) => sides,
        Err(reason) => {
            round.invalid_reason = Some(reason.clone());
            return round;
        }
    };
    let client = &sides.client;
    round.seconds = client.seconds;
    round.cpu_busy_seconds = busy_seconds(sides, one_kernel);
    round.invalid_reason = sides.invalid_reason().map(str::to_owned);
    round.disturbed = sides.disturbance().is_some();
    if test.is_stream() {
        round.bytes = Some(client.bytes);
        round.throughput_bits_per_second = bits_per_second(client);
    } else {
        let rtt = client
            .rtt
            .as_ref()
            .map(|rtt| Histogram::from_times(USER_SUB_BITS, rtt));
        round.transactions = Some(client.transactions);
        round.lost = Some(client.lost);
        round.rtt_mean_ns = rtt.as_ref().and_then(Histogram::mean);
        round.rtt_p50_ns = rtt.as_ref().and_then(|rtt| rtt.percentile(50.0));
    }
    round
}

/// Of all CPUs that the round kept busy: one kernel's are counted once.
fn busy_seconds(Sides { client, server }: &Sides, one_kernel: bool) -> Option<f64> {
    match server {
        Some(server) if !one_kernel => Some(client.cpu_busy_seconds? + server.cpu_busy_seconds?),
        _ => client.cpu_busy_seconds,
    }
}

fn bits_per_second(side: &RoundSide) -> Option<f64> {
    (side.seconds > 0.0).then(|| side.bytes as f64 * 8.0 / side.seconds)
}

fn transactions_per_second(side: &RoundSide) -> Option<f64> {
    (side.seconds > 0.0).then(|| side.transactions as f64 / side.seconds)
}

/// The rounds whose figures are the run's: those with the probe if it has any, and of these the
/// good ones.
pub(super) fn reported(measured: &[MeasuredRound]) -> Vec<&Sides> {
    let probe = measured.iter().any(|round| round.spec.probe);
    measured
        .iter()
        .filter(|round| round.spec.probe == probe)
        .filter_map(|round| round.outcome.as_ref().ok())
        .filter(|sides| sides.invalid_reason().is_none())
        .collect()
}

/// The rounds of which the probe's counts are, good or not.
pub(super) fn probed(measured: &[MeasuredRound]) -> Vec<&Sides> {
    let probed = measured.iter().filter(|round| round.spec.probe);
    probed
        .filter_map(|round| round.outcome.as_ref().ok())
        .collect()
}

/// All rounds that have figures, good or not.
pub(super) fn measured(measured: &[MeasuredRound]) -> Vec<&Sides> {
    let outcomes = measured.iter();
    outcomes
        .filter_map(|round| round.outcome.as_ref().ok())
        .collect()
}

/// Payload of a stream.
pub(super) fn throughput(test: TestType, reported: &[&Sides]) -> Option<Estimate> {
    if !test.is_stream() {
        return None;
    }
    mean(reported, bits_per_second)
}

/// Requests with their answers.
pub(super) fn transactions(test: TestType, reported: &[&Sides]) -> Option<Estimate> {
    if !matches!(test, TestType::TcpRr | TestType::UdpRr) {
        return None;
    }
    mean(reported, transactions_per_second)
}

fn mean(reported: &[&Sides], of: fn(&RoundSide) -> Option<f64>) -> Option<Estimate> {
    let values: Option<Vec<f64>> = reported.iter().map(|sides| of(&sides.client)).collect();
    // No rounds, no figure.
    stats::estimate(&values?).ok()
}

/// The times of all rounds together; percentiles come from the merged histogram.
pub(super) fn rtt(reported: &[&Sides]) -> Option<Distribution> {
    let mut all = Histogram::new(USER_SUB_BITS);
    for times in reported
        .iter()
        .filter_map(|sides| sides.client.rtt.as_ref())
    {
        all.merge_times(times);
    }
    all.to_distribution()
}

/// The sum over rounds of something on the client.
pub(super) fn sum(reported: &[&Sides], of: fn(&RoundSide) -> u64) -> u64 {
    reported.iter().map(|sides| of(&sides.client)).sum()
}

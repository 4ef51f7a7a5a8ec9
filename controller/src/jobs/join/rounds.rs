//! What both sides saw in each round → the report's rounds, and the figures over them.

use nettoll_core::{
    api::RoundSide,
    datagrams::Arrived,
    histogram::{Histogram, USER_SUB_BITS},
    report::{Distribution, Estimate, Options, Round, TestType, Udp},
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
        round.lost = client.sent.map(|_| client.lost);
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

/// Datagrams that came for less than this part of the client's time ended early.
const EARLY: f64 = 0.9;

fn bits_per_second(side: &RoundSide) -> Option<f64> {
    // Datagrams take the time in which they come: the client's call may return when its queue is half
    // empty. Where they ended early, nothing came for the rest of the client's time.
    let arriving = side.arrived.as_ref().map(|all| all.seconds);
    let seconds = match arriving {
        Some(arriving) if arriving >= EARLY * side.seconds => arriving,
        _ => side.seconds,
    };
    (seconds > 0.0).then(|| side.bytes as f64 * 8.0 / seconds)
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

/// What became of datagrams.
pub(super) fn udp(options: &Options, reported: &[&Sides]) -> Option<Udp> {
    let all: Vec<(&RoundSide, u64, &Arrived)> = reported
        .iter()
        .map(|sides| &sides.client)
        .filter_map(|side| Some((side, side.sent?, side.arrived.as_ref()?)))
        .collect();
    if all.is_empty() {
        return None;
    }
    let sum =
        |of: fn(&Arrived) -> u64| -> u64 { all.iter().map(|(_, _, arrived)| of(arrived)).sum() };
    let over_rounds = |values: Option<Vec<f64>>| stats::estimate(&values?).ok();
    let sent: u64 = all.iter().map(|(_, sent, _)| sent).sum();
    let lost: u64 = all.iter().map(|(side, _, _)| side.lost).sum();
    let bits = f64::from(options.datagram_bytes) * 8.0;
    let rate = |&(side, sent, _): &(&RoundSide, u64, &Arrived)| {
        (side.seconds > 0.0).then(|| sent as f64 * bits / side.seconds)
    };
    Some(Udp {
        sent,
        sent_bits_per_second: over_rounds(all.iter().map(rate).collect()),
        arrived: sum(|arrived| arrived.datagrams),
        lost_share: (sent > 0).then(|| lost as f64 / sent as f64),
        without_room: all.iter().map(|(_, _, arrived)| arrived.without_room).sum(),
        reordered: sum(|arrived| arrived.reordered),
        duplicates: sum(|arrived| arrived.duplicates),
        jitter_ns: over_rounds(
            all.iter()
                .map(|(_, _, arrived)| arrived.jitter_ns)
                .collect(),
        ),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(sent: u64, arrived: u64, seconds: f64) -> Sides {
        let client = RoundSide {
            seconds: 0.5,
            bytes: sent * 1_400,
            sent: Some(sent),
            ..RoundSide::default()
        };
        let server = RoundSide {
            arrived: Some(Arrived {
                datagrams: arrived,
                bytes: arrived * 1_400,
                seconds,
                jitter_ns: Some(10.0),
                without_room: Some(1),
                ..Arrived::default()
            }),
            ..RoundSide::default()
        };
        Sides::of(client, Some(server))
    }

    #[test]
    fn what_is_sent_and_does_not_arrive_is_lost() {
        let rounds = [sides(1_000, 980, 0.499), sides(1_000, 970, 0.501)];
        let reported: Vec<_> = rounds.iter().collect();
        let udp = udp(&Options::default(), &reported).unwrap();
        assert_eq!(
            (udp.sent, udp.arrived, udp.lost_share),
            (2_000, 1_950, Some(0.025))
        );
        assert_eq!(udp.without_room, Some(2));
        assert_eq!(udp.jitter_ns.unwrap().mean, 10.0);
        let sent = udp.sent_bits_per_second.unwrap().mean;
        assert!(
            (sent - 1_000.0 * 1_400.0 * 8.0 / 0.5).abs() < 1e-3,
            "{sent}"
        );
        assert_eq!(sum(&reported, |side| side.lost), 50);
        assert_eq!(super::udp(&Options::default(), &[]), None);
    }

    #[test]
    fn throughput_is_of_the_time_in_which_datagrams_come() {
        let rate = |sides: &Sides| bits_per_second(&sides.client).unwrap();
        // A queue that empties after the client's last call.
        let late = rate(&sides(1_000, 1_000, 0.51));
        assert!(
            (late - 1_000.0 * 1_400.0 * 8.0 / 0.51).abs() < 1e-3,
            "{late}"
        );
        // A path that went away halfway.
        let broken = rate(&sides(1_000, 500, 0.25));
        assert!(
            (broken - 500.0 * 1_400.0 * 8.0 / 0.5).abs() < 1e-3,
            "{broken}"
        );
    }
}

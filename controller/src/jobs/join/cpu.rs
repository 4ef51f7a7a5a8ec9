//! Processor time of one node, or of the kernel that both share.

use nettoll_core::{
    api::{RoundSide, Stacks},
    report::{CpuSide, NodeContext, Share},
};

/// The component of a CPU that had nothing to do.
const IDLE: &str = "idle";
/// The sampling source that fires on idle CPUs too, so that shares are shares of all time;
/// hardware cycles stand still there.
const CLOCK: &str = "cpu-clock";

/// What the time was spent for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amounts {
    /// Of streams.
    pub(super) bytes: Option<u64>,
    /// Of the other tests.
    pub(super) transactions: Option<u64>,
}

/// Utilisation and service demand over the rounds, by samples where these tell it.
pub(super) fn side(
    node: &NodeContext,
    rounds: &[&RoundSide],
    sampled: Option<(&Stacks, &[Share])>,
    amounts: Amounts,
) -> Option<CpuSide> {
    let seconds: f64 = rounds.iter().map(|round| round.seconds).sum();
    let available = seconds * f64::from(node.cpus);
    if available <= 0.0 {
        return None;
    }
    let (utilisation, source) = match sampled.and_then(busy_share) {
        Some(share) => (share, "samples"),
        None => {
            let busy: Option<f64> = rounds.iter().map(|round| round.cpu_busy_seconds).sum();
            (busy? / available, "proc_stat")
        }
    };
    let per = |amount: Option<u64>| {
        amount
            .filter(|&n| n > 0)
            .map(|n| utilisation * available * 1e9 / n as f64)
    };
    Some(CpuSide {
        utilisation,
        service_demand_ns_per_byte: per(amounts.bytes),
        service_demand_ns_per_transaction: per(amounts.transactions),
        source: source.to_owned(),
    })
}

/// The share of samples that were not idle, where the source samples idle CPUs at all.
fn busy_share((stacks, components): (&Stacks, &[Share])) -> Option<f64> {
    let sum = |idle: bool| -> u64 {
        components
            .iter()
            .filter(|share| (share.name == IDLE) == idle)
            .map(|share| share.samples)
            .sum()
    };
    let (busy, idle) = (sum(false), sum(true));
    (stacks.source == CLOCK && busy + idle > 0).then(|| busy as f64 / (busy + idle) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeContext {
        NodeContext {
            node: "n1".into(),
            agent_version: String::new(),
            kernel: String::new(),
            boot_id: String::new(),
            cpu_model: String::new(),
            cpus: 2,
            clock_source: String::new(),
            cni: None,
            devices: Vec::new(),
        }
    }

    fn share(name: &str, samples: u64) -> Share {
        Share {
            name: name.into(),
            samples,
            share: 0.0,
            share_ci95: [0.0, 1.0],
            ns_per_byte: None,
            ns_per_packet: None,
        }
    }

    #[test]
    fn samples_tell_more_than_ticks_unless_idle_cpus_are_not_sampled() {
        let round = RoundSide {
            seconds: 2.0,
            cpu_busy_seconds: Some(1.0),
            ..RoundSide::default()
        };
        let amounts = Amounts {
            bytes: Some(4_000_000),
            transactions: None,
        };
        let mut stacks = Stacks {
            source: CLOCK.into(),
            ..Stacks::default()
        };
        let components = [share("tcp", 20), share("copy", 30), share(IDLE, 50)];

        let sampled = side(&node(), &[&round], Some((&stacks, &components)), amounts).unwrap();
        assert_eq!(
            (sampled.utilisation, sampled.source.as_str()),
            (0.5, "samples")
        );
        // Half of 2 s on 2 CPUs over 4 MB.
        assert_eq!(sampled.service_demand_ns_per_byte, Some(500.0));
        assert_eq!(sampled.service_demand_ns_per_transaction, None);

        stacks.source = "cycles".into();
        let ticks = side(&node(), &[&round], Some((&stacks, &components)), amounts).unwrap();
        assert_eq!(
            (ticks.utilisation, ticks.source.as_str()),
            (0.25, "proc_stat")
        );
        assert_eq!(side(&node(), &[], None, amounts), None);
    }
}

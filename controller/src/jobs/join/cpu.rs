//! Processor time of one node, or of the kernel that both share.

use nettoll_core::{
    api::{RoundSide, Stacks},
    report::{CpuSide, NodeContext},
};

use super::samples;

/// What the time was spent for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amounts {
    /// Of streams.
    pub(super) bytes: Option<u64>,
    /// Of the other tests.
    pub(super) transactions: Option<u64>,
}

/// Utilisation and service demand over the rounds, by samples where these tell it. `besides`: the
/// rounds of another agent on this kernel, whose time is the test's as well.
pub(super) fn side(
    node: &NodeContext,
    rounds: &[&RoundSide],
    besides: &[&RoundSide],
    sampled: Option<&Stacks>,
    amounts: Amounts,
) -> Option<CpuSide> {
    let seconds: f64 = rounds.iter().map(|round| round.seconds).sum();
    let available = seconds * f64::from(node.cpus);
    if available <= 0.0 {
        return None;
    }
    let (utilisation, source) = match sampled.and_then(samples::busy_share) {
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
        others: others_seconds(rounds, besides).map(|seconds| seconds / available),
        source: source.to_owned(),
    })
}

/// Processor time of other processes than the agents, at least: what ran outside of interrupts
/// and softirqs, without all that the agents used.
fn others_seconds(rounds: &[&RoundSide], besides: &[&RoundSide]) -> Option<f64> {
    let tasks: Option<f64> = rounds.iter().map(|round| round.cpu_tasks_seconds).sum();
    let agents = rounds.iter().chain(besides);
    let own: Option<f64> = agents.map(|round| round.cpu_own_seconds).sum();
    Some((tasks? - own?).max(0.0))
}

#[cfg(test)]
mod tests {
    use nettoll_core::api::Stack;

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

    fn stack(thread: &str, frame: &str, samples: u64) -> Stack {
        let frames = vec![frame.to_owned()];
        Stack {
            thread: thread.into(),
            frames,
            samples,
        }
    }

    #[test]
    fn what_no_agent_used_is_others() {
        let round = |tasks, own| RoundSide {
            seconds: 2.0,
            cpu_busy_seconds: Some(3.0),
            cpu_tasks_seconds: tasks,
            cpu_own_seconds: own,
            ..RoundSide::default()
        };
        let amounts = Amounts {
            bytes: None,
            transactions: None,
        };
        let others = |round: &RoundSide, besides: &[&RoundSide]| {
            let side = side(&node(), &[round, round], besides, None, amounts);
            side.unwrap().others
        };
        // Of 8 s on two CPUs in two rounds of 2 s.
        let alone = round(Some(2.0), Some(0.5));
        assert_eq!(others(&alone, &[]), Some(3.0 / 8.0));
        assert_eq!(others(&alone, &[&alone, &alone]), Some(2.0 / 8.0));
        // Softirqs on an agent's back are in its own time, and in no task's.
        assert_eq!(others(&round(Some(1.0), Some(1.5)), &[]), Some(0.0));
        assert_eq!(others(&round(Some(2.0), None), &[]), None);
        assert_eq!(others(&round(None, Some(0.5)), &[]), None);
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
            hz: 99,
            source: "cpu-clock".into(),
            stacks: vec![
                stack("t", "tcp_sendmsg", 50),
                stack("swapper", "default_idle", 50),
            ],
            ..Stacks::default()
        };

        let sampled = side(&node(), &[&round], &[], Some(&stacks), amounts).unwrap();
        assert_eq!(
            (sampled.utilisation, sampled.source.as_str()),
            (0.5, "samples")
        );
        // Half of 2 s on 2 CPUs over 4 MB.
        assert_eq!(sampled.service_demand_ns_per_byte, Some(500.0));
        assert_eq!(sampled.service_demand_ns_per_transaction, None);

        stacks.source = "cycles".into();
        let ticks = side(&node(), &[&round], &[], Some(&stacks), amounts).unwrap();
        assert_eq!(
            (ticks.utilisation, ticks.source.as_str()),
            (0.25, "proc_stat")
        );
        assert_eq!(side(&node(), &[], &[], None, amounts), None);
    }
}

//! The streams of the mesh: for each pair one a day, at its own time of the day.
//!
//! A stream takes what its path gives, so no budget bounds its rate. It is paid for afterwards:
//! before the bits of its last one are within what the budget gives a node in the time since, that
//! node has no other stream; and so it is for the cluster. So a day's mean is within the budgets.

use std::{collections::HashMap, sync::Arc};

use super::{Plan, State};
use crate::inventory::Member;

/// Who waits for a stream, and who still pays for one.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Pairs were called up to this Unix time.
    called_ms: Option<u64>,
    /// Since when pairs wait, by id.
    waiting: HashMap<u64, u64>,
    /// What nodes still pay for, by name.
    debts: HashMap<String, Debt>,
    /// What the cluster still pays for.
    cluster: Debt,
}

/// Bits that a budget pays for from a time on: by the budget of today, whatever it was then.
#[derive(Clone, Copy, Debug, Default)]
struct Debt {
    bits: u64,
    since_ms: u64,
}

impl Debt {
    /// What is left of it.
    fn left(self, bits_per_second: u64, now_ms: u64) -> u64 {
        let ms = now_ms.saturating_sub(self.since_ms);
        let paid = u128::from(ms) * u128::from(bits_per_second.max(1)) / 1_000;
        self.bits
            .saturating_sub(u64::try_from(paid).unwrap_or(u64::MAX))
    }
}

/// A stream that may begin.
#[derive(Clone, Debug)]
pub struct StreamOrder {
    /// Its pair.
    pub pair: u64,
    /// The client's node.
    pub from: Arc<Member>,
    /// The server's node.
    pub to: Arc<Member>,
    /// Measured time on each of the pair's paths.
    pub seconds: u32,
}

/// What a stream came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stream {
    /// Payload on `host-to-host` and on `pod-to-pod`, where the run was good.
    pub bytes_per_second: [Option<f64>; 2],
    /// The throughput of `pod-to-pod` over that of `host-to-host`.
    pub toll: Option<f64>,
}

/// A stream, and when it ended by the caller's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streamed {
    pub(super) stream: Stream,
    pub(super) at_ms: u64,
}

impl Streamed {
    /// It is of the last day, or of a little more where the next one waits for its turn.
    pub(super) fn is_fresh(&self, now_ms: u64, plan: &Plan) -> bool {
        let day_ms = plan.settings.stream_period_ms();
        now_ms.saturating_sub(self.at_ms) <= day_ms.saturating_add(day_ms / 4)
    }
}

impl State {
    /// From now on those pairs wait for their stream whose time of the day has come since the last
    /// call. `unix_ms` is the time of all controllers, so that a new leader goes on with the day.
    pub fn call_streams(&mut self, unix_ms: u64) {
        let Self { plan, streams, .. } = self;
        let settings = &plan.settings;
        let before = streams.called_ms.replace(unix_ms);
        if !settings.streams {
            streams.waiting.clear();
            return;
        }
        // A clock that was set back calls nobody twice.
        let Some(passed) = before.and_then(|before| unix_ms.checked_sub(before)) else {
            return;
        };
        let day_ms = settings.stream_period_ms();
        for pair in plan.pairs().iter().filter(|pair| pair.exported) {
            let since_its_time = (unix_ms + day_ms - pair.id % day_ms) % day_ms;
            if since_its_time < passed {
                streams.waiting.entry(pair.id).or_insert(unix_ms);
            }
        }
    }

    /// The streams that the budgets let begin, those that wait longest first. Who has no pod has
    /// no pod network to measure.
    #[must_use]
    pub fn due_streams(&self, now_ms: u64) -> Vec<StreamOrder> {
        let (streams, settings) = (&self.streams, &self.plan.settings);
        let of_cluster = settings.stream_cluster_bits_per_second;
        if streams.cluster.left(of_cluster, now_ms) > 0 {
            return Vec::new();
        }
        let mut waiting: Vec<(u64, u64)> = streams
            .waiting
            .iter()
            .map(|(&pair, &since)| (since, pair))
            .collect();
        waiting.sort_unstable();
        let orders = waiting.into_iter().filter_map(|(_, id)| {
            let pair = self.plan.pairs().get(*self.ids.get(&id)?)?;
            let members = self.plan.members();
            let ends = [members.get(pair.from)?, members.get(pair.to)?];
            let free = |end: &Member| {
                let debt = streams.debts.get(&end.name);
                let left = |debt: &Debt| debt.left(settings.stream_node_bits_per_second, now_ms);
                end.pod.is_some() && debt.map_or(0, left) == 0
            };
            let [from, to] = ends;
            (free(from) && free(to)).then(|| StreamOrder {
                pair: id,
                from: Arc::clone(from),
                to: Arc::clone(to),
                seconds: settings.stream_seconds,
            })
        });
        orders.collect()
    }

    /// A stream begins: its pair waits no more until its time comes again.
    pub fn begin_stream(&mut self, pair: u64) {
        self.streams.waiting.remove(&pair);
    }

    /// A stream ended: so many bits are to be paid for by its nodes. Without a result, or one that
    /// says nothing, the last one stays until it is too old.
    pub fn end_stream(
        &mut self,
        order: &StreamOrder,
        result: Option<Stream>,
        bits: u64,
        now_ms: u64,
    ) {
        let settings = &self.plan.settings;
        let streams = &mut self.streams;
        let of_node = settings.stream_node_bits_per_second;
        streams
            .debts
            .retain(|_, debt| debt.left(of_node, now_ms) > 0);
        let since_ms = now_ms;
        for end in [&order.from, &order.to] {
            streams
                .debts
                .insert(end.name.clone(), Debt { bits, since_ms });
        }
        // Several end while the cluster pays: each adds its own.
        let of_cluster = settings.stream_cluster_bits_per_second;
        let left = streams.cluster.left(of_cluster, now_ms);
        streams.cluster = Debt {
            bits: left.saturating_add(bits),
            since_ms,
        };
        let index = self.ids.get(&order.pair);
        if let Some(stream) = result.filter(|stream| *stream != Stream::default())
            && let Some(state) = index.and_then(|&index| self.pairs.get_mut(index))
        {
            let at_ms = now_ms;
            state.stream = Some(Streamed { stream, at_ms });
        }
    }

    /// Forgets who is not in the plan any more.
    pub(super) fn forget_streams(&mut self) {
        let (ids, members) = (&self.ids, &self.members);
        self.streams
            .waiting
            .retain(|pair, _| ids.contains_key(pair));
        self.streams
            .debts
            .retain(|node, _| members.contains_key(node));
    }
}

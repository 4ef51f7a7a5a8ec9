use super::*;

const DAY_MS: u64 = 86_400_000;
const MINUTE_MS: u64 = 60_000;

fn state(nodes: u32, settings: &Settings) -> State {
    let mut state = State::default();
    state.plan_for(&cluster(nodes), settings);
    state
}

/// The streams that begin while the clock goes from one time to another, each as long as it takes
/// to look.
fn begun(state: &mut State, from_ms: u64, to_ms: u64) -> Vec<(u64, u64)> {
    let mut begun = Vec::new();
    for now_ms in (from_ms..=to_ms).step_by(MINUTE_MS as usize) {
        state.call_streams(now_ms);
        for order in state.due_streams(now_ms) {
            state.begin_stream(order.pair);
            begun.push((now_ms, order.pair));
        }
    }
    begun
}

#[test]
fn each_pair_has_one_a_day_whoever_leads() {
    let start = 20_000 * DAY_MS + 7;
    let settings = Settings::default();
    let mut first = state(60, &settings);
    let mut all = begun(&mut first, start, start + DAY_MS / 2);
    let mut second = state(60, &settings);
    all.extend(begun(&mut second, start + DAY_MS / 2, start + DAY_MS));
    let distinct: BTreeSet<u64> = all.iter().map(|&(_, pair)| pair).collect();
    assert_eq!(all.len(), distinct.len());
    assert_eq!(distinct.len(), first.plan().pairs().len());
    // About as many in each of 8 parts of the day: some 40 of 312, standard deviation 6.
    let mut parts = [0; 8];
    for (at, _) in all {
        parts[((at - start - 1) * 8 / DAY_MS) as usize] += 1;
    }
    assert!(
        parts.iter().all(|part| (15..65).contains(part)),
        "{parts:?}"
    );
}

#[test]
fn a_clock_that_jumps_calls_nobody_twice() {
    let mut state = state(10, &Settings::default());
    let pairs = state.plan().pairs().len();
    state.call_streams(5 * DAY_MS);
    state.call_streams(9 * DAY_MS);
    state.call_streams(3 * DAY_MS);
    assert_eq!(state.due_streams(0).len(), pairs);
    // Nor do pairs that left the plan have one.
    state.plan_for(&cluster(4), &Settings::default());
    assert!(state.due_streams(0).len() <= state.plan().pairs().len());
    state.plan_for(&cluster(4), &with(|s| s.streams = false));
    state.call_streams(4 * DAY_MS);
    assert!(state.due_streams(0).is_empty());
}

#[test]
fn streams_are_paid_for() {
    let mut state = state(20, &Settings::default());
    state.call_streams(0);
    state.call_streams(DAY_MS);
    let orders = state.due_streams(1_000);
    let order = orders[0].clone();
    state.begin_stream(order.pair);
    // 20 Gbit: 2,000 s of a node's budget, 2 s of the cluster's.
    state.end_stream(&order, None, 20_000_000_000, 1_000);
    assert!(state.due_streams(2_999).is_empty());
    let others = state.due_streams(3_000);
    let ends = [&order.from.name, &order.to.name];
    let pays =
        |order: &StreamOrder| ends.contains(&&order.from.name) || ends.contains(&&order.to.name);
    assert!(!others.is_empty() && !others.iter().any(pays));
    let all = state.due_streams(2_001_000);
    assert_eq!(all.len(), orders.len() - 1);
    assert!(all.iter().any(pays));
    // Whoever ends while the cluster pays adds to it.
    for order in &others[..2] {
        state.end_stream(order, None, 20_000_000_000, 3_000_000);
    }
    assert!(state.due_streams(3_003_999).is_empty());
    assert!(!state.due_streams(3_004_000).is_empty());
}

#[test]
fn a_raised_budget_pays_for_what_was_carried_before() {
    let mut state = state(2, &Settings::default());
    state.call_streams(0);
    state.call_streams(DAY_MS);
    let order = state.due_streams(0).remove(0);
    state.begin_stream(order.pair);
    // 2,000 s of the default budget, 2 s of the new one.
    state.end_stream(&order, None, 20_000_000_000, 0);
    assert!(state.due_streams(1_999_999).is_empty());
    let more = with(|s| s.stream_node_bits_per_second = 10_000_000_000);
    state.plan_for(&cluster(2), &more);
    state.call_streams(2 * DAY_MS);
    assert!(state.due_streams(1_999).is_empty());
    assert!(!state.due_streams(2_000).is_empty());
}

#[test]
fn what_a_stream_says_holds_for_a_day() {
    let mut state = state(2, &Settings::default());
    state.call_streams(0);
    state.call_streams(DAY_MS);
    let order = state.due_streams(0).remove(0);
    let stream = Stream {
        bytes_per_second: [Some(1e9), Some(6e8)],
        toll: Some(0.6),
    };
    state.end_stream(&order, Some(stream), 1, 0);
    let seen = |state: &mut State, now_ms: u64| {
        for kind in ["h", "p"] {
            let edge = format!("{:016x}-{kind}", order.pair);
            let (judged, _) = state.take(&order.from.name, &round(&edge, 50, 0, 1e5), now_ms);
            assert_eq!(judged, Round::Counted);
        }
        let edges = state.edges(now_ms, true);
        edges
            .map(|edge| (edge.bytes_per_second, edge.throughput_toll))
            .collect::<Vec<_>>()
    };
    let known = [(Some(1e9), None), (Some(6e8), Some(0.6))];
    assert_eq!(seen(&mut state, DAY_MS), known);
    // One that gave nothing leaves the last one, until that is too old.
    state.end_stream(&order, None, 1, DAY_MS);
    state.end_stream(&order, Some(Stream::default()), 1, DAY_MS);
    assert_eq!(seen(&mut state, DAY_MS * 5 / 4), known);
    assert_eq!(seen(&mut state, DAY_MS * 5 / 4 + 1), [(None, None); 2]);
}

//! A run's stacks as a profile that `go tool pprof`, Pyroscope and their like read.

use nettoll_core::{
    component::{USER_FRAME, component, unfolded},
    pprof::Profile,
    report::Run,
};

/// The profile of one run. Each sample has the labels `path`, `network` (where there is one),
/// `test`, `run`, `component` and `thread`.
pub(crate) fn profile(run: &Run, folded: &str) -> Vec<u8> {
    let period_ns = 1_000_000_000_u64
        .checked_div(run.options.sample_hz.into())
        .unwrap_or_default();
    let mut profile = Profile::new();
    for stack in folded.lines().filter_map(unfolded) {
        let mut labels = vec![
            ("path", run.path.kind.as_str()),
            ("test", run.test.as_str()),
            ("run", &run.id),
            ("component", component(&stack).as_str()),
            ("thread", &stack.thread),
        ];
        labels.extend(run.path.network.as_deref().map(|name| ("network", name)));
        let user = stack.frames.is_empty().then_some(USER_FRAME);
        let frames = stack.frames.iter().rev().map(String::as_str).chain(user);
        profile.add(frames, stack.samples, stack.samples * period_ns, &labels);
    }
    profile.encode(period_ns)
}

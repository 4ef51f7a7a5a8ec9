//! Samples added up.

use std::collections::BTreeMap;

use super::{Component, Region, component, in_region};
use crate::{
    api::{Stack, Stacks},
    report::Share,
    stats::share_ci95,
};

/// What stands for the frames of a sample in user space.
pub const USER_FRAME: &str = "[user]";

/// A run's samples by component and by region.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    /// All components, also those without a sample; their shares sum to 1.
    pub components: Vec<Share>,
    /// All regions.
    pub regions: Vec<Share>,
}

/// Adds up a run's samples; `None` without any. A sample stands for 1 / hz seconds of one CPU.
///
/// `bytes` is the payload and `packets` the data-carrying `sk_buff`s of the request direction in
/// the sampled rounds; nothing is divided by 0. Samples whose stack was lost are in no figure.
#[must_use]
pub fn shares(stacks: &Stacks, bytes: u64, packets: u64) -> Option<Shares> {
    let sum = |is_in: &dyn Fn(&Stack) -> bool| -> u64 {
        let inside = stacks.stacks.iter().filter(|stack| is_in(stack));
        inside.map(|stack| stack.samples).sum()
    };
    let total = Some(sum(&|_| true)).filter(|&total| total > 0)?;
    let share = |name: &str, samples: u64| {
        let per = |divisor: u64| {
            let ns = samples as f64 * 1e9 / f64::from(stacks.hz);
            (stacks.hz > 0 && divisor > 0).then(|| ns / divisor as f64)
        };
        Share {
            name: name.to_owned(),
            samples,
            share: samples as f64 / total as f64,
            share_ci95: share_ci95(samples, total),
            ns_per_byte: per(bytes),
            ns_per_packet: per(packets),
            exact_ns_per_byte: None,
        }
    };
    let mut by_component: BTreeMap<Component, u64> = BTreeMap::new();
    for stack in &stacks.stacks {
        *by_component.entry(component(stack)).or_default() += stack.samples;
    }
    let samples = |class| by_component.get(&class).copied().unwrap_or(0);
    Some(Shares {
        components: Component::ALL
            .map(|class| share(class.as_str(), samples(class)))
            .to_vec(),
        regions: Region::ALL
            .map(|region| share(region.as_str(), sum(&|stack| in_region(stack, region))))
            .to_vec(),
    })
}

impl Shares {
    /// Puts the exact self time of the tunnels' transmit functions beside the region `encap`.
    pub fn set_exact_encap(&mut self, self_ns: u64, bytes: u64) {
        if bytes > 0
            && let Some(encap) = self
                .regions
                .iter_mut()
                .find(|share| share.name == Region::Encap.as_str())
        {
            encap.exact_ns_per_byte = Some(self_ns as f64 / bytes as f64);
        }
    }
}

/// The text that flame graph tools read: `thread;outermost;…;innermost COUNT`, one line for each
/// different stack, sorted.
#[must_use]
pub fn folded(stacks: &Stacks) -> String {
    // What the format itself uses must not come from a thread's name.
    let plain = |name: &str| name.replace(|c: char| c == ';' || c.is_control(), ":");
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for stack in &stacks.stacks {
        let mut line = plain(&stack.thread);
        let user = [USER_FRAME.to_owned()];
        let frames = if stack.frames.is_empty() {
            &user[..]
        } else {
            &stack.frames
        };
        for frame in frames {
            line.push(';');
            line.push_str(&plain(frame));
        }
        *lines.entry(line).or_default() += stack.samples;
    }
    lines
        .iter()
        .map(|(line, samples)| format!("{line} {samples}\n"))
        .collect()
}

/// A line of [`folded`] as the stack that it was. `None` where it is no such line.
#[must_use]
pub fn unfolded(line: &str) -> Option<Stack> {
    let (stack, samples) = line.rsplit_once(' ')?;
    let mut names = stack.split(';').map(str::to_owned);
    Some(Stack {
        thread: names.next()?,
        frames: names.filter(|name| name != USER_FRAME).collect(),
        samples: samples.parse().ok()?,
    })
}

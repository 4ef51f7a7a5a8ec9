//! What sampling stacks costs: tests that differ in their samples alone, in turn.

use anyhow::Result;
use nettoll_core::{random::SplitMix64, report::Run};

use super::{Effort, bed::Bed, comparison::Comparison, seed};

/// What a run samples at by default.
const HZ: u32 = 997;
/// As fast as `--sample-hz` allows: a tick's cost shows above the noise.
const FAST_HZ: u32 = 10_000;

/// A test that is run with samples and without.
struct Subject {
    test: &'static str,
    hz: u32,
    unit: &'static str,
    figure: fn(&Run) -> Option<f64>,
}

const STREAM: Subject = Subject {
    test: "tcp_stream",
    hz: HZ,
    unit: "Gbit/s",
    figure: |run| Some(run.throughput_bits_per_second?.mean / 1e9),
};
const PATH_COST: Subject = Subject {
    test: "path_cost",
    hz: FAST_HZ,
    unit: "ns",
    figure: |run| Some(run.rtt_ns.as_ref()?.mean),
};

pub(super) fn run(bed: &mut Bed<'_>, effort: Effort) -> Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    for subject in [STREAM, PATH_COST] {
        let pairs = subject.pairs(bed, effort)?;
        let Subject { test, hz, unit, .. } = subject;
        let name = format!("{test}, sampled at {hz} Hz over not sampled");
        comparisons.push(Comparison::of_pairs(name, unit, &pairs, None)?);
        if test == PATH_COST.test {
            let ticks: Vec<f64> = pairs.iter().map(|&pair| tick_us(pair, hz)).collect();
            let name = "a tick in the path over vxlan, a stack counted";
            comparisons.push(Comparison::of_differences(name, "µs", &ticks, None)?);
        }
    }
    Ok(comparisons)
}

/// What a tick takes of the thread's CPU, where what it does takes longer by all ticks in it.
fn tick_us([sampled, plain]: [f64; 2], hz: u32) -> f64 {
    (1.0 - plain / sampled) * 1e6 / f64::from(hz)
}

impl Subject {
    /// Sampled and not sampled, in random order; without those that are invalid.
    fn pairs(&self, bed: &mut Bed<'_>, effort: Effort) -> Result<Vec<[f64; 2]>> {
        let mut random = SplitMix64::new(seed());
        let mut pairs = Vec::new();
        for _ in 0..effort.pairs {
            let mut order = [(0, self.hz), (1, 0)];
            random.shuffle(&mut order);
            let mut figures = [None; 2];
            for (place, hz) in order {
                figures[place] = self.once(bed, effort.seconds, hz)?;
            }
            if let [Some(sampled), Some(plain)] = figures {
                pairs.push([sampled, plain]);
            }
        }
        Ok(pairs)
    }

    /// Stacks are sampled in rounds with the probe, so the rounds without samples have it too.
    fn once(&self, bed: &mut Bed<'_>, seconds: u32, hz: u32) -> Result<Option<f64>> {
        let seconds = seconds.to_string();
        let arguments = [
            &super::probe::PATH[..],
            &["--type", self.test, "--probe", "on", "--pairs", "10"],
            &["--warmup-ms", "20", "--seconds", &seconds],
        ]
        .concat();
        let run = bed.test(&arguments, hz)?;
        Ok(run.as_ref().and_then(self.figure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_takes_its_part_of_the_time() {
        // 1,000 ticks of 10 µs are a hundredth of each second.
        assert!((tick_us([1_000.0, 990.0], 1_000) - 10.0).abs() < 1e-9);
        assert_eq!(tick_us([1_000.0, 1_000.0], 1_000), 0.0);
    }
}

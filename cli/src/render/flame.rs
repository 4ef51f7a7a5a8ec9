//! Flame graphs of sampled stacks, and the difference of two.

use std::io;

use inferno::{
    differential,
    flamegraph::{
        self, Options, TextTruncateDirection,
        color::{BackgroundColor, PaletteMap},
    },
};
use nettoll_core::{
    api::Stack,
    component::{Component, component, unfolded},
    report::Run,
};

use super::{
    Rendering,
    families::{FAMILIES, family},
    view,
};

/// Pixels; the text of frames is cut for this width, which the page has room for.
pub(crate) const WIDTH: usize = 1030;
/// Frames narrower than this part of the picture, in percent, are left out.
const MIN_WIDTH_PERCENT: f64 = 0.1;
/// The differential graph counts CPU time for this many bytes of payload.
const PAYLOAD_BYTES: f64 = (1 << 20) as f64;

/// Stacks that cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the flame graph '{title}' ({source}): are its folded stacks complete?")]
pub(crate) struct Error {
    title: String,
    source: io::Error,
}

/// A picture and what it shows.
#[derive(Debug)]
pub(crate) struct Flame {
    pub(crate) title: String,
    pub(crate) svg: String,
    /// Pixels.
    pub(crate) height: usize,
}

/// The flame graph of one run, `None` where it has no samples.
pub(crate) fn graph(run: &Run, folded: &str) -> Result<Option<Flame>, Error> {
    let title = format!("CPU of {}, {}", run.path.label(), run.test);
    let subtitle = "red overlay, green bridge and forwarding, blue devices, yellow data, \
                    grey protocols and all else"
        .to_owned();
    draw(title, subtitle, "samples", folded)
}

/// What is compared, and the two runs' stacks.
struct Pair<'a> {
    path: &'a Run,
    baseline: &'a Run,
    path_folded: &'a str,
    baseline_folded: &'a str,
}

/// The subject's `tcp_stream` against its baseline's, per payload byte; `None` where one of
/// them was not sampled.
pub(crate) fn difference(rendering: &Rendering) -> Result<Option<Flame>, Error> {
    let Some(pair) = pair(rendering) else {
        return Ok(None);
    };
    let title = format!(
        "{} against {}, {}: red = more in the path",
        pair.path.path.label(),
        pair.baseline.path.label(),
        pair.path.test
    );
    let (path_scale, baseline_scale) = (ns_per_payload(pair.path), ns_per_payload(pair.baseline));
    let scales = path_scale.zip(baseline_scale);
    let (unit, subtitle) = match scales {
        Some(_) => (
            "ns per MiB",
            "kernel CPU time per MiB of payload, blue = less; width = the path's",
        ),
        None => (
            "samples",
            "kernel only, scaled to equal sample counts, blue = less; width = the path's",
        ),
    };
    let (path_scale, baseline_scale) = scales.unwrap_or((1.0, 1.0));
    let before = scaled(pair.baseline_folded, baseline_scale);
    let after = scaled(pair.path_folded, path_scale);
    let options = differential::Options {
        normalize: scales.is_none(),
        ..Default::default()
    };
    let mut both = Vec::new();
    differential::from_readers(options, before.as_bytes(), after.as_bytes(), &mut both).map_err(
        |source| Error {
            title: title.clone(),
            source,
        },
    )?;
    draw(
        title,
        subtitle.to_owned(),
        unit,
        &String::from_utf8_lossy(&both),
    )
}

fn pair(rendering: &Rendering) -> Option<Pair<'_>> {
    let view::CpuPair { path, baseline } = view::cpu_pair(&rendering.report)?;
    let baseline = baseline?;
    Some(Pair {
        path,
        baseline,
        path_folded: rendering.folded.get(&path.id)?,
        baseline_folded: rendering.folded.get(&baseline.id)?,
    })
}

/// CPU time that one sample stands for, for a MiB of the run's payload. Samples are of the good
/// rounds with the probe, and so are the bytes.
fn ns_per_payload(run: &Run) -> Option<f64> {
    if !run.test.is_stream() || run.options.sample_hz == 0 {
        return None;
    }
    let good = run
        .rounds
        .iter()
        .filter(|round| round.probe && round.invalid_reason.is_none());
    let bytes: u64 = good.filter_map(|round| round.bytes).sum();
    (bytes > 0).then(|| 1e9 / f64::from(run.options.sample_hz) * PAYLOAD_BYTES / bytes as f64)
}

/// The stacks in the kernel, with their counts scaled and rounded.
fn scaled(folded: &str, scale: f64) -> String {
    let line = |line: &str| {
        let stack = unfolded(line).filter(in_kernel)?;
        let (names, _) = line.rsplit_once(' ')?;
        Some(format!("{names} {:.0}\n", stack.samples as f64 * scale))
    };
    folded.lines().filter_map(line).collect()
}

/// Whether the kernel was at work: neither idle nor in user space, where other processes are too.
fn in_kernel(stack: &Stack) -> bool {
    !matches!(component(stack), Component::Idle | Component::User)
}

/// Each function in the colour of its component's family. A stack's first name is its thread's.
fn palette(folded: &str) -> PaletteMap {
    let mut palette = PaletteMap::default();
    let mut paint = |name: &str, component: &str| {
        palette.insert(name, FAMILIES[family(component)].flame.into());
    };
    let stacks = folded.lines().filter_map(|line| line.rsplit_once(' '));
    for function in stacks
        .clone()
        .flat_map(|(stack, _)| stack.split(';').skip(1))
    {
        let frames = vec![function.to_owned()];
        let alone = Stack {
            thread: String::new(),
            frames,
            samples: 0,
        };
        paint(function, component(&alone).as_str());
    }
    // Threads, and below them the box of all samples, are of no component.
    let threads = stacks.filter_map(|(stack, _)| stack.split(';').next());
    for name in threads.chain([""]) {
        paint(name, Component::Other.as_str());
    }
    palette
}

fn draw(title: String, subtitle: String, unit: &str, folded: &str) -> Result<Option<Flame>, Error> {
    if folded.trim().is_empty() {
        return Ok(None);
    }
    let mut palette = palette(folded);
    let mut options = Options::default();
    options.title.clone_from(&title);
    options.subtitle = Some(subtitle);
    options.count_name = unit.to_owned();
    options.image_width = Some(WIDTH);
    options.min_width = MIN_WIDTH_PERCENT;
    options.font_type = "monospace".to_owned();
    options.bgcolors = Some(BackgroundColor::Flat((255, 255, 255).into()));
    options.palette_map = Some(&mut palette);
    options.text_truncate_direction = TextTruncateDirection::Right;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, folded.lines(), &mut svg).map_err(|source| Error {
        title: title.clone(),
        source,
    })?;
    let svg = String::from_utf8_lossy(&svg).into_owned();
    let height = height(&svg);
    Ok(Some(Flame { title, svg, height }))
}

/// The picture's height, as its first element says.
fn height(svg: &str) -> usize {
    let after = svg
        .split_once("<svg ")
        .and_then(|(_, rest)| rest.split_once(" height=\""));
    after
        .and_then(|(_, rest)| rest.split_once('"')?.0.parse().ok())
        .unwrap_or(WIDTH)
}

#[cfg(test)]
mod tests {
    use nettoll_core::report::TestType;

    use super::*;
    use crate::sample;

    #[test]
    fn only_the_kernel_at_work_is_compared() {
        let in_kernel = |line: &str| in_kernel(&unfolded(line).unwrap());
        assert!(!in_kernel("swapper/0;do_idle;default_idle 1"));
        assert!(!in_kernel("make;[user] 1"));
        assert!(in_kernel(
            "swapper/0;do_idle;handle_softirqs;net_rx_action 1"
        ));
        assert!(in_kernel("nettoll-client;do_syscall_64;tcp_sendmsg 1"));
    }

    #[test]
    fn the_difference_says_what_is_compared() {
        let flame = difference(&sample::rendering()).unwrap().unwrap();
        let title = "pod-to-pod (vxlan) against host-to-host, tcp_stream: red = more in the path";
        assert_eq!(flame.title, title);
        assert!(flame.svg.contains(title));
        assert!(flame.svg.contains("ns per MiB"));
        assert!(flame.height > 100 && flame.svg.contains(&format!("height=\"{}\"", flame.height)));
    }

    #[test]
    fn counts_are_scaled_per_payload() {
        let mut run = sample::report().runs.remove(0);
        run.test = TestType::TcpStream;
        run.options.sample_hz = 1_000;
        for round in &mut run.rounds {
            round.bytes = Some(1 << 20);
        }
        let good = run.rounds.iter().filter(|round| round.probe).count() as f64;
        assert_eq!(ns_per_payload(&run), Some(1e6 / good));
        assert_eq!(scaled("a;b 3\na;[user] 5\n", 2.5), "a;b 8\n");
        run.rounds.clear();
        assert_eq!(ns_per_payload(&run), None);
    }
}

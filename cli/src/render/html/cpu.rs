//! CPU by component: the path beside its baseline, and the two measures of the overlay's part.

use nettoll_core::report::{Report, Run, Share};

use super::{
    Section,
    chart::{self, Scale, Segment},
    markup::{Table, legend, text},
};
use crate::render::{
    families::{FAMILIES, family},
    units,
    view::{self, CpuPair, TwoMeasures},
};

/// Components below this share in both runs are not listed.
const SMALL_SHARE: f64 = 0.005;

pub(super) fn section(report: &Report) -> Option<Section> {
    let pair = view::cpu_pair(report)?;
    let beside = pair.baseline.map_or_else(String::new, |baseline| {
        format!(" beside {}", text(&baseline.path.label()))
    });
    let mut body = format!(
        "<p>Stacks of all CPUs were sampled {} times a second during {} of {}{beside}. Each sample \
         counts for the innermost function that is known, so the shares add up to one. A byte is a \
         byte of payload that arrived.</p>\n",
        pair.path.options.sample_hz,
        pair.path.test,
        text(&pair.path.path.label()),
    );
    body += &legend(
        &FAMILIES
            .each_ref()
            .map(|family| (family.class, family.word)),
    );
    body += &bars(&pair);
    body += &components(&pair);
    body += &measures(pair.path);
    Some(Section::new("cpu", "What the CPU was busy with", body))
}

/// A component's part of the picture: time per byte for streams, else its share.
fn weight(run: &Run, share: &Share) -> f64 {
    if run.test.is_stream() {
        share.ns_per_byte.unwrap_or(0.0)
    } else {
        share.share
    }
}

fn weight_text(run: &Run, value: f64) -> String {
    if run.test.is_stream() {
        format!("{} ns/byte", units::digits(value))
    } else {
        units::share(value)
    }
}

fn busy(run: &Run) -> impl Iterator<Item = &Share> {
    run.components
        .iter()
        .flatten()
        .filter(|share| share.name != view::IDLE)
}

fn bars(pair: &CpuPair<'_>) -> String {
    let mut table = Table::new(&["path", "bar|", "num|busy"]);
    let total = |run: &Run| busy(run).map(|share| weight(run, share)).sum::<f64>();
    let runs = || std::iter::once(pair.path).chain(pair.baseline);
    let scale = Scale::new(0.0, runs().map(total).fold(0.0, f64::max));
    for run in runs() {
        let mut shares: Vec<_> = busy(run).collect();
        shares.sort_by(|a, b| {
            family(&a.name)
                .cmp(&family(&b.name))
                .then(weight(run, b).total_cmp(&weight(run, a)))
        });
        let mut at = 0.0;
        let segments = shares.iter().map(|share| {
            let from = at;
            at += weight(run, share);
            Segment {
                class: FAMILIES[family(&share.name)].class,
                from: scale.at(from),
                width: scale.at(at) - scale.at(from),
                title: format!("{}: {}", share.name, weight_text(run, weight(run, share))),
            }
        });
        table.row(&[
            text(&run.path.label()),
            chart::bar(&segments.collect::<Vec<_>>()),
            text(&weight_text(run, total(run))),
        ]);
    }
    table.render()
}

/// Every component of both runs, the largest first.
fn components(pair: &CpuPair<'_>) -> String {
    let mut table = Table::new(&[
        "component",
        "num|share",
        "num wide|95 % interval",
        "num|ns/byte",
        "num wide|baseline share",
        "num|baseline ns/byte",
        "bar|difference",
    ]);
    let names = view::component_names(pair.path, pair.baseline);
    let there = |name: &str| pair.baseline.and_then(|run| view::component(run, name));
    let difference = |name: &str| -> Option<f64> {
        let per_byte = |share: Option<&Share>| share.map_or(Some(0.0), |share| share.ns_per_byte);
        pair.baseline?;
        Some(per_byte(view::component(pair.path, name))? - per_byte(there(name))?)
    };
    let busy = || names.iter().filter(|name| **name != view::IDLE);
    let differences = || busy().filter_map(|name| difference(name));
    let (low, high) = (
        differences().fold(0.0, f64::min),
        differences().fold(0.0, f64::max),
    );
    let scale = Scale::new(low, high);
    let mut small = 0;
    for name in &names {
        let (here, there) = (view::component(pair.path, name), there(name));
        let is_small = |share: Option<&Share>| share.is_none_or(|share| share.share < SMALL_SHARE);
        if is_small(here) && is_small(there) {
            small += 1;
            continue;
        }
        let difference = difference(name).filter(|_| *name != view::IDLE);
        table.row(&[
            format!(
                "<i class=\"{}\"></i>{}",
                FAMILIES[family(name)].class,
                text(name)
            ),
            share(here),
            here.map_or_else(none, interval),
            per_byte(here),
            share(there),
            per_byte(there),
            difference.map_or_else(String::new, |value| difference_bar(scale, name, value)),
        ]);
    }
    let rest = if small > 0 {
        format!(
            "<p><small>Components below {} left out: {small}.</small></p>\n",
            units::share(SMALL_SHARE)
        )
    } else {
        String::new()
    };
    table.render() + &rest
}

fn none() -> String {
    "<span class=\"none\">–</span>".to_owned()
}

fn share(share: Option<&Share>) -> String {
    share.map_or_else(none, |share| text(&units::share(share.share)))
}

fn per_byte(share: Option<&Share>) -> String {
    share
        .and_then(|share| share.ns_per_byte)
        .map_or_else(none, |value| text(&units::digits(value)))
}

fn interval(share: &Share) -> String {
    let [low, high] = share.share_ci95;
    format!("[{:.1}, {:.1}]", low * 100.0, high * 100.0)
}

fn difference_bar(scale: Scale, name: &str, value: f64) -> String {
    let (zero, at) = (scale.at(0.0), scale.at(value));
    let (class, sign) = if value > 0.0 {
        ("more", "+")
    } else {
        ("less", "")
    };
    chart::bar(&[Segment {
        class,
        from: zero.min(at),
        width: (at - zero).abs(),
        title: format!("{name}: {sign}{} ns/byte", units::digits(value)),
    }])
}

/// The overlay's part by samples and exactly, and whether the two agree.
fn measures(run: &Run) -> String {
    let all = view::two_measures(run);
    if all.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        "region",
        "num|sampled, ns/byte",
        "num wide|95 % interval",
        "num|exact, ns/byte",
        "verdict",
    ]);
    for measures in &all {
        let [low, high] = measures.sampled_ci95.map(units::digits);
        table.row(&[
            text(&measures.region.name),
            text(&units::digits(measures.sampled_ns_per_byte)),
            text(&format!("[{low}, {high}]")),
            measures
                .exact_ns_per_byte
                .map_or_else(none, |value| text(&units::digits(value))),
            verdict(measures),
        ]);
    }
    format!(
        "<h3>The overlay's own part, measured twice</h3>\n<p>A region is told by a sample's whole \
         stack: the tunnel's function is on it, and no transmit of the device below. The exact \
         figure is the self time of the tunnel's transmit function, packet by packet, those \
         without payload (ACKs) included.</p>\n{}",
        table.render()
    )
}

fn verdict(measures: &TwoMeasures<'_>) -> String {
    match measures.agree() {
        Some(true) => "they agree within the sampling interval".to_owned(),
        Some(false) => "<strong>they disagree beyond the sampling interval</strong>".to_owned(),
        None => "no exact measure".to_owned(),
    }
}

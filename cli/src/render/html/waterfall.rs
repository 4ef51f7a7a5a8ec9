//! Where a round trip goes: the whole of it in two lanes, then stage by stage.

use nettoll_core::{
    hop::Direction,
    report::{Report, Run, Stage, StageClass},
};

use super::{
    Section,
    chart::{self, Scale, Segment},
    exemplar, lanes,
    markup::{Table, legend, text},
};
use crate::render::{
    units,
    view::{self, Leg, Passed, Sums},
};

pub(super) fn section(report: &Report) -> Option<Section> {
    let runs = view::waterfalls(report);
    let first = runs.first()?;
    let title = if first.test.is_stream() {
        "Where a packet's time goes"
    } else {
        "Where a round trip goes"
    };
    let body = runs.iter().map(|run| waterfall(report, run)).collect();
    Some(Section::new("stages", title, body))
}

fn waterfall(report: &Report, run: &Run) -> String {
    let legs = view::legs(run);
    let mut markup = format!("<h3>{}, {}</h3>\n", text(&run.path.label()), run.test);
    markup += &sentence(run, &view::sums(run));
    markup += &legend(&[
        ("work", "work: the CPU is busy with this packet"),
        ("wait", "wait: the packet is queued or under way"),
        ("mixed", "mixed: no hook parts the two"),
        ("rest", "unattributed"),
    ]);
    if !run.test.is_stream() {
        markup += &lanes::picture(report, run, &legs);
    }
    markup += &detail(&legs);
    markup += &exemplar::slowest(run);
    markup
}

fn sentence(run: &Run, sums: &Sums) -> String {
    let Some(mean) = view::trip_mean(run) else {
        let many = match run.test.has_segments() {
            true => " Under a stream most of them hold many wire packets.",
            false => "",
        };
        return format!("<p>Time of one <code>sk_buff</code> in each stage.{many}</p>\n");
    };
    let mut parts = vec![
        format!("{} work", units::time(sums.work_ns)),
        format!("{} wait", units::time(sums.wait_ns)),
        format!("{} mixed", units::time(sums.mixed_ns)),
    ];
    if sums.unknown_ns > 0.0 {
        parts.push(format!(
            "{} between hops without a name",
            units::time(sums.unknown_ns)
        ));
    }
    parts.push(format!(
        "{} unattributed",
        units::time(sums.unattributed_ns)
    ));
    let closure = match run.closure {
        Some(closure) => format!(
            " The stages explain {} of it (closure {closure:.3}).",
            units::share(closure)
        ),
        None if view::lacks_stages(run) => {
            " There is no closure: stages are absent, as said at the top.".to_owned()
        }
        None => String::new(),
    };
    let sentence = format!(
        "A request and its response took {} on average, with the probe attached: {}.{closure}",
        units::time(mean),
        parts.join(", ")
    );
    format!("<p>{}</p>\n", text(&sentence))
}

/// The stages one by one, each beginning where the one before ends. What the sockets' owners do
/// is cut off at the edge, for the sake of what lies between the sockets.
fn detail(legs: &[Leg<'_>]) -> String {
    let mut table = Table::new(&[
        "stage",
        "device",
        "bar|",
        "num|mean",
        "num wide|p50",
        "num wide|p99",
        "num wide|packets",
    ]);
    let between = |direction: Direction| -> f64 {
        let of_direction = legs.iter().filter(|leg| leg.direction == direction);
        let stages = of_direction.flat_map(|leg| &leg.stages);
        stages
            .filter(|passed| !view::is_owners(passed.stage))
            .map(|passed| passed.ns)
            .sum()
    };
    let widest = between(Direction::Request).max(between(Direction::Response));
    let scale = Scale::new(0.0, widest * 1.04);
    table.heading("bar", chart::axis(scale, 4, units::time));
    let mut at = 0.0;
    let mut direction = None;
    for leg in legs {
        if direction != Some(leg.direction) {
            (direction, at) = (Some(leg.direction), 0.0);
        }
        if leg.side.is_some() {
            table.group(&text(&sentence_case(&leg.title())));
        }
        for passed in &leg.stages {
            table.row(&detail_row(leg, passed, at, scale));
            at += passed.ns;
        }
    }
    table.render()
}

fn detail_row(leg: &Leg<'_>, passed: &Passed<'_>, at: f64, scale: Scale) -> Vec<String> {
    let Passed { stage, ns } = passed;
    let time = |ns: Option<f64>| ns.map_or_else(|| "–".to_owned(), |ns| text(&units::time(ns)));
    let (from, to) = (scale.at(at), scale.at(at + ns));
    let segment = Segment {
        class: class(stage),
        from,
        width: to - from,
        title: describe(leg, stage),
    };
    let derived = if stage.derived {
        " <small>derived</small>"
    } else {
        ""
    };
    vec![
        format!("{}{derived}", text(&stage.stage)),
        text(stage.device.as_deref().unwrap_or_default()),
        chart::bar_in(&[segment], at + ns > scale.high()),
        text(&units::time(stage.mean_ns)),
        time(stage.p50_ns),
        time(stage.p99_ns),
        stage.packets.map_or_else(|| "–".to_owned(), units::count),
    ]
}

/// What a pointer on a stage shows.
pub(super) fn describe(leg: &Leg<'_>, stage: &Stage) -> String {
    let device = stage
        .device
        .as_ref()
        .map(|name| format!(" on {name}"))
        .unwrap_or_default();
    let class = view::class_word(stage);
    let class = if class.is_empty() {
        String::new()
    } else {
        format!(", {class}")
    };
    format!(
        "{}{device}: {} ({}{class})",
        stage.stage,
        units::time(stage.mean_ns),
        leg.title()
    )
}

fn sentence_case(words: &str) -> String {
    let mut chars = words.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

/// The colour of a stage's class.
pub(super) fn class(stage: &Stage) -> &'static str {
    match stage.class {
        Some(StageClass::Work) => "work",
        Some(StageClass::Wait) => "wait",
        Some(StageClass::Mixed) => "mixed",
        None => "rest",
    }
}

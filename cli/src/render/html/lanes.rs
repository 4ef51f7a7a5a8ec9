//! A whole round trip to scale: from left to right in time, the client's node above, the server's
//! below, what is between them in the middle.

use nettoll_core::{
    hop::{Direction, Side},
    report::{Report, Run},
};

use super::{
    chart::{Scale, Segment},
    markup::text,
    waterfall::{class, describe},
};
use crate::render::{
    units,
    view::{self, Leg, Passed},
};

/// Segments narrower than this have no room for their name, in percent of the picture.
const NAMED_PERCENT: f64 = 9.0;
/// Height of a lane and the vertical places of the three: client, between, server.
const LANE_HEIGHT: u32 = 26;
const CLIENT_Y: u32 = 20;
const BETWEEN_Y: u32 = 50;
const SERVER_Y: u32 = 80;

/// The picture of a run's stages.
pub(super) fn picture(report: &Report, run: &Run, legs: &[Leg<'_>]) -> String {
    let stages = || {
        legs.iter()
            .flat_map(|leg| leg.stages.iter().map(move |passed| (leg, passed)))
    };
    let scale = Scale::new(0.0, stages().map(|(_, passed)| passed.ns).sum());
    let mut at = 0.0;
    let mut drawn = String::new();
    for (leg, passed) in stages() {
        drawn += &segment(leg, passed, at, scale);
        at += passed.ns;
    }
    let lane =
        |y| format!("<rect class=\"lane\" y=\"{y}\" width=\"100%\" height=\"{LANE_HEIGHT}\"/>");
    let clock = if view::one_kernel(report) {
        " (one kernel, one clock)"
    } else {
        ""
    };
    format!(
        "<svg class=\"lanes\" width=\"100%\" height=\"142\" role=\"img\">\
         <title>The stages of a round trip in time{clock}</title>{}{}\
         <text x=\"0\" y=\"14\">client, {}</text><text x=\"0\" y=\"120\">server, {}</text>\
         {}{}{drawn}</svg>\n",
        lane(CLIENT_Y),
        lane(SERVER_Y),
        text(&run.path.from.to_string()),
        text(&run.path.to.to_string()),
        axis(scale),
        ways(legs, scale),
    )
}

/// The two ways in words, each in the middle of its time.
fn ways(legs: &[Leg<'_>], scale: Scale) -> String {
    let time = |direction: Direction| -> f64 {
        let of_direction = legs.iter().filter(|leg| leg.direction == direction);
        of_direction
            .flat_map(|leg| &leg.stages)
            .map(|passed| passed.ns)
            .sum()
    };
    let (request, response) = (time(Direction::Request), time(Direction::Response));
    let word = |middle: f64, word: &str, time: f64| {
        format!(
            "<text x=\"{:.3}%\" y=\"{}\" text-anchor=\"middle\">{word}, {}</text>",
            scale.at(middle),
            BETWEEN_Y + 17,
            text(&units::time(time))
        )
    };
    word(request / 2.0, "request", request) + &word(request + response / 2.0, "response", response)
}

fn axis(scale: Scale) -> String {
    let tick = |value: f64| {
        let at = scale.at(value);
        let anchor = if at > 94.0 { "end" } else { "middle" };
        format!(
            "<line class=\"tick\" x1=\"{at:.3}%\" x2=\"{at:.3}%\" y1=\"106\" y2=\"126\"/>\
             <text class=\"tick\" x=\"{at:.3}%\" y=\"139\" text-anchor=\"{anchor}\">{}</text>",
            text(&units::time(value))
        )
    };
    scale
        .ticks(6)
        .into_iter()
        .filter(|value| *value > 0.0)
        .map(tick)
        .collect()
}

fn segment(leg: &Leg<'_>, passed: &Passed<'_>, at: f64, scale: Scale) -> String {
    let Passed { stage, ns } = passed;
    let y = match leg.side {
        _ if stage.stage == "wire" => BETWEEN_Y,
        Some(Side::Client) => CLIENT_Y,
        Some(Side::Server) => SERVER_Y,
        None => BETWEEN_Y,
    };
    let (from, to) = (scale.at(at), scale.at(at + ns));
    let segment = Segment {
        class: class(stage),
        from,
        width: to - from,
        title: describe(leg, stage),
    };
    let mut markup = segment.rect(y, LANE_HEIGHT);
    if segment.width >= NAMED_PERCENT {
        markup += &format!(
            "<text class=\"inside\" x=\"{:.3}%\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            (from + to) / 2.0,
            y + 17,
            text(&stage.stage)
        );
    }
    markup
}

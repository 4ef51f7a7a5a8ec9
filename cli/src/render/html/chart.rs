//! Pictures: SVG in which horizontal places are percentages.

use super::markup::text;

/// A linear scale onto 0 to 100 percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// From the smallest to the largest value; never empty.
    pub(super) fn new(low: f64, high: f64) -> Self {
        Self {
            low,
            high: if high > low { high } else { low + 1.0 },
        }
    }

    /// The end of the scale.
    pub(super) fn high(self) -> f64 {
        self.high
    }

    /// Where a value is, in percent; values outside are put on the edge.
    pub(super) fn at(self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low) * 100.0).clamp(0.0, 100.0)
    }

    /// Round values on the scale, at most `most`, steps of 1, 2 or 5 times a power of ten.
    pub(super) fn ticks(self, most: usize) -> Vec<f64> {
        let span = self.high - self.low;
        let rough = span / most.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|n| n * power)
            .into_iter()
            .find(|s| *s >= rough);
        let step = step.unwrap_or(span);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }
}

/// A filled part of a bar.
pub(super) struct Segment {
    /// Its colour.
    pub(super) class: &'static str,
    /// From where, in percent.
    pub(super) from: f64,
    /// How much, in percent.
    pub(super) width: f64,
    /// What a pointer shows.
    pub(super) title: String,
}

impl Segment {
    /// The segment at a height, for a picture of several lanes.
    pub(super) fn rect(&self, y: u32, height: u32) -> String {
        format!(
            "<rect class=\"{}\" x=\"{:.3}%\" y=\"{y}\" width=\"{:.3}%\" height=\"{height}\">\
             <title>{}</title></rect>",
            self.class,
            self.from,
            // What is left of a measured time may be less than nothing.
            self.width.max(0.0),
            text(&self.title)
        )
    }
}

/// A bar of segments, as high as a line of text.
pub(super) fn bar(segments: &[Segment]) -> String {
    bar_in(segments, false)
}

/// A bar that may be cut off at the right edge, which is shown there.
pub(super) fn bar_in(segments: &[Segment], cut: bool) -> String {
    let rects: String = segments.iter().map(|segment| segment.rect(3, 12)).collect();
    let edge = if cut {
        "<text x=\"100%\" dx=\"3\" y=\"13\">…</text>"
    } else {
        ""
    };
    format!("<svg class=\"bar\" width=\"100%\" height=\"18\" role=\"img\">{rects}{edge}</svg>")
}

/// The ticks of a scale over a column of bars.
pub(super) fn axis(scale: Scale, most: usize, label: impl Fn(f64) -> String) -> String {
    let ticks: String = scale
        .ticks(most)
        .into_iter()
        .enumerate()
        .map(|(number, value)| {
            let at = scale.at(value);
            // Narrow screens have room for every second label.
            let class = if number % 2 == 0 { "tick" } else { "tick wide" };
            // Labels at the edges stay inside.
            let anchor = match at {
                _ if at < 12.0 => "start",
                _ if at > 88.0 => "end",
                _ => "middle",
            };
            format!(
                "<line class=\"tick\" x1=\"{at:.3}%\" x2=\"{at:.3}%\" y1=\"15\" y2=\"19\"/>\
                 <text class=\"{class}\" x=\"{at:.3}%\" y=\"12\" text-anchor=\"{anchor}\">{}</text>",
                text(&label(value))
            )
        })
        .collect();
    format!("<svg class=\"bar\" width=\"100%\" height=\"19\" aria-hidden=\"true\">{ticks}</svg>")
}

/// What a resolved difference is to the one who pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The interval contains zero.
    Open,
    /// It costs more.
    More,
    /// It costs less.
    Less,
}

/// A point with its interval beside a line of no difference.
pub(super) fn interval(
    scale: Scale,
    value: f64,
    [low, high]: [f64; 2],
    verdict: Verdict,
    title: &str,
) -> String {
    let (zero, low, high, at) = (
        scale.at(0.0),
        scale.at(low),
        scale.at(high),
        scale.at(value),
    );
    let class = match verdict {
        Verdict::Open => "open",
        Verdict::More => "more",
        Verdict::Less => "less",
    };
    format!(
        "<svg class=\"bar\" width=\"100%\" height=\"18\" role=\"img\"><title>{}</title>\
         <line class=\"zero\" x1=\"{zero:.3}%\" x2=\"{zero:.3}%\" y1=\"0\" y2=\"18\"/>\
         <line class=\"span\" x1=\"{zero:.3}%\" x2=\"{at:.3}%\" y1=\"9\" y2=\"9\"/>\
         <line class=\"ci {class}\" x1=\"{low:.3}%\" x2=\"{high:.3}%\" y1=\"9\" y2=\"9\"/>\
         <circle class=\"{class}\" cx=\"{at:.3}%\" cy=\"9\" r=\"4\"/></svg>",
        text(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(Scale::new(0.0, 74.0).ticks(5), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!(Scale::new(-10.0, 190.0).ticks(4), [0.0, 50.0, 100.0, 150.0]);
        assert!(Scale::new(0.0, 0.0).ticks(3).len() >= 2);
    }

    #[test]
    fn a_scale_ends_at_its_edges() {
        let scale = Scale::new(0.0, 50.0);
        assert_eq!(
            (scale.at(-1.0), scale.at(25.0), scale.at(99.0)),
            (0.0, 50.0, 100.0)
        );
    }
}

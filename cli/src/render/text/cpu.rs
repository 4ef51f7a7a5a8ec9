//! CPU by component and region, beside the baseline.

use nettoll_core::report::{Report, Run, Share};

use super::{
    Style,
    table::{Align, Table},
};
use crate::render::{
    units,
    view::{self, TwoMeasures},
};

/// Components below this share in both runs are added up in one line.
const SMALL_SHARE: f64 = 0.005;

pub(super) fn section(report: &Report, style: Style) -> String {
    let Some(pair) = view::cpu_pair(report) else {
        return String::new();
    };
    let mut title = format!("CPU of {}, {}", pair.path.path.label(), pair.path.test);
    if let Some(baseline) = pair.baseline {
        title += &format!(", beside {}", baseline.path.label());
    }
    let mut text = style.bold(&title);
    text.push('\n');
    text += &components(pair.path, pair.baseline).render(style.width());
    for measures in view::two_measures(pair.path) {
        text += &format!("  {}\n", two_measures(&measures));
        if measures.agree() == Some(false) {
            let note = "the two measures disagree beyond the sampling interval";
            text += &format!("    {}\n", style.alarm(note));
        }
    }
    text
}

fn components(path: &Run, baseline: Option<&Run>) -> Table {
    let mut columns = vec![
        ("component", Align::Left),
        ("share", Align::Right),
        ("95 % interval", Align::Right),
        ("ns/byte", Align::Right),
    ];
    if baseline.is_some() {
        columns.extend([
            ("baseline", Align::Right),
            ("ns/byte", Align::Right),
            ("difference", Align::Right),
        ]);
    }
    let mut table = Table::with_heading(&columns);
    let mut small = 0;
    for name in view::component_names(path, baseline) {
        let (here, there) = (
            view::component(path, name),
            baseline.and_then(|b| view::component(b, name)),
        );
        let share = |share: Option<&Share>| share.map_or(0.0, |share| share.share);
        if share(here) < SMALL_SHARE && share(there) < SMALL_SHARE {
            small += 1;
            continue;
        }
        let mut row = vec![name.to_owned()];
        row.push(here.map_or_else(none, |share| units::share(share.share)));
        row.push(here.map_or_else(none, |share| interval(share.share_ci95)));
        row.push(per_byte(here));
        row.push(there.map_or_else(none, |share| units::share(share.share)));
        row.push(per_byte(there));
        row.push(difference(here, there));
        table.row(row);
    }
    if small > 0 {
        table.line(format!(
            "components below {} left out: {small}",
            units::share(SMALL_SHARE)
        ));
    }
    table
}

fn none() -> String {
    "–".to_owned()
}

fn interval([low, high]: [f64; 2]) -> String {
    format!("[{:.1}, {:.1}]", low * 100.0, high * 100.0)
}

fn per_byte(share: Option<&Share>) -> String {
    share
        .and_then(|share| share.ns_per_byte)
        .map_or_else(none, units::digits)
}

/// What the path spends more; a component that one run has no sample of counts as nothing.
fn difference(here: Option<&Share>, there: Option<&Share>) -> String {
    let value = |share: Option<&Share>| share.map_or(Some(0.0), |share| share.ns_per_byte);
    let (Some(here), Some(there)) = (value(here), value(there)) else {
        return none();
    };
    let sign = if here > there { "+" } else { "" };
    format!("{sign}{}", units::digits(here - there))
}

/// `region encap: sampled 0.0122 [0.0111, 0.0133] ns/byte, exact self time 0.0117 ns/byte`.
fn two_measures(measures: &TwoMeasures<'_>) -> String {
    let [low, high] = measures.sampled_ci95.map(units::digits);
    let exact = match measures.exact_ns_per_byte {
        Some(exact) => format!(", exact {}", units::digits(exact)),
        None => String::new(),
    };
    format!(
        "region {}: sampled {} [{low}, {high}]{exact} ns/byte",
        measures.region.name,
        units::digits(measures.sampled_ns_per_byte),
    )
}

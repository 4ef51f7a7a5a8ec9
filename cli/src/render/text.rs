//! A report for terminals and tickets: plain text of 80 columns or more.

mod changes;
mod context;
mod cpu;
mod datagrams;
mod drops;
mod exemplar;
mod found;
mod matrix;
mod path;
mod stages;
mod table;
mod tolls;

use nettoll_core::report::Report;

pub(crate) use changes::changes;
pub(crate) use matrix::matrix;
pub(crate) use path::path;

use super::{headline, view};

/// How to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Columns of the terminal; text is laid out for 80 to 120.
    pub(crate) columns: usize,
    /// Whether escape sequences may be written.
    pub(crate) colour: bool,
}

impl Style {
    /// The columns that the layout is made for.
    fn width(self) -> usize {
        self.columns.clamp(80, 120)
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn alarm(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The whole report.
pub(crate) fn report(report: &Report, style: Style) -> String {
    let mut sections = vec![headlines(report, style), warnings(report, style)];
    sections.extend(tolls::sections(report, style));
    sections.push(tolls::runs(report, style));
    sections.push(datagrams::section(report, style));
    sections.extend(
        view::waterfalls(report)
            .into_iter()
            .flat_map(|run| [stages::waterfall(run, style), exemplar::slowest(run, style)]),
    );
    sections.push(drops::section(report, style));
    sections.push(stages::path_costs(report, style));
    sections.push(cpu::section(report, style));
    sections.push(found::section(report, &report.runs, style));
    sections.push(context::probe(report, style));
    sections.push(context::section(report, style));
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}

/// What the path costs, first of all.
fn headlines(report: &Report, style: Style) -> String {
    let mut text = String::new();
    for headline in headline::headlines(report) {
        text += &style.bold(&headline.subject);
        text.push('\n');
        let widest = |f: fn(&headline::Statement) -> &str| {
            headline
                .statements
                .iter()
                .map(|s| f(s).chars().count())
                .max()
                .unwrap_or(0)
        };
        let (what, change) = (widest(|s| &s.what), widest(|s| &s.change));
        for statement in &headline.statements {
            let line = format!("  {:what$}  {:change$}", statement.what, statement.change);
            let values = statement.values.as_deref().unwrap_or_default();
            // The figures stand on a line of their own where both do not fit.
            let fits = line.chars().count() + 2 + values.chars().count() <= style.width();
            let gap = if fits {
                "  ".to_owned()
            } else {
                format!("\n{:>1$}", "", 4 + what)
            };
            text += format!("{line}{gap}{values}").trim_end();
            text.push('\n');
        }
    }
    text
}

/// Runs that must not be believed, and what makes the others less certain.
fn warnings(report: &Report, style: Style) -> String {
    let mut text = String::new();
    for line in view::warnings(report) {
        for line in wrapped(&line, style.width(), 0).lines() {
            text += &style.alarm(line);
            text.push('\n');
        }
    }
    text
}

/// Text in lines of at most so many columns, broken at spaces and indented, all but the first by
/// two more. A word that is too long stays whole.
fn wrapped(text: &str, columns: usize, indent: usize) -> String {
    let mut lines = " ".repeat(indent);
    let mut used = indent;
    for (at, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && used + 1 + length > columns {
            lines += &format!("\n{:1$}", "", indent + 2);
            used = indent + 2;
        } else if at > 0 {
            lines.push(' ');
            used += 1;
        }
        lines += word;
        used += length;
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use nettoll_core::{
        kernel::{HookKind, Reason},
        report::{CpuSide, MissingHook, TestType, TollMetric},
    };

    use super::*;
    use crate::sample;

    const PLAIN: Style = Style {
        columns: 80,
        colour: false,
    };

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in [80, 100, 120] {
            let text = report(
                &sample::report(),
                Style {
                    columns,
                    colour: false,
                },
            );
            for line in text.lines() {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
            assert!(!text.contains('\x1b'));
        }
    }

    #[test]
    fn the_headline_comes_first_and_claims_no_more_than_was_resolved() {
        let mut sample = sample::report();
        for toll in &mut sample.tolls {
            (toll.ratio, toll.ci95, toll.resolved) = match toll.metric {
                TollMetric::Throughput => (0.58, [0.56, 0.6], true),
                _ => (1.002, [0.982, 1.0124], false),
            };
        }
        let text = report(&sample, PLAIN);
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some("pod-to-pod over vxlan against host-to-host")
        );
        let throughput = lines.next().unwrap();
        assert!(
            throughput.contains("−42.0 % [−44.0, −40.0]"),
            "{throughput}"
        );
        let rtt = lines.find(|line| line.contains("mean round trip")).unwrap();
        assert!(rtt.contains("not resolved, within ±1.8 %"), "{rtt}");
    }

    #[test]
    fn long_lines_are_broken_at_spaces() {
        assert_eq!(
            wrapped("one two three four", 9, 0),
            "one two\n  three\n  four\n"
        );
        assert_eq!(wrapped("short", 9, 2), "  short\n");
    }

    #[test]
    fn an_invalid_run_is_named_with_its_reason() {
        let mut sample = sample::report();
        sample.runs[0].valid = false;
        sample.runs[0].invalid_reasons = vec!["steal of 12 %".to_owned()];
        let text = report(
            &sample,
            Style {
                columns: 80,
                colour: true,
            },
        );
        assert!(
            text.contains("Invalid, and in no toll: loopback path_cost: steal of 12 %"),
            "{text}"
        );
    }

    #[test]
    fn a_missing_hook_is_told_with_what_is_absent_for_it() {
        let mut sample = sample::report();
        let run = sample.runs.iter().position(|run| run.stages.is_some());
        let run = &mut sample.runs[run.unwrap()];
        run.closure = None;
        let hook = |name: &str, stages: &[&str]| MissingHook {
            hook: name.to_owned(),
            node: "n1".to_owned(),
            reason: Reason::LoadRefused,
            detail: "not supported".to_owned(),
            stages: stages.iter().map(|&stage| stage.to_owned()).collect(),
        };
        run.probe.missing = vec![
            hook("netif_rx", &["veth", "backlog"]),
            hook("kfree_skb", &[]),
        ];
        run.probe.programs[0].kind = Some(HookKind::RawTp);
        let text = report(&sample, PLAIN).replace("\n  ", " ");
        for told in [
            "attached as: raw_tp",
            "Without the hook netif_rx on n1 (not supported): absent for it: backlog, veth; what",
            "Without the hook kfree_skb on n1 (not supported): no stage is absent for it",
        ] {
            assert!(text.contains(told), "{told}\n{text}");
        }
    }

    #[test]
    fn the_ends_of_each_path_are_told_once() {
        let style = Style {
            columns: 120,
            colour: false,
        };
        let text = report(&sample::report(), style);
        let ends = "pod-to-pod (vxlan): pod/lab/n1-a → pod/lab/n2-a";
        assert_eq!(text.matches(ends).count(), 1, "{text}");
    }

    #[test]
    fn requests_to_a_url_have_a_waterfall() {
        let mut sample = sample::report();
        let mut run = sample.runs.remove(5);
        run.test = TestType::HttpRr;
        let stages = run.stages.as_mut().unwrap();
        stages.truncate(1);
        stages[0].stage = "name_lookup".to_owned();
        sample.runs = vec![run];
        sample.tolls = Vec::new();
        let style = Style {
            columns: 80,
            colour: false,
        };
        let text = report(&sample, style);
        assert!(text.contains("http_rr: mean"), "{text}");
        assert!(text.contains("name_lookup"), "{text}");
    }

    #[test]
    fn a_busy_machine_is_told() {
        let style = Style {
            columns: 120,
            colour: false,
        };
        let mut sample = sample::report();
        let side = |run: usize, others| CpuSide {
            others,
            ..sample.runs[run].cpu.local.clone().unwrap()
        };
        let sides = [(0, Some(0.05)), (1, Some(0.31)), (2, Some(0.62)), (3, None)]
            .map(|(run, others)| (run, side(run, others)));
        assert!(!report(&sample, style).contains("busy"));
        for (run, side) in sides {
            sample.runs[run].cpu.local = Some(side);
        }
        let (all, worst) = (sample.runs.len(), &sample.runs[2]);
        let (path, test) = (worst.path.label(), worst.test);
        let told = view::warnings(&sample).pop().unwrap();
        assert!(told.contains(&format!("in 2 of {all} runs")), "{told}");
        assert!(
            told.contains(&format!("in {path} {test} at least 62 %")),
            "{told}"
        );
        assert!(report(&sample, style).contains("The machine was busy"));
    }

    #[test]
    fn disturbed_rounds_are_told_with_those_in_their_place() {
        let mut sample = sample::report();
        let rounds = sample
            .runs
            .iter()
            .map(|run| run.rounds.len())
            .sum::<usize>();
        let run = &mut sample.runs[0];
        run.options.rounds = 9;
        let spare = run.rounds.iter().filter(|round| round.pair >= 9).count();
        run.rounds[0].disturbed = true;
        run.rounds[0].invalid_reason = Some("steal".to_owned());
        let text = report(
            &sample,
            Style {
                columns: 120,
                colour: false,
            },
        );
        let told = format!("1 of {rounds} rounds were disturbed (steal) and are in no figure");
        assert!(text.contains(&told), "{text}");
        assert!(text.contains(&format!("{spare} spare")), "{text}");
    }

    #[test]
    fn an_empty_report_is_no_failure() {
        let mut sample = sample::report();
        sample.runs.clear();
        sample.tolls.clear();
        assert!(
            report(
                &sample,
                Style {
                    columns: 80,
                    colour: false
                }
            )
            .contains("kernel")
        );
    }
}

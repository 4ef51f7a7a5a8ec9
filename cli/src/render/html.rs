//! `report.html`: one page that stands alone and explains itself.
//!
//! No resource is loaded from anywhere, and nothing but the zoom of the flame graphs needs
//! scripts. Pictures are SVG whose horizontal coordinates are percentages, so that they fill a
//! telephone as well as a desk while their text keeps its size. All text that comes from a report
//! goes through [`markup::text`].

mod chart;
mod context;
mod costs;
mod cpu;
mod datagrams;
mod drops;
mod exemplar;
mod flames;
mod found;
mod lanes;
mod markup;
mod summary;
mod tolls;
mod waterfall;
mod words;

use super::{Rendering, flame};
use markup::text;

/// Colours, type and layout.
const STYLE: &str = include_str!("html/style.css");

/// One part of the page, with its place in the list of contents.
struct Section {
    id: &'static str,
    title: String,
    body: String,
}

impl Section {
    fn new(id: &'static str, title: impl Into<String>, body: String) -> Self {
        Self {
            id,
            title: title.into(),
            body,
        }
    }
}

/// The whole page.
pub(crate) fn page(rendering: &Rendering) -> Result<String, flame::Error> {
    let report = &rendering.report;
    let mut sections = vec![tolls::section(report)];
    sections.extend(waterfall::section(report));
    sections.extend(datagrams::section(report));
    sections.extend(drops::section(report));
    sections.extend(costs::section(report));
    sections.extend(cpu::section(report));
    sections.extend(flames::section(rendering)?);
    sections.extend(found::section(report));
    sections.extend(context::probe(report));
    sections.push(context::place(report));
    sections.push(words::method(report));
    sections.push(words::glossary());
    let contents: String = sections
        .iter()
        .map(|section| format!("<a href=\"#{}\">{}</a>", section.id, text(&section.title)))
        .collect();
    let parts: String = sections
        .iter()
        .map(|section| {
            let Section { id, title, body } = section;
            format!(
                "<section id=\"{id}\">\n<h2>{}</h2>\n{body}</section>\n",
                text(title)
            )
        })
        .collect();
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}\
         <nav aria-label=\"Contents\">{contents}</nav>\n{parts}</main>\n</body>\n</html>\n",
        text(&summary::title(report)),
        summary::header(report),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_page_loads_nothing() {
        let page = page(&sample::rendering()).unwrap();
        assert!(!STYLE.contains("url("));
        for reference in ["src=\"http", "href=\"http", "@import", "<link", "<script"] {
            assert!(!page.contains(reference), "{reference}");
        }
    }

    #[test]
    fn text_from_the_report_is_escaped() {
        let mut rendering = sample::rendering();
        let evil = "<img src=x onerror='alert(1)'>&\"";
        rendering.report.context.command.push(evil.to_owned());
        rendering.report.context.nodes[0].cpu_model = evil.to_owned();
        for run in &mut rendering.report.runs {
            run.path.network = run.path.network.as_ref().map(|_| evil.to_owned());
            run.invalid_reasons.push(evil.to_owned());
            run.valid = false;
            for stage in run.stages.iter_mut().flatten() {
                stage.stage = evil.to_owned();
                stage.device = Some(evil.to_owned());
            }
            for drops in run.drops.iter_mut().flatten() {
                drops.stage = evil.to_owned();
                drops.reason = Some(evil.to_owned());
            }
            for share in run.components.iter_mut().chain(&mut run.regions).flatten() {
                share.name = evil.to_owned();
            }
        }
        for toll in &mut rendering.report.tolls {
            toll.path.network = toll.path.network.as_ref().map(|_| evil.to_owned());
        }
        let page = page(&rendering).unwrap();
        assert!(!page.contains("<img"));
        assert!(page.contains("&lt;img"));
    }

    #[test]
    fn tags_are_closed() {
        let page = page(&sample::rendering()).unwrap();
        for tag in [
            "section", "table", "tr", "td", "th", "svg", "details", "p", "div", "dl", "g",
        ] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn an_empty_report_has_a_page() {
        let mut rendering = sample::rendering();
        rendering.report.runs.clear();
        rendering.report.tolls.clear();
        assert!(page(&rendering).unwrap().contains("Nothing was measured"));
    }
}

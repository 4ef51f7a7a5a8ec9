//! Flame graphs, each a picture of its own inside the page.

use nettoll_core::report::Run;

use super::{Section, markup::text};
use crate::render::{
    Rendering,
    flame::{self, Flame},
    view,
};

/// The difference first, then the graphs of the path and its baseline; the graphs of all other
/// runs are files beside the page, or it would grow to many megabytes.
pub(super) fn section(rendering: &Rendering) -> Result<Option<Section>, flame::Error> {
    let mut body = String::new();
    if let Some(flame) = flame::difference(rendering)? {
        body += &details(&flame, true);
    }
    if let Some(pair) = view::cpu_pair(&rendering.report) {
        for run in std::iter::once(pair.path).chain(pair.baseline) {
            body += &graph(rendering, run)?;
        }
    }
    if body.is_empty() {
        return Ok(None);
    }
    let body = format!(
        "<p>Each box is a function, as wide as the CPU time in it and in what it called. Click a \
         box to look closer, press Ctrl-F to search. The graphs of all sampled runs lie beside \
         this page as <code>flame-….svg</code>, their stacks as <code>stacks-….folded</code>.</p>\n\
         {body}"
    );
    Ok(Some(Section::new("flames", "Flame graphs", body)))
}

fn graph(rendering: &Rendering, run: &Run) -> Result<String, flame::Error> {
    let Some(folded) = rendering.folded.get(&run.id) else {
        return Ok(String::new());
    };
    let flame = flame::graph(run, folded)?;
    Ok(flame
        .map(|flame| details(&flame, false))
        .unwrap_or_default())
}

/// The graph in a frame of its own: its script must not meet those of the others.
fn details(flame: &Flame, open: bool) -> String {
    let open = if open { " open" } else { "" };
    let title = text(&flame.title);
    format!(
        "<details{open}><summary>{title}</summary>\n<div class=\"scroll\"><iframe \
         title=\"{title}\" width=\"{}\" height=\"{}\" loading=\"lazy\" \
         src=\"data:image/svg+xml,{}\"></iframe></div></details>\n",
        flame::WIDTH,
        flame.height,
        percent_encoded(&flame.svg)
    )
}

/// What may not stand in a URL, or in an attribute, as RFC 3986 (section 2.1) writes it.
fn percent_encoded(svg: &str) -> String {
    let mut encoded = String::with_capacity(svg.len() * 5 / 4);
    for byte in svg.bytes() {
        match byte {
            b'"' | b'#' | b'%' | b'&' | b'<' | b'>' | b'\'' | b'[' | b']' | b'^' | b'`' | b'{'
            | b'|' | b'}' | b'\\' => encoded += &format!("%{byte:02X}"),
            b' '..=b'~' => encoded.push(char::from(byte)),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_hold_no_markup() {
        assert_eq!(
            percent_encoded("<a b=\"#é\n\">"),
            "%3Ca b=%22%23%C3%A9%0A%22%3E"
        );
    }
}

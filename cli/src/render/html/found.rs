//! What on the paths is not as it could be.

use nettoll_core::{
    finding::{Finding, findings},
    report::Report,
};

use super::{Section, text};

/// The findings on the paths of all runs, where there are any.
pub(super) fn section(report: &Report) -> Option<Section> {
    let found = findings(report, &report.runs);
    let items: String = found.iter().map(item).collect();
    let intro = "By the settings of the devices that packets passed; the rules are in \
                 <code>docs/findings.md</code>.";
    let body = format!("<p>{intro}</p>\n<ul>\n{items}</ul>\n");
    (!found.is_empty()).then(|| Section::new("findings", "Findings", body))
}

fn item(finding: &Finding) -> String {
    let Finding {
        severity,
        rule,
        place,
        device,
        what,
        remedy,
    } = finding;
    format!(
        "<li><strong>{severity}</strong>: {} in {}: {} (<code>{rule}</code>).<br>Mend: {}</li>\n",
        text(device),
        text(place),
        text(what),
        text(remedy)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_tunnel_without_offloads_is_in_the_page() {
        let mut report = sample::report();
        assert!(section(&report).is_none());
        let devices = report.context.nodes.iter_mut();
        for device in devices.flat_map(|node| &mut node.devices) {
            if device.name == "flannel.1" {
                device.offloads = Some(vec![]);
            }
        }
        let body = section(&report).unwrap().body;
        assert!(body.contains("<code>not-merged</code>"), "{body}");
    }
}

//! Which versions of agent and controller understand each other.

/// How an agent names itself in the header `server` of each of its answers, before its version.
pub const AGENT_PRODUCT: &str = "nettoll-agent/";

/// Whether what two versions tell each other means the same: their major and minor numbers are
/// equal. A text that is no version is understood by nobody.
#[must_use]
pub fn understand_each_other(one: &str, other: &str) -> bool {
    series(one).is_some() && series(one) == series(other)
}

/// Major and minor number.
fn series(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_number_makes_no_difference() {
        for (one, other, understood) in [
            ("0.1.0", "0.1.0", true),
            ("0.1.0", "0.1.17", true),
            ("1.2.3", "1.2.3-rc.1", true),
            ("0.1.0", "0.2.0", false),
            ("0.1.0", "1.1.0", false),
            ("0.1.0", "", false),
            ("0.1.0", "unknown", false),
            ("", "", false),
        ] {
            assert_eq!(
                understand_each_other(one, other),
                understood,
                "{one} {other}"
            );
        }
    }
}

//! How the probe shall be loaded.

use nettoll_core::kernel::Part;
use serde::Deserialize;

/// How programs shall be attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Tier {
    /// As the kernel takes them: `tp_btf`, where it refuses these `raw_tp`.
    #[default]
    Auto,
    /// To tracepoints, with the types of their arguments.
    TpBtf,
    /// To tracepoints, without types; slower.
    RawTp,
}

/// How the probe shall be loaded. What is given here is taken instead of what the configuration
/// says.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Settings {
    /// How the probe's programs are attached, instead of the configuration's 'probe_tier'.
    #[arg(long = "probe-tier", value_name = "TIER", env = "NETTOLL_PROBE_TIER")]
    pub(crate) tier: Option<Tier>,
    /// A hook, or a member of the kernel's structures, that the probe shall do without, or several
    /// with commas between them, instead of the configuration's 'probe_without'.
    #[arg(
        long = "probe-without",
        value_name = "NAME",
        env = "NETTOLL_PROBE_WITHOUT",
        value_delimiter = ','
    )]
    pub(crate) without: Vec<Part>,
}

impl Settings {
    /// Whether that hook or member is to be done without.
    pub(super) fn forgo(&self, name: &str) -> bool {
        self.without.iter().any(|part| part.name() == name)
    }

    /// These, and what they do not say as others say it.
    pub(crate) fn or(self, others: Self) -> Self {
        Self {
            tier: self.tier.or(others.tier),
            without: match self.without.is_empty() {
                true => others.without,
                false => self.without,
            },
        }
    }
}

//! The option `--rate`.

use std::str::FromStr;

/// Bits per second of payload; `None` for as fast as possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Option<u64>);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        nettoll_core::rate(text).map(Self)
    }
}
